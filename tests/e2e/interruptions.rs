//! The companion told to stop, and the database gone for a while, both under load.

use pg_secrets_tests::{Api, Companion, Proof, Reply, Sink, TestApp, eventually};
use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How soon the service must be back.
const BACK: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_request_that_was_accepted_is_answered_before_the_end() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let (api, sql) = (app.api(), app.sql().await?);
    let new = json!({"project_id": "p", "name": "n", "value": "v"});
    let made = api.post("/api/secrets", new).await?.expect(201)?;
    let path = format!("/api/secrets/{}", made.id());
    let answered = Arc::new(Mutex::new(HashSet::new()));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (api, path, answered) = (api.clone(), path.clone(), Arc::clone(&answered));
        clients.spawn(async move {
            loop {
                let id = Uuid::new_v4().to_string();
                let headers = [("x-request-id", id.as_str())];
                let Ok(answer) = api.send("GET", &path, None, &headers).await else {
                    return;
                };
                assert_eq!(answer.status, 200);
                answered.lock().expect("the answers").insert(id);
            }
        });
    }
    // One that is in the middle of it, and waits.
    let locker = app.sql().await?;
    locker
        .run("BEGIN; SELECT FROM control_plane.secret_names FOR UPDATE")
        .await?;
    let rotate = format!("{path}/rotate");
    let slow = tokio::spawn({
        let api = api.clone();
        async move { api.post(&rotate, json!({"value": "w"})).await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    app.companion.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    locker.run("ROLLBACK").await?;
    slow.await??.expect(201)?;
    let mut companion = app.companion;
    tokio::task::spawn_blocking(move || companion.wait()).await?;
    while let Some(client) = clients.join_next().await {
        client?;
    }
    let recorded: Vec<String> = sql
        .all(
            "SELECT request_id FROM control_plane.audit_logs WHERE action = 'secret.accessed'",
            &[],
        )
        .await?;
    let answered = answered.lock().expect("the answers");
    assert!(recorded.len() > 200, "{}", recorded.len());
    let lost = recorded.iter().filter(|id| !answered.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", recorded.len());
    drop(app.cluster);
    Ok(())
}

#[tokio::test]
async fn a_webhook_under_way_is_given_back() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    let sink = Sink::start().await;
    let mut stopping = Companion::start_in(
        &app.cluster,
        &[("PG_SECRETS_WEBHOOK_TIMEOUT", "45s".to_owned())],
    );
    let mut other = app.companion;
    other.stop();
    sink.answer(200, Duration::from_secs(40));
    let hook = json!({"project_id": "p", "url": sink.url("/hook")});
    let api = Api::new(&stopping.url(), Some(&app.token));
    api.post("/api/webhooks", hook).await?.expect(201)?;
    let new = json!({"project_id": "p", "name": "n", "value": "v"});
    api.post("/api/secrets", new).await?.expect(201)?;
    let first = sink.wait_for("/hook", 1).await.remove(0);
    stopping.terminate();
    let begun = Instant::now();
    tokio::task::spawn_blocking(move || stopping.wait()).await?;
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let leased: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.deliveries WHERE leased_until IS NOT NULL OR next_attempt_at > clock_timestamp() OR status <> 'pending'",
            &[],
        )
        .await?;
    assert_eq!(leased, 0);
    sink.answer_at("/hook", Reply::status(200));
    other.resume(app.cluster.home());
    let begun = Instant::now();
    let again = sink.wait_for("/hook", 2).await.remove(1);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    Ok(())
}

#[tokio::test]
async fn a_restart_of_the_database_is_answered_with_503_and_leaves_nothing_half_done() -> Proof {
    let mut app = TestApp::start("fsync = off").await;
    let api = app.api();
    let new = json!({"project_id": "p", "name": "read", "value": "v"});
    let made = api.post("/api/secrets", new).await?.expect(201)?;
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (api, over, id) = (api.clone(), Arc::clone(&over), made.id().to_owned());
        clients.spawn(async move {
            let (mut created, mut unavailable) = (Vec::new(), 0);
            for count in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let answer = if number % 2 == 0 {
                    api.get(&format!("/api/secrets/{id}")).await?
                } else {
                    let name = format!("{number}/{count}");
                    let new = json!({"project_id": "p", "name": name, "value": "v"});
                    api.post("/api/secrets", new).await?
                };
                match answer.status {
                    200 => {}
                    201 => created.push(answer.id().to_owned()),
                    503 => {
                        unavailable += 1;
                        anyhow::ensure!(answer.header("retry-after") == "1");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    other => anyhow::bail!("{other}: {}", answer.body),
                }
            }
            anyhow::Ok((created, unavailable))
        });
    }
    for round in 0..2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let down = Instant::now();
        let mut cluster = app.cluster;
        cluster = tokio::task::spawn_blocking(move || {
            match round {
                0 => cluster.stop(),
                _ => cluster.kill9(),
            }
            cluster.resume();
            cluster
        })
        .await?;
        app.cluster = cluster;
        let up = Instant::now();
        eventually("the service", || async {
            let read = api.get(&format!("/api/secrets/{}", made.id())).await.ok()?;
            (read.status == 200).then_some(())
        })
        .await;
        assert!(
            up.elapsed() < BACK,
            "{:?} after {:?}",
            up.elapsed(),
            up - down
        );
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    over.store(true, Ordering::Relaxed);
    let (mut created, mut unavailable) = (vec![made.id().to_owned()], 0);
    while let Some(client) = clients.join_next().await {
        let (ids, count) = client??;
        created.extend(ids);
        unavailable += count;
    }
    assert!(unavailable > 0);
    // What was answered is there, and what is there has its record and its event.
    let sql = app.sql().await?;
    let whole: Vec<Uuid> = sql
        .all(
            "SELECT s.id FROM control_plane.secrets AS s
             JOIN control_plane.audit_logs AS a ON a.secret_id = s.id AND a.action = 'secret.created'
             JOIN control_plane.outbox AS o ON o.secret_id = s.id AND o.type = 'secret.created'",
            &[],
        )
        .await?;
    let all: i64 = sql
        .one("SELECT count(*) FROM control_plane.secrets", &[])
        .await?;
    assert_eq!(i64::try_from(whole.len()).unwrap_or(-1), all);
    let whole: HashSet<String> = whole.iter().map(Uuid::to_string).collect();
    let lost = created.iter().filter(|id| !whole.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", created.len());
    Ok(())
}
