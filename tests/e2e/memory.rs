//! How much memory the companion takes.

use pg_secrets_tests::{Companion, Proof, TestApp};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use tokio::task::JoinSet;

/// What it may take, in kB.
const LIMIT: u64 = 64 * 1024;

/// The resident memory of the companion, in kB.
fn resident(companion: &Companion) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", companion.pid()));
    let status = status.expect("a companion that runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// Sends a body of 100 MB, as far as it is taken, and gives the status of the answer.
fn send_100_megabytes(address: &str, token: &str) -> Proof<u16> {
    let mut stream = TcpStream::connect(address)?;
    let head = format!(
        "POST /api/secrets HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        100 << 20
    );
    stream.write_all(head.as_bytes())?;
    let part = vec![b' '; 1 << 20];
    for _ in 0..100 {
        if stream.write_all(&part).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(status.unwrap_or_default())
}

#[tokio::test]
async fn the_companion_stays_small_after_many_requests_and_bodies_that_are_too_large() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let api = app.api();
    let value = "x".repeat(20_000);
    let new = json!({"project_id": "p", "name": "n", "value": value});
    let made = api.post("/api/secrets", new).await?.expect(201)?;
    let soak = std::env::var_os("PG_SECRETS_SOAK").is_some();
    let (requests, bodies) = if soak { (1_000_000, 100) } else { (8_000, 16) };
    let mut clients = JoinSet::new();
    for _ in 0..32 {
        let (api, path) = (api.clone(), format!("/api/secrets/{}", made.id()));
        clients.spawn(async move {
            for _ in 0..requests / 32 {
                api.get(&path).await?.expect(200)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let after_requests = resident(&app.companion);
    let address = app.companion.url().replace("http://", "");
    let mut senders = Vec::new();
    for _ in 0..4 {
        let (address, token) = (address.clone(), app.token.clone());
        senders.push(tokio::task::spawn_blocking(move || {
            let send =
                |_| send_100_megabytes(&address, &token).unwrap_or_else(|never| match never {});
            (0..bodies / 4).map(send).collect::<Vec<u16>>()
        }));
    }
    let mut refused = 0;
    for sender in senders {
        let statuses = sender.await?;
        // Where it closes before all of it is sent, the answer may be lost on the way.
        assert!(
            statuses.iter().all(|status| [413, 0].contains(status)),
            "{statuses:?}"
        );
        refused += statuses.iter().filter(|status| **status == 413).count();
    }
    assert!(refused > 0);
    let after_bodies = resident(&app.companion);
    println!(
        "after {requests} requests {after_requests} kB, after {bodies} bodies of 100 MB {after_bodies} kB"
    );
    assert!(after_requests < LIMIT, "{after_requests} kB");
    assert!(after_bodies < LIMIT, "{after_bodies} kB");
    Ok(())
}
