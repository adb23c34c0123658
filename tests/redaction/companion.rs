//! The companion, when everything of it is logged and requests are what they should not be.

use crate::disguises::Random;
use pg_secrets_tests::{
    Api, Canaries, Cluster, Companion, Key, Proof, TestApp, companion_binary, eventually,
};
use reqwest::{Client, Method, StatusCode};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

/// Bodies as they should be; `{}` is a value, `<name>` another name each time.
const BODIES: &[(&str, &str)] = &[
    (
        "/api/secrets",
        r#"{"project_id": "p", "name": "<name>", "value": "{}"}"#,
    ),
    (
        "/api/secrets/<id>/rotate",
        r#"{"value": "{}", "rotation_reason": "why"}"#,
    ),
    (
        "/api/secrets/<id>/rotate",
        r#"{"value": "{}", "grace": "1h"}"#,
    ),
    (
        "/api/secrets/<id>/rollback",
        r#"{"to_version": 1, "value": "{}"}"#,
    ),
    ("/api/secrets/<id>/extend-grace", r#"{"by": "{}"}"#),
    ("/api/projects/p/read", r#"{"names": ["{}"]}"#),
    (
        "/api/webhooks",
        r#"{"project_id": "p", "url": "http://u:{}@127.0.0.1:1/"}"#,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_broken_requests_leave_no_value_in_any_log_or_answer() -> Proof {
    let cluster = Cluster::start(Key::new(), "fsync = off");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.grant_project('admin@local', 'admin', kind => 'subject')")
        .await?;
    let token: String = sql
        .one("SELECT control_plane.create_token('admin@local')", &[])
        .await?;
    let companion = Companion::start_logging(&cluster, "1h", Some("trace"));
    let api = Api::new(&companion.url(), Some(&token));
    let canaries = Canaries::default();
    let client = Client::builder().no_proxy().build()?;
    let made = api
        .post(
            "/api/secrets",
            serde_json::json!({"project_id": "p", "name": "first", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let mut random = Random::new();
    let seed = random.seed();
    let mut statuses = std::collections::BTreeMap::new();
    for number in 0..1000 {
        let (path, body) = *random.of(BODIES);
        let how = format!("request {number} to {path}");
        let value = canaries.fresh(&how);
        let body = body
            .replace("<name>", &format!("n{number}"))
            .replace("{}", &value);
        let path = path.replace("<id>", made.id());
        let (path, body, headers) = broken(&mut random, path, body.into_bytes(), &value);
        let method = match random.next() % 6 {
            0 => Method::GET,
            1 => Method::PUT,
            // No method of HTTP, and still one by its form.
            2 => Method::from_bytes(value.as_bytes()).expect("letters and digits"),
            _ => Method::POST,
        };
        let mut request = client
            .request(method, format!("{}{path}", companion.url()))
            .body(body);
        let mut has_token = false;
        for (name, text) in headers {
            has_token |= name == "authorization";
            request = request.header(name, text);
        }
        if !has_token {
            request = request.bearer_auth(&token);
        }
        // What is no HTTP is refused before it is sent.
        let Ok(answer) = request.send().await else {
            continue;
        };
        let status = answer.status();
        let shown = format!("{:?}", answer.headers());
        let text = answer.bytes().await?;
        *statuses.entry(status.as_u16()).or_insert(0) += 1;
        // What was made without fault may be answered with what it is.
        if status != StatusCode::OK {
            let all = [text.as_ref(), shown.as_bytes()].concat();
            let mut pieces = value.as_bytes().windows(8);
            let leaks = pieces.any(|piece| all.windows(8).any(|window| window == piece));
            assert!(!leaks, "seed {seed}: {how}: {}", all.escape_ascii());
        }
    }
    assert!(statuses.len() > 5, "{statuses:?}");
    let log = companion.log();
    assert!(log.lines().count() > 900, "nothing was logged: {log}");
    let finder = canaries.finder();
    let mut found = finder.find("the companion's log", log.as_bytes());
    found.extend(finder.find("the server's log", cluster.log().as_bytes()));
    assert!(found.is_empty(), "seed {seed}: {found:#?}");
    assert!(!log.contains(&token), "the token is in the log");
    Ok(())
}

type Sent = (String, Vec<u8>, Vec<(&'static str, String)>);

/// A request with something wrong in it, and the value in places where none belongs.
fn broken(random: &mut Random, path: String, mut body: Vec<u8>, value: &str) -> Sent {
    let json = ("content-type", "application/json".to_owned());
    match random.next() % 14 {
        0 => {
            let end = random.next() % body.len();
            body.truncate(end);
            (path, body, vec![json])
        }
        1 | 2 => {
            let at = random.next() % body.len();
            body[at] = u8::try_from(random.next() % 256).unwrap_or(0);
            (path, body, vec![json])
        }
        3 => {
            let at = random.next() % body.len();
            body.insert(at, *random.of(b"\"{}[]:,\\\x00\xff"));
            (path, body, vec![json])
        }
        4 => (path, body, vec![("content-type", format!("text/{value}"))]),
        5 => (format!("{path}?password={value}"), body, vec![json]),
        6 => (format!("{path}/{value}"), body, vec![json]),
        7 => (format!("/api/secrets/{value}"), body, vec![json]),
        8 => (
            path,
            body,
            vec![json, ("authorization", format!("Bearer pgs_{value}"))],
        ),
        9 => (
            path,
            body,
            vec![json, ("authorization", format!("Basic {value}"))],
        ),
        10 => (
            path,
            body,
            vec![json, ("x-service-name", format!("{value} {value} {value}"))],
        ),
        11 => (path, body, vec![json, ("cookie", value.to_owned())]),
        12 => (path, format!("\"{value}\"").into_bytes(), vec![json]),
        _ => (path, body, vec![json]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companion_leaves_no_core_dump() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let home = app.cluster.home();
    // As an account that is not root, whom /proc would belong to in any case.
    let program = home.join("pg-secrets");
    std::fs::copy(companion_binary(), &program)?;
    let mut process = home
        .command(&program)
        .arg("serve")
        .env("DATABASE_URL", app.companion.database_url())
        .env("PG_SECRETS_LISTEN", "127.0.0.1:0")
        .stderr(Stdio::null())
        .spawn()?;
    let folder = format!("/proc/{}", process.id());
    eventually("a process without core dumps", || async {
        let limits = std::fs::read_to_string(format!("{folder}/limits")).ok()?;
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))?;
        let limited = core.split_whitespace().skip(4).take(2).eq(["0", "0"]);
        // Of a process that is not dumpable they are root's.
        let hidden = std::fs::metadata(format!("{folder}/environ")).ok()?.uid() == 0;
        (limited && hidden).then_some(())
    })
    .await;
    process.kill()?;
    process.wait()?;
    Ok(())
}

#[test]
fn arguments_and_settings_that_are_not_understood_are_quoted_masked() {
    let url = "postgresql://u:hunter2hunter2@h/db";
    for (arguments, variable) in [
        (&["serve", url][..], ("LANG", "C")),
        (&[url], ("LANG", "C")),
        (&["serve", "--listen", url], ("LANG", "C")),
        (&["serve"], ("PG_SECRETS_LISTEN", url)),
        (&["serve"], ("PG_SECRETS_WEBHOOK_ALLOW", url)),
        (&["serve", "--database-url", url], ("LANG", "C")),
    ] {
        let output = std::process::Command::new(companion_binary())
            .args(arguments)
            .env_remove("DATABASE_URL")
            .env(variable.0, variable.1)
            .output()
            .expect("the companion is built: make build");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !said.is_empty());
        assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
    }
}
