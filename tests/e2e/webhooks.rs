//! Webhooks: who is told, what of, and that the receiver can be sure who told it.

use crate::interop::python;
use pg_secrets_tests::{
    Api, Cluster, Companion, Key, Proof, Proxy, Reply, Sink, TestApp, eventually, project,
    repository,
};
use serde_json::json;
use standardwebhooks::Webhook;
use std::process::Command;
use std::time::{Duration, Instant};

async fn endpoint(
    api: &Api,
    project: &str,
    service: Option<&str>,
    url: &str,
) -> Proof<(String, String)> {
    let body = json!({"project_id": project, "service": service, "url": url});
    let made = api.post("/api/webhooks", body).await?.expect(201)?;
    Ok((made.id().to_owned(), made.text("secret").to_owned()))
}

#[tokio::test]
async fn a_webhook_is_accepted_by_another_verifier_and_refused_with_any_byte_changed() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let project = project("signed");
    let old = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "ключ", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let (_, secret) = endpoint(&api, &project, None, &sink.url("/all")).await?;
    let new = api
        .post(
            &format!("/api/secrets/{}/rotate", old.id()),
            json!({"value": "second", "rotation_reason": "a reason"}),
        )
        .await?
        .expect(201)?;

    let webhook = sink.wait_for("/all", 1).await.remove(0);
    assert!(secret.starts_with("whsec_"));
    let verifier = Webhook::new(&secret)?;
    verifier.verify(&webhook.body, &webhook.headers)?;
    for position in 0..webhook.body.len() {
        let mut changed = webhook.body.clone();
        changed[position] ^= 1;
        assert!(
            verifier.verify(&changed, &webhook.headers).is_err(),
            "byte {position}"
        );
    }
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = webhook.headers.clone();
        let mut value = webhook.header(header).as_bytes().to_vec();
        let last = value.len() - 2;
        value[last] = if value[last] == b'1' { b'2' } else { b'1' };
        headers.insert(
            header,
            axum::http::HeaderValue::from_bytes(&value).expect("a header"),
        );
        assert!(
            verifier.verify(&webhook.body, &headers).is_err(),
            "{header}"
        );
    }

    assert_eq!(webhook.header("content-type"), "application/json");
    let body = webhook.json()?;
    assert_eq!(body["type"], "secret.rotated");
    assert!(
        body["timestamp"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    let data = &body["data"];
    assert_eq!(data["secret_id"], new.id());
    assert_eq!(data["rotated_from"], old.id());
    assert_eq!(data["new_version"], 2);
    assert_eq!(data["name"], "ключ");
    assert_eq!(data["project_id"], *project);
    Ok(())
}

#[tokio::test]
async fn a_receiver_in_python_accepts_a_webhook_and_refuses_a_changed_one() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let project = project("python");
    let (id, secret) = endpoint(&api, &project, None, &sink.url("/all")).await?;
    // With two signatures, as in an overlap.
    let rotated = api
        .post_text(&format!("/api/webhooks/{id}/rotate-secret"), "")
        .await?
        .expect(200)?;
    api.post(
        "/api/secrets",
        json!({"project_id": project, "name": "имя", "value": "first"}),
    )
    .await?
    .expect(201)?;
    let webhook = sink.wait_for("/all", 1).await.remove(0);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("body");
    let verify = |secret: &str, body: &[u8]| -> Proof<std::process::Output> {
        std::fs::write(&file, body)?;
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let output = Command::new(python())
            .arg(repository().join("tests/interop/verify_webhook.py"))
            .arg(secret)
            .args(headers.map(|name| webhook.header(name)))
            .arg(&file)
            .output()?;
        Ok(output)
    };
    for secret in [&secret, rotated.text("secret")] {
        let accepted = verify(secret, &webhook.body)?;
        let errors = String::from_utf8_lossy(&accepted.stderr);
        assert!(accepted.status.success(), "{errors}");
        assert_eq!(accepted.stdout, b"secret.created\n");
        let mut changed = webhook.body.clone();
        changed[10] ^= 1;
        let refused = verify(secret, &changed)?;
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert!(errors.contains("WebhookVerificationError"), "{errors}");
    }
    Ok(())
}

