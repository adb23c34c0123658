//! An older version's value once more: copied inside the database, for whoever may write.

use crate::blast_radius;
use pg_secrets_tests::{Answer, Api, Key, Proof, Session, Sink, TestApp, eventually, project};
use serde_json::{Value, json};
use uuid::Uuid;

async fn create(api: &Api, project: &str, value: &str) -> Proof<Answer> {
    let body = json!({"project_id": project, "name": "name", "value": value});
    Ok(api.post("/api/secrets", body).await?.expect(201)?)
}

async fn rotate(api: &Api, id: &str, value: &str) -> Proof<Answer> {
    let path = format!("/api/secrets/{id}/rotate");
    Ok(api
        .post(&path, json!({"value": value}))
        .await?
        .expect(201)?)
}

async fn last_record(sql: &Session, project: &str) -> Proof<Value> {
    Ok(sql
        .one(
            "SELECT to_jsonb(a) FROM control_plane.audit_logs AS a
             WHERE project_id = $1 AND secret_id IS NOT NULL ORDER BY id DESC LIMIT 1",
            &[&project],
        )
        .await?)
}

#[tokio::test]
async fn who_may_only_write_rolls_back_to_a_value_that_nobody_sees() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("rollback");
    let sink = Sink::start().await;
    let endpoint = json!({"project_id": project, "url": sink.url("/rotated"), "event_types": ["secret.rotated"]});
    api.post("/api/webhooks", endpoint).await?.expect(201)?;

    let first = create(&api, &project, "the good value").await?;
    let second = rotate(&api, first.id(), "the bad value").await?;
    let token = app.token_for("writer", &["write"], &project, None).await?;
    let writer = app.api_as(&token);
    writer
        .get(&format!("/api/secrets/{}", first.id()))
        .await?
        .expect(403)?;
    let body = json!({"to_version": 1, "rotation_reason": "it does not log in"});
    let path = format!("/api/secrets/{}/rollback", second.id());
    let third = writer.post(&path, body).await?.expect(201)?;
    assert_eq!(
        third.header("location"),
        format!("/api/secrets/{}", third.id())
    );
    assert!(third.body.get("value").is_none(), "{}", third.body);
    assert_eq!(third.body["version"], 3);
    assert_eq!(third.text("rotated_from"), second.id());
    assert_eq!(third.text("chain_id"), first.id());
    assert_eq!(third.text("rotation_reason"), "it does not log in");
    assert_eq!(third.text("created_by"), "writer");

    let read = api
        .get(&format!("/api/projects/{project}/secrets/name"))
        .await?
        .expect(200)?;
    assert_eq!(read.id(), third.id());
    assert_eq!(read.text("value"), "the good value");
    // What it superseded has the default grace.
    let versions: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(version, state, expires_at - superseded_at)
             FROM control_plane.secret_versions($1)",
            &[&Uuid::parse_str(first.id())?],
        )
        .await?;
    assert_eq!(
        versions,
        [
            json!([3, "active", null]),
            json!([2, "grace", "1 day"]),
            json!([1, "grace", "1 day"]),
        ]
    );

    let records: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(actor, secret_id, version, detail) FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = 'secret.rolled_back'",
            &[&project],
        )
        .await?;
    assert_eq!(
        records,
        [json!(["writer", third.id(), 3, {
            "rotated_from": second.id(),
            "rolled_back_to": 1,
            "reason": "it does not log in",
            "grace_seconds": 86400,
        }])]
    );
    let received = sink.wait_for("/rotated", 2).await;
    let told = received
        .iter()
        .map(|one| one.json())
        .collect::<Result<Vec<Value>, _>>()?;
    let data = |number: i64| {
        told.iter()
            .map(|event| &event["data"])
            .find(|data| data["new_version"] == number)
            .cloned()
            .unwrap_or_default()
    };
    assert!(data(2).get("rolled_back_to").is_none());
    assert_eq!(
        data(3),
        json!({
            "secret_id": third.id(),
            "name": "name",
            "project_id": project,
            "new_version": 3,
            "rotated_from": second.id(),
            "previous_version": 2,
            "rotation_reason": "it does not log in",
            "grace_seconds": 86400,
            "rolled_back_to": 1,
        })
    );
    Ok(())
}

