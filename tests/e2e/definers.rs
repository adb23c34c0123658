//! Functions of an application's own that act for others.

use crate::access::{login, secret};
use pg_secrets_tests::{Proof, TestApp};
use uuid::Uuid;

#[tokio::test]
async fn a_definers_function_acts_with_its_owners_grants() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let owner = login(&admin).await?;
    let user = login(&admin).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'read', $2)",
            &[&owner, &secret.project],
        )
        .await?;
    let function = format!("public.read_{}", Uuid::new_v4().simple());
    admin
        .run(&format!(
            "CREATE FUNCTION {function}(id uuid) RETURNS text LANGUAGE sql SECURITY DEFINER
                 SET search_path = pg_catalog, pg_temp
                 AS 'SELECT value FROM control_plane.get_secret(id)';
             ALTER FUNCTION {function}(uuid) OWNER TO {owner}"
        ))
        .await?;
    let session = app.cluster.connect(&user, "postgres").await?;
    let value: String = session
        .one(&format!("SELECT {function}($1)"), &[&secret.id])
        .await?;
    assert_eq!(value, "a value");
    let actor: String = admin
        .one(
            "SELECT actor FROM control_plane.audit_logs WHERE secret_id = $1 AND action = 'secret.accessed'",
            &[&secret.id],
        )
        .await?;
    assert_eq!(actor, user);
    Ok(())
}