#[tokio::test]
async fn a_webhook_has_the_headers_that_it_needs_and_no_other() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let (id, _) = endpoint(&api, &project("headers"), None, &sink.url("/all")).await?;
    api.post(&format!("/api/webhooks/{id}/ping"), json!({}))
        .await?
        .expect(202)?;
    let webhook = sink.wait_for("/all", 1).await.remove(0);
    let mut names: Vec<&str> = webhook.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() -> Proof {
    let app = TestApp::start(
        "fsync = off\npg_secrets.audit_head_interval = 0\npg_secrets.retry_schedule = ''",
    )
    .await;
    let api = app.api();
    let sink = Sink::start().await;
    let (id, _) = endpoint(&api, "redirected", None, &sink.url("/all")).await?;
    for (number, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let mut reply = Reply::status(status);
        reply.headers.push(("location", sink.url("/trap")));
        sink.answer_at("/all", reply);
        api.post(&format!("/api/webhooks/{id}/ping"), json!({}))
            .await?
            .expect(202)?;
        let path = format!("/api/webhooks/{id}/deliveries?status=failed");
        eventually("a dead letter", || async {
            let failed = api.get(&path).await.ok()?;
            (failed.body["deliveries"].as_array()?.len() == number + 1).then_some(())
        })
        .await;
    }
    assert!(sink.received().iter().all(|one| one.path == "/all"));
    assert_eq!(sink.count(), 5);
    Ok(())
}

#[tokio::test]
async fn a_rotation_that_is_prepared_is_told_of_once_it_is_committed() -> Proof {
    let app = TestApp::start(
        "fsync = off\npg_secrets.audit_head_interval = 0\nmax_prepared_transactions = 5",
    )
    .await;
    let api = app.api();
    let sink = Sink::start().await;
    endpoint(&api, "prepared", None, &sink.url("/all")).await?;
    let sql = app.sql().await?;
    sql.run(
        "BEGIN; SELECT control_plane.create_secret('prepared', 'name', 'a value'); PREPARE TRANSACTION 'one'",
    )
    .await?;
    let seen: i64 = sql
        .one("SELECT count(*) FROM control_plane.outbox", &[])
        .await?;
    assert_eq!((seen, sink.count()), (0, 0));
    app.sql().await?.run("COMMIT PREPARED 'one'").await?;
    let told = sink.wait_for("/all", 1).await;
    assert_eq!(told[0].json()?["type"], "secret.created");
    Ok(())
}

#[tokio::test]
async fn a_listening_connection_that_swallows_everything_stops_no_delivery() -> Proof {
    let cluster = Cluster::start(
        Key::new(),
        "fsync = off\npg_secrets.audit_head_interval = 0",
    );
    cluster.install().await?;
    let proxy = Proxy::before(&cluster).await;
    let companion = Companion::start_through(&cluster, "2s", proxy.port());
    let sink = Sink::start().await;
    let sql = cluster.sql().await?;
    sql.rows(
        "SELECT control_plane.create_endpoint('p', $1)",
        &[&sink.url("/all")],
    )
    .await?;
    let create = "SELECT control_plane.create_secret('p', $1::integer::text, 'a value')";
    eventually("a listener", || async {
        (proxy.listening() == 1).then_some(())
    })
    .await;
    sql.rows(create, &[&1_i32]).await?;
    sink.wait_for("/all", 1).await;
    proxy.swallow_notifications();
    for number in 2..5_i32 {
        let committed = Instant::now();
        sql.rows(create, &[&number]).await?;
        let told = sink.wait_for("/all", number as usize).await;
        let waited = told[told.len() - 1].at - committed;
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }
    // It is noticed, and another connection takes its place.
    proxy.let_new_ones_through();
    eventually("a new listener", || async {
        (proxy.listening() >= 2).then_some(())
    })
    .await;
    drop(companion);
    Ok(())
}

