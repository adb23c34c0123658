//! What bearer tokens allow, over REST.

use pg_secrets_tests::{Proof, Session, TestApp, eventually, project};
use serde_json::json;
use uuid::Uuid;

struct Secret {
    project: String,
    id: Uuid,
}

async fn secret(sql: &Session) -> Proof<Secret> {
    let project = project("tokens");
    let id = sql
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    Ok(Secret { project, id })
}

#[tokio::test]
async fn a_token_that_may_read_may_not_rotate() -> Proof {
    let app = TestApp::shared().await;
    let secret = secret(&app.sql().await?).await?;
    let path = format!("/api/secrets/{}", secret.id);
    let token = app
        .token_for("a reader", &["read"], &secret.project, None)
        .await?;
    let api = app.api_as(&token);
    api.get(&path).await?.expect(200)?;
    api.post(&format!("{path}/rotate"), json!({"value": "x"}))
        .await?
        .expect(403)?;
    api.delete(&path).await?.expect(403)?;
    api.get(&format!("/api/secrets?project_id={}", secret.project))
        .await?
        .expect(403)?;
    let stranger = app
        .token_for("a stranger", &[], &secret.project, None)
        .await?;
    let api = app.api_as(&stranger);
    let hidden = api.get(&path).await?.expect(404)?;
    let absent = api
        .get(&format!("/api/secrets/{}", Uuid::new_v4()))
        .await?
        .expect(404)?;
    assert_eq!(hidden.text("detail"), absent.text("detail"));
    api.post(&format!("{path}/rotate"), json!({"value": "x"}))
        .await?
        .expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_token_bound_to_a_service_reads_under_its_name_alone() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let secret = secret(&sql).await?;
    let path = format!("/api/secrets/{}", secret.id);
    let token = app
        .token_for("bound", &["read"], &secret.project, Some("billing"))
        .await?;
    let api = app.api_as(&token);
    api.get_as("mailer", &path).await?.expect(403)?;
    api.get_as("billing", &path).await?.expect(200)?;
    api.get(&path).await?.expect(200)?;
    let services: Vec<Option<String>> = sql
        .all(
            "SELECT service FROM control_plane.audit_logs
             WHERE secret_id = $1 AND action = 'secret.accessed'",
            &[&secret.id],
        )
        .await?;
    assert_eq!(
        services,
        [Some("billing".to_owned()), Some("billing".to_owned())]
    );
    eventually("the verified consumer", || async {
        let verified: bool = sql
            .one(
                "SELECT last_verified_at IS NOT NULL FROM control_plane.secret_consumers
                 WHERE secret_id = $1 AND service = 'billing'",
                &[&secret.id],
            )
            .await
            .ok()?;
        verified.then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_token_that_expired_or_was_revoked_is_none() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let secret = secret(&sql).await?;
    let path = format!("/api/secrets/{}", secret.id);
    let dead = sql
        .refused_text(
            "SELECT control_plane.create_token('admin@local', expires_at => clock_timestamp() - interval '1 second')",
        )
        .await;
    assert_eq!(dead.state, "PT400");
    let short: String = sql
        .one(
            "SELECT control_plane.create_token('admin@local', expires_at => clock_timestamp() + interval '5 seconds')",
            &[],
        )
        .await?;
    app.api_as(&short).get(&path).await?.expect(200)?;
    tokio::time::sleep(std::time::Duration::from_millis(5100)).await;
    app.api_as(&short).get(&path).await?.expect(401)?;
    let token: String = sql
        .one("SELECT control_plane.create_token('admin@local')", &[])
        .await?;
    app.api_as(&token).get(&path).await?.expect(200)?;
    sql.rows(
        "SELECT control_plane.revoke_token(id) FROM control_plane.tokens WHERE token_sha256 = sha256($1::text::bytea)",
        &[&token],
    )
    .await?;
    app.api_as(&token).get(&path).await?.expect(401)?;
    Ok(())
}