#[tokio::test]
async fn a_rollback_that_cannot_be_says_why_and_changes_nothing() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("rollback");
    let earlier = create(&api, &project, "of another secret").await?;
    api.delete(&format!("/api/secrets/{}", earlier.id()))
        .await?
        .expect(200)?;
    let second = create(&api, &project, "a value").await?;
    let path = format!("/api/secrets/{}/rotate", second.id());
    let third = api
        .post(&path, json!({"value": "another value", "grace": 0}))
        .await?
        .expect(201)?;
    let last = last_record(&sql, &project).await?;
    let path = format!("/api/secrets/{}/rollback", third.id());
    for (to_version, status) in [(1, 404), (2, 410), (3, 409), (4, 404), (0, 404), (-1, 404)] {
        let refused = api
            .post(&path, json!({"to_version": to_version}))
            .await?
            .expect(status)?;
        if status != 404 {
            assert_eq!(refused.text("current_id"), third.id(), "{to_version}");
        }
    }
    for body in [
        json!({}),
        json!({"to_version": null}),
        json!({"to_version": "2"}),
        json!({"to_version": 2, "value": "x"}),
        json!({"to_version": 2_147_483_648_i64}),
    ] {
        api.post(&path, body).await?.expect(400)?;
    }
    let superseded = format!("/api/secrets/{}/rollback", second.id());
    let late = api
        .post(&superseded, json!({"to_version": 2}))
        .await?
        .expect(409)?;
    assert_eq!(late.text("current_id"), third.id());
    for (permissions, status) in [
        (&["read", "list", "delete", "manage"][..], 403),
        (&["audit"], 404),
    ] {
        let token = app
            .token_for(
                &format!("not a writer {status}"),
                permissions,
                &project,
                None,
            )
            .await?;
        app.api_as(&token)
            .post(&path, json!({"to_version": 2}))
            .await?
            .expect(status)?;
    }
    assert_eq!(last_record(&sql, &project).await?["id"], last["id"]);
    api.delete(&format!("/api/secrets/{}", third.id()))
        .await?
        .expect(200)?;
    api.post(&path, json!({"to_version": 2}))
        .await?
        .expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_rollback_seals_the_value_for_its_new_row_and_to_the_primary_key() -> Proof {
    let (old, new) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let app = TestApp::start_with_key(Key::File(old.clone()), "fsync = off").await;
    let sql = app.sql().await?;
    let first: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', 'name', 'a value')",
            &[],
        )
        .await?;
    let second: Uuid = sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'another value')",
            &[&first],
        )
        .await?;
    let file = app.cluster.home().write("both.asc", [new, old].concat());
    sql.run(&format!(
        "ALTER SYSTEM SET pg_secrets.key_file = '{}'",
        file.display()
    ))
    .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    let primary: String = eventually("the new key", || async {
        sql.one(
            "SELECT fingerprint FROM control_plane.pgp_keys() WHERE \"primary\" AND versions = 0",
            &[],
        )
        .await
        .ok()
    })
    .await;
    let third: Uuid = sql
        .one(
            "SELECT id FROM control_plane.rollback_secret($1, 1)",
            &[&second],
        )
        .await?;
    let fingerprints: Vec<String> = sql
        .all(
            "SELECT key_fingerprint FROM control_plane.secret_versions($1)",
            &[&first],
        )
        .await?;
    assert_eq!(fingerprints[0], primary);
    assert_ne!(fingerprints[2], primary);
    let value: String = sql
        .one("SELECT value FROM control_plane.get_secret($1)", &[&third])
        .await?;
    assert_eq!(value, "a value");
    Ok(())
}

