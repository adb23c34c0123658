//! Requests that are sent again with the same Idempotency-Key.

use pg_secrets_tests::{Answer, Api, Proof, TestApp, eventually, project};
use serde_json::{Value, json};
use uuid::Uuid;

async fn post(api: &Api, path: &str, body: &Value, key: &str) -> Proof<Answer> {
    let headers = [("idempotency-key", key)];
    let body = body.to_string();
    Ok(api.send("POST", path, Some(&body), &headers).await?)
}

fn key() -> String {
    Uuid::new_v4().to_string()
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_as_the_first_time() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("again");
    let value = format!("canary-{}", Uuid::new_v4().simple());
    let new = json!({"project_id": project, "name": "n", "value": value});
    let keys = [key(), key(), key()];
    let created = post(&api, "/api/secrets", &new, &keys[0])
        .await?
        .expect(201)?;
    let rotate = format!("/api/secrets/{}/rotate", created.id());
    let rotation = json!({"value": value, "rotation_reason": "because"});
    let rotated = post(&api, &rotate, &rotation, &keys[1])
        .await?
        .expect(201)?;
    let end = format!("/api/secrets/{}/end-grace", created.id());
    let ended = post(&api, &end, &json!({}), &keys[2]).await?.expect(200)?;
    for (path, body, key, first) in [
        ("/api/secrets", &new, &keys[0], &created),
        (rotate.as_str(), &rotation, &keys[1], &rotated),
        (end.as_str(), &json!({}), &keys[2], &ended),
    ] {
        assert_eq!(first.header("idempotency-replayed"), "");
        for _ in 0..2 {
            let again = post(&api, path, body, key).await?;
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            for name in ["etag", "location", "content-type"] {
                assert_eq!(again.header(name), first.header(name), "{path} {name}");
            }
            assert_eq!(again.header("idempotency-replayed"), "true");
            assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        }
    }
    let versions: Vec<i32> = sql
        .all(
            "SELECT version FROM control_plane.secrets WHERE project_id = $1 ORDER BY 1",
            &[&project],
        )
        .await?;
    assert_eq!(versions, [1, 2]);
    // What is kept has no value, and nothing by which one could be guessed.
    let kept: Vec<String> = sql
        .all("SELECT k::text FROM control_plane.kept_answers AS k", &[])
        .await?;
    assert!(kept.iter().any(|row| row.contains(&keys[0])));
    assert!(kept.iter().all(|row| !row.contains(&value)));
    let plain: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.kept_answers WHERE key = $1 AND request_hash = sha256(convert_to($2, 'UTF8'))",
            &[&keys[0], &new.to_string()],
        )
        .await?;
    assert_eq!(plain, 0);
    Ok(())
}

#[tokio::test]
async fn another_request_with_a_used_key_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("reused");
    let key = key();
    let new = json!({"project_id": project, "name": "n", "value": "v"});
    post(&api, "/api/secrets", &new, &key).await?.expect(201)?;
    let mut other = new.clone();
    other["value"] = json!("w");
    post(&api, "/api/secrets", &other, &key)
        .await?
        .expect(422)?;
    post(&api, "/api/tokens", &new, &key).await?.expect(422)?;
    // Somebody else's keys are his own.
    let token = app.token_for(&project, &["write"], &project, None).await?;
    let somebody = app.api_as(&token);
    other["name"] = json!("m");
    post(&somebody, "/api/secrets", &other, &key)
        .await?
        .expect(201)?;
    // Whoever lost his token gets no answer of before.
    let nobody = app.api_as("pgs_nobody");
    post(&nobody, "/api/secrets", &new, &key)
        .await?
        .expect(401)?;
    for bad in ["", " ", "a b", &"x".repeat(256)] {
        let refused = post(&api, "/api/secrets", &new, bad).await?;
        refused.expect(400)?;
    }
    let both = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let body = new.to_string();
    let refused = api.send("POST", "/api/secrets", Some(&body), &both).await?;
    refused.expect(400)?;
    Ok(())
}

