//! A grace that is extended, or ended at once.

use pg_secrets_tests::{Answer, Api, Proof, TestApp, project};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// A secret of two versions; the first one has a grace of an hour.
async fn rotated(api: &Api, project: &str) -> Proof<(String, String)> {
    let body = json!({"project_id": project, "name": "name", "value": "old value"});
    let old = api.post("/api/secrets", body).await?.expect(201)?;
    let path = format!("/api/secrets/{}/rotate", old.id());
    let body = json!({"value": "new value", "grace": "PT1H"});
    let new = api.post(&path, body).await?.expect(201)?;
    Ok((old.id().to_owned(), new.id().to_owned()))
}

async fn extend(api: &Api, id: &str, by: Value) -> Proof<Answer> {
    let path = format!("/api/secrets/{id}/extend-grace");
    Ok(api.post(&path, json!({"by": by})).await?)
}

async fn end(api: &Api, id: &str) -> Proof<Answer> {
    Ok(api
        .post(&format!("/api/secrets/{id}/end-grace"), json!({}))
        .await?)
}

#[tokio::test]
async fn a_grace_is_extended_by_what_is_said_and_warned_of_anew() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("extend");
    let (old, _) = rotated(&api, &project).await?;
    let id = Uuid::parse_str(&old)?;
    let length =
        "SELECT (expires_at - superseded_at)::text FROM control_plane.secrets WHERE id = $1";
    for (by, expected) in [
        (json!(1800), "01:30:00"),
        (json!("PT30M"), "02:00:00"),
        (json!("P1DT1.5S"), "1 day 02:00:01.5"),
    ] {
        sql.rows(
            "UPDATE control_plane.secrets SET warned_at = now() WHERE id = $1",
            &[&id],
        )
        .await?;
        let answer = extend(&api, &old, by).await?.expect(200)?;
        assert_eq!(answer.id(), old);
        assert_eq!(answer.text("state"), "grace");
        assert!(answer.body["warned_at"].is_null(), "{}", answer.body);
        let grace: String = sql.one(length, &[&id]).await?;
        assert_eq!(grace, expected);
    }
    let extended: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(actor, secret_id, version, (detail->>'to')::timestamptz - (detail->>'from')::timestamptz)
             FROM control_plane.audit_logs WHERE project_id = $1 AND action = 'secret.grace_extended' ORDER BY id",
            &[&project],
        )
        .await?;
    let row = |by: &str| json!(["admin@local", old, 1, by]);
    assert_eq!(
        extended,
        [row("00:30:00"), row("00:30:00"), row("1 day 00:00:01.5")]
    );
    let to: bool = sql
        .one(
            "SELECT (a.detail->>'to')::timestamptz = s.expires_at FROM control_plane.audit_logs AS a
             JOIN control_plane.secrets AS s ON s.id = a.secret_id
             WHERE s.id = $1 AND a.action = 'secret.grace_extended' ORDER BY a.id DESC LIMIT 1",
            &[&id],
        )
        .await?;
    assert!(to);
    Ok(())
}

#[tokio::test]
async fn a_grace_that_is_over_or_none_is_not_extended() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("extend");
    let (old, new) = rotated(&api, &project).await?;
    for by in [
        json!(0),
        json!(-1),
        json!("PT0S"),
        json!(null),
        json!("1 day"),
        json!(320_000_000),
        json!("P11Y"),
    ] {
        extend(&api, &old, by).await?.expect(400)?;
    }
    // Nor by many small steps beyond what one may do.
    extend(&api, &old, json!("P9Y")).await?.expect(200)?;
    extend(&api, &old, json!("P9Y")).await?.expect(400)?;
    for id in [&new] {
        let refused = extend(&api, id, json!(60)).await?.expect(409)?;
        assert_eq!(refused.text("current_id"), new);
        let refused = end(&api, id).await?.expect(409)?;
        assert_eq!(refused.text("current_id"), new);
    }
    // By the clock, before anybody has erased anything.
    sql.rows(
        "UPDATE control_plane.secrets SET expires_at = clock_timestamp() WHERE id = $1",
        &[&Uuid::parse_str(&old)?],
    )
    .await?;
    let refused = extend(&api, &old, json!(60)).await?.expect(410)?;
    assert_eq!(refused.text("current_id"), new);
    let refused = end(&api, &old).await?.expect(410)?;
    assert_eq!(refused.text("current_id"), new);
    api.delete(&format!("/api/secrets/{new}"))
        .await?
        .expect(200)?;
    for id in [&old, &new] {
        extend(&api, id, json!(60)).await?.expect(404)?;
        end(&api, id).await?.expect(404)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_grace_that_is_ended_erases_the_value_at_once() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("end");
    let (old, new) = rotated(&api, &project).await?;
    let id = Uuid::parse_str(&old)?;
    let reader = app.sql().await?;
    reader
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    reader
        .rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;

    let ended = end(&api, &old).await?.expect(200)?;
    assert_eq!(ended.id(), old);
    assert_eq!(ended.text("state"), "destroyed");
    assert!(!ended.text("destroyed_at").is_empty());
    assert_eq!(ended.text("expires_at"), ended.text("destroyed_at"));
    let erased: bool = sql
        .one(
            "SELECT value_encrypted IS NULL AND key_fingerprint IS NULL FROM control_plane.secrets WHERE id = $1",
            &[&id],
        )
        .await?;
    assert!(erased);
    let gone = api.get(&format!("/api/secrets/{old}")).await?.expect(410)?;
    assert_eq!(gone.text("current_id"), new);
    let refused = reader
        .refused("SELECT control_plane.get_secret($1)", &[&id])
        .await;
    assert_eq!(refused.state, "PT410", "{refused:?}");
    reader.run("ROLLBACK").await?;
    end(&api, &old).await?.expect(410)?;

    let told: Vec<Value> = sql
        .all(
            "SELECT body::jsonb->'data' FROM control_plane.outbox WHERE project_id = $1 AND type = 'secret.destroyed'",
            &[&project],
        )
        .await?;
    assert_eq!(
        told,
        [json!({"secret_id": old, "name": "name", "project_id": project, "version": 1})]
    );
    let records: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(actor, secret_id, version) FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = 'secret.destroyed'",
            &[&project],
        )
        .await?;
    assert_eq!(records, [json!(["admin@local", old, 1])]);
    Ok(())
}

#[tokio::test]
async fn an_extension_that_waited_until_the_grace_was_over_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let project = project("extend");
    let (holder, waiter) = (app.sql().await?, app.sql().await?);
    let old: Uuid = holder
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    holder
        .rows(
            "SELECT control_plane.rotate_secret($1, 'another value', grace => '600 milliseconds')",
            &[&old],
        )
        .await?;
    holder.run("BEGIN").await?;
    holder
        .rows(
            "SELECT control_plane.register_consumer($1, 'worker')",
            &[&old],
        )
        .await?;
    let late = tokio::spawn(async move {
        waiter
            .refused("SELECT control_plane.extend_grace($1, '1 hour')", &[&old])
            .await
    });
    tokio::time::sleep(Duration::from_millis(800)).await;
    holder.run("COMMIT").await?;
    let refused = late.await?;
    assert_eq!(refused.state, "PT410", "{refused:?}");
    Ok(())
}
