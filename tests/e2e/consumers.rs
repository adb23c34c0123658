//! Consumers that are registered and unregistered by hand.

use pg_secrets_tests::{Proof, TestApp, project};
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
    api.put(&path("worker")).await?.expect(204)?;
    let body = json!({"value": "another value"});
    let rotate = format!("/api/secrets/{}/rotate", first.id());
    api.post(&rotate, body).await?.expect(201)?;
    for service in ["worker", "other"] {
        api.put(&path(service)).await?.expect(204)?;
    }
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