#[tokio::test]
async fn a_request_that_failed_is_tried_anew() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("failed");
    let (key, free) = (key(), format!("{project}-key"));
    let new = json!({"project_id": project, "name": "n", "value": "v"});
    let first = post(&api, "/api/secrets", &new, &free).await?.expect(201)?;
    post(&api, "/api/secrets", &new, &key).await?.expect(409)?;
    let path = format!("/api/secrets/{}", first.id());
    api.delete(&path).await?.expect(200)?;
    let second = post(&api, "/api/secrets", &new, &key).await?.expect(201)?;
    assert_ne!(first.id(), second.id());
    // The connections that were in the middle of it can be used by others.
    for _ in 0..20 {
        let path = format!("/api/secrets/{}", second.id());
        api.get(&path).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_shown_once_is_not_kept() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("once");
    let keys = [key(), key()];
    let endpoint = json!({"project_id": project, "url": "http://127.0.0.1:9/"});
    let token = json!({"subject": project});
    let made = post(&api, "/api/webhooks", &endpoint, &keys[0])
        .await?
        .expect(201)?;
    let secret = made.text("secret").to_owned();
    let made = post(&api, "/api/tokens", &token, &keys[1])
        .await?
        .expect(201)?;
    let bearer = made.text("token").to_owned();
    assert!(secret.starts_with("whsec_") && bearer.starts_with("pgs_"));
    post(&api, "/api/webhooks", &endpoint, &keys[0])
        .await?
        .expect(409)?;
    post(&api, "/api/tokens", &token, &keys[1])
        .await?
        .expect(409)?;
    let tokens: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.tokens WHERE subject = $1",
            &[&project],
        )
        .await?;
    assert_eq!(tokens, 1);
    let kept: Vec<String> = sql
        .all("SELECT k::text FROM control_plane.kept_answers AS k", &[])
        .await?;
    let all = kept.concat();
    assert!(!all.contains(&secret) && !all.contains(&bearer));
    // The database takes none from anybody.
    let trusted = app
        .cluster
        .connect(pg_secrets_tests::COMPANION_LOGIN, "postgres")
        .await?;
    for body in [
        r#"{"value": "v"}"#,
        r#"[{"a": {"token": "t"}}]"#,
        r#"{"secret": ""}"#,
        "not JSON",
    ] {
        trusted.run("BEGIN").await?;
        trusted
            .rows("SELECT control_plane.authenticate($1)", &[&app.token])
            .await?;
        trusted
            .rows("SELECT control_plane.begin_request('k', '\\x00')", &[])
            .await?;
        let refused = trusted
            .refused("SELECT control_plane.end_request('k', 200, $1)", &[&body])
            .await;
        assert_eq!(refused.state, "PT400", "{body}");
        trusted.run("ROLLBACK").await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_requests_that_are_sent_at_once_one_is_done() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("at-once");
    let new = json!({"project_id": project, "name": "n", "value": "v"});
    let created = api.post("/api/secrets", new).await?.expect(201)?;
    let extend = json!({"value": "w"});
    let key = key();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (api, extend, key) = (api.clone(), extend.clone(), key.clone());
        let path = format!("/api/secrets/{}/rotate", created.id());
        tries.spawn(async move {
            post(&api, &path, &extend, &key)
                .await
                .map_err(|error| format!("{error:?}"))
        });
    }
    let mut bodies = Vec::new();
    while let Some(tried) = tries.join_next().await {
        let tried = tried?.map_err(anyhow::Error::msg)?.expect(201)?;
        bodies.push(tried.body.to_string());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let versions: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.secrets WHERE project_id = $1",
            &[&project],
        )
        .await?;
    assert_eq!(versions, 2);
    Ok(())
}

#[tokio::test]
async fn answers_are_kept_for_a_day() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("a-day");
    let (fresh, old, older) = (key(), key(), key());
    let policy = |name: &str| json!({"project_id": project, "name": name, "value": "v"});
    for (key, name) in [(&fresh, "a"), (&old, "b"), (&older, "c")] {
        post(&api, "/api/secrets", &policy(name), key)
            .await?
            .expect(201)?;
    }
    let age = "UPDATE control_plane.kept_answers SET created_at = created_at - $2::text::interval WHERE key = $1";
    sql.rows(age, &[&fresh, &"23 hours 59 minutes"]).await?;
    sql.rows(age, &[&old, &"24 hours 1 minute"]).await?;
    sql.rows(age, &[&older, &"24 hours 1 minute"]).await?;
    post(&api, "/api/secrets", &policy("a"), &fresh)
        .await?
        .expect(201)?;
    // It is done anew, and so finds what the first one made.
    post(&api, "/api/secrets", &policy("b"), &old)
        .await?
        .expect(409)?;
    // What nobody asks for goes with the requests of others.
    eventually("the end of what is old", || async {
        post(&api, "/api/secrets", &policy(&key()), &key())
            .await
            .ok()?;
        let left: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.kept_answers WHERE key = $1",
                &[&older],
            )
            .await
            .ok()?;
        (left == 0).then_some(())
    })
    .await;
    Ok(())
}
