//! Consumers that are registered and unregistered by hand.

use crate::blast_radius::{read, rotate};
use pg_secrets_tests::{Proof, TestApp, eventually, project};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn an_unregistered_consumer_is_gone_from_every_version() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("consumer");
    let body = json!({"project_id": project, "name": "name", "value": "a value"});
    let first = api.post("/api/secrets", body).await?.expect(201)?;
    let path = |service: &str| format!("/api/secrets/{}/consumers/{service}", first.id());
    read(&api, &sql, "worker", first.id()).await?;
    let second = rotate(&api, first.id()).await?;
    api.put(&path("other")).await?.expect(204)?;
    let consumers = "SELECT c.service || ' ' || s.version FROM control_plane.secret_consumers AS c
         JOIN control_plane.secrets AS s ON s.id = c.secret_id WHERE s.project_id = $1 ORDER BY 1";
    let before: Vec<String> = sql.all(consumers, &[&project]).await?;
    assert_eq!(before, ["other 2", "worker 1", "worker 2"]);

    let token = app
        .token_for("no manager", &["write", "list"], &project, None)
        .await?;
    app.api_as(&token)
        .delete(&path("worker"))
        .await?
        .expect(403)?;
    api.delete(&path("worker")).await?.expect(204)?;
    let after: Vec<String> = sql.all(consumers, &[&project]).await?;
    assert_eq!(after, ["other 2"]);
    // Nor is it expected to read what comes next.
    rotate(&api, &second).await?;
    let after: Vec<String> = sql.all(consumers, &[&project]).await?;
    assert_eq!(after, ["other 3"]);
    api.delete(&path("worker")).await?.expect(404)?;
    api.delete(&path(&"x".repeat(51))).await?.expect(400)?;
    api.delete(&format!("/api/secrets/{}/consumers/other", Uuid::new_v4()))
        .await?
        .expect(404)?;
    let records: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(actor, secret_id, name, version, service) FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = 'consumer.unregistered'",
            &[&project],
        )
        .await?;
    assert_eq!(
        records,
        [json!(["admin@local", first.id(), "name", null, "worker"])]
    );
    api.delete(&format!("/api/secrets/{}", first.id()))
        .await?
        .expect(200)?;
    api.delete(&path("other")).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn who_stores_usage_and_who_removes_consumers_do_not_wait_for_each_other() -> Proof {
    let app = TestApp::shared().await;
    for (deleted, remove) in [
        (false, "unregister_consumer($1, 'worker')"),
        (true, "purge_secret($1)"),
    ] {
        let project = project("consumer");
        let (storing, removing, other) = (app.sql().await?, app.sql().await?, app.sql().await?);
        let id: Uuid = other
            .one(
                "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
                &[&project],
            )
            .await?;
        other
            .rows(
                "SELECT control_plane.register_consumer($1, 'worker')",
                &[&id],
            )
            .await?;
        if deleted {
            other
                .rows("SELECT control_plane.delete_secret($1)", &[&id])
                .await?;
        }
        // As control_plane.store_usage does it: the version first, then its consumer.
        storing.run("BEGIN").await?;
        storing
            .rows(
                "SELECT FROM control_plane.secrets WHERE id = $1 FOR SHARE",
                &[&id],
            )
            .await?;
        let pid: i32 = removing.one("SELECT pg_backend_pid()", &[]).await?;
        let removal = tokio::spawn(async move {
            removing
                .rows(&format!("SELECT control_plane.{remove}"), &[&id])
                .await
        });
        eventually("the removal waits", || async {
            let waits: bool = other
                .one(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)",
                    &[&pid],
                )
                .await
                .ok()?;
            waits.then_some(())
        })
        .await;
        storing
            .rows(
                "UPDATE control_plane.secret_consumers SET last_used_at = now() WHERE secret_id = $1",
                &[&id],
            )
            .await?;
        storing.run("COMMIT").await?;
        removal.await??;
        let left: i64 = other
            .one(
                "SELECT count(*) FROM control_plane.secret_consumers WHERE secret_id = $1",
                &[&id],
            )
            .await?;
        assert_eq!(left, 0, "{remove}");
    }
    Ok(())
}