#[tokio::test]
async fn a_transaction_begun_earlier_cannot_roll_back_to_what_was_destroyed_since() -> Proof {
    let app = TestApp::shared().await;
    let project = project("rollback");
    let (earlier, other) = (app.sql().await?, app.sql().await?);
    let first: Uuid = other
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    let second: Uuid = other
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'another value')",
            &[&first],
        )
        .await?;
    earlier
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    other
        .rows("SELECT control_plane.end_grace($1)", &[&first])
        .await?;
    let refused = earlier
        .refused("SELECT control_plane.rollback_secret($1, 1)", &[&second])
        .await;
    assert_eq!(refused.state, "PT410", "{refused:?}");
    assert_eq!(refused.member("current_id"), Some(second.to_string()));
    earlier.run("ROLLBACK").await?;
    Ok(())
}

#[tokio::test]
async fn a_rollback_has_the_projects_grace_and_moves_consumers_and_schedule_on() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("rollback");
    api.put_json(
        &format!("/api/projects/{project}/policy"),
        json!({"grace": "PT90M"}),
    )
    .await?
    .expect(200)?;
    let first = create(&api, &project, "the good value").await?;
    let second = rotate(&api, first.id(), "the bad value").await?;
    blast_radius::read(&api, &sql, "worker", second.id()).await?;
    api.put(&format!("/api/secrets/{}/consumers/cron", first.id()))
        .await?
        .expect(204)?;
    api.put_json(
        &format!("/api/secrets/{}/rotation", first.id()),
        json!({"rotate_every": "P10D"}),
    )
    .await?
    .expect(200)?;
    let chain = Uuid::parse_str(first.id())?;
    sql.rows(
        "UPDATE control_plane.rotations SET next_rotation_at = now() WHERE chain_id = $1",
        &[&chain],
    )
    .await?;

    let path = format!("/api/secrets/{}/rollback", second.id());
    let third = api
        .post(&path, json!({"to_version": 1}))
        .await?
        .expect(201)?;
    let versions: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(version, state, expires_at - superseded_at)
             FROM control_plane.secret_versions($1)",
            &[&chain],
        )
        .await?;
    assert_eq!(
        versions,
        [
            json!([3, "active", null]),
            json!([2, "grace", "01:30:00"]),
            json!([1, "grace", "01:30:00"]),
        ]
    );
    let said: Vec<Value> = sql
        .all(
            "SELECT body::jsonb->'data'->'grace_seconds' FROM control_plane.outbox WHERE secret_id = $1::text::uuid
             UNION ALL
             SELECT detail->'grace_seconds' FROM control_plane.audit_logs WHERE secret_id = $1::text::uuid",
            &[&third.id()],
        )
        .await?;
    assert_eq!(said, [json!(5400), json!(5400)]);
    let expected: Vec<String> = sql
        .all(
            "SELECT service::text FROM control_plane.secret_consumers
             WHERE secret_id = $1::text::uuid AND last_used_at IS NULL ORDER BY service",
            &[&third.id()],
        )
        .await?;
    assert_eq!(expected, ["cron", "worker"]);
    let found = blast_radius::consumers(&api, third.id()).await?;
    assert_eq!(blast_radius::services(&found), ["worker", "cron"]);
    assert_eq!(found[0]["straggler"], true);
    assert_eq!(found[0]["last_version"], 2);
    let due: bool = sql
        .one(
            "SELECT next_rotation_at > now() + interval '8 days' FROM control_plane.rotations WHERE chain_id = $1",
            &[&chain],
        )
        .await?;
    assert!(due);

    // A policy of no grace holds for a rollback too: what it takes back is gone at once.
    api.put_json(
        &format!("/api/projects/{project}/policy"),
        json!({"grace": 0}),
    )
    .await?
    .expect(200)?;
    let path = format!("/api/secrets/{}/rollback", third.id());
    api.post(&path, json!({"to_version": 2}))
        .await?
        .expect(201)?;
    api.get(&format!("/api/secrets/{}", third.id()))
        .await?
        .expect(410)?;
    let destroyed: Vec<String> = sql
        .all(
            "SELECT type FROM control_plane.outbox WHERE secret_id = $1::text::uuid AND type = 'secret.destroyed'
             UNION ALL
             SELECT action FROM control_plane.audit_logs WHERE secret_id = $1::text::uuid AND action = 'secret.destroyed'",
            &[&third.id()],
        )
        .await?;
    assert_eq!(destroyed.len(), 2);
    Ok(())
}