#[tokio::test]
async fn consumers_and_the_project_are_told_and_nobody_else() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let project = project("told");
    let old = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    api.get_as("reader", &format!("/api/secrets/{}", old.id()))
        .await?
        .expect(200)?;
    api.put(&format!("/api/secrets/{}/consumers/registered", old.id()))
        .await?;
    endpoint(&api, &project, Some("reader"), &sink.url("/reader")).await?;
    endpoint(&api, &project, Some("registered"), &sink.url("/registered")).await?;
    endpoint(&api, &project, None, &sink.url("/project")).await?;
    let (stranger, _) = endpoint(&api, &project, Some("stranger"), &sink.url("/stranger")).await?;
    let elsewhere = format!("{project}-other");
    let (other, _) = endpoint(&api, &elsewhere, None, &sink.url("/elsewhere")).await?;

    api.post(
        &format!("/api/secrets/{}/rotate", old.id()),
        json!({"value": "second"}),
    )
    .await?
    .expect(201)?;
    for path in ["/reader", "/registered", "/project"] {
        let webhook = sink.wait_for(path, 1).await.remove(0);
        assert_eq!(webhook.json()?["type"], "secret.rotated", "{path}");
    }
    // Deliveries are decided with the rotation: what is not there by now never comes.
    let sql = app.sql().await?;
    let undue: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.deliveries WHERE endpoint_id::text IN ($1, $2)",
            &[&stranger, &other],
        )
        .await?;
    assert_eq!(undue, 0);
    let told: Vec<_> = sink.received().into_iter().map(|one| one.path).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_gets_the_kinds_of_events_that_it_asked_for() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let project = project("kinds");
    api.post(
        "/api/webhooks",
        json!({"project_id": project, "url": sink.url("/deleted"), "event_types": ["secret.deleted"]}),
    )
    .await?
    .expect(201)?;
    let made = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    api.delete(&format!("/api/secrets/{}", made.id()))
        .await?
        .expect(200)?;
    let received = sink.wait_for("/deleted", 1).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].json()?["type"], "secret.deleted");
    Ok(())
}

#[tokio::test]
async fn a_rotation_that_is_rolled_back_tells_nobody() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let project = project("undone");
    let made = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    endpoint(&api, &project, None, &sink.url("/all")).await?;
    let sql = app.sql().await?;
    sql.run("BEGIN").await?;
    sql.rows(
        "SELECT control_plane.rotate_secret($1::text::uuid, 'undone')",
        &[&made.id()],
    )
    .await?;
    sql.run("ROLLBACK").await?;
    let current: i32 = sql
        .one(
            "SELECT version FROM control_plane.get_secret_by_name($1, 'name')",
            &[&project],
        )
        .await?;
    assert_eq!(current, 1);
    let rotated = api
        .post(
            &format!("/api/secrets/{}/rotate", made.id()),
            json!({"value": "second"}),
        )
        .await?
        .expect(201)?;
    let received = sink.wait_for("/all", 1).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].json()?["data"]["secret_id"], rotated.id());
    Ok(())
}

#[tokio::test]
async fn a_commit_wakes_the_relay_which_need_not_poll() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sink = Sink::start().await;
    let project = project("woken");
    endpoint(&api, &project, None, &sink.url("/all")).await?;
    let sql = app.sql().await?;
    for number in 1_i32..=5 {
        sql.run("BEGIN").await?;
        sql.rows(
            "SELECT control_plane.create_secret($1, $2::integer::text, 'a value')",
            &[&project, &number],
        )
        .await?;
        let committed = Instant::now();
        sql.run("COMMIT").await?;
        let told = sink.wait_for("/all", number as usize).await;
        let waited = told[told.len() - 1].at - committed;
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }
    Ok(())
}
