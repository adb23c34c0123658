//! Webhooks: who is told, what of, and that the receiver can be sure who told it.

use pg_secrets_tests::{Api, Proof, Sink, TestApp, project};
use serde_json::json;
use standardwebhooks::Webhook;
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
