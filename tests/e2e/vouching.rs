//! Logins that act for others, and logins that would like to.

use crate::access::{assert_refused, call, login, secret};
use pg_secrets_tests::{COMPANION_LOGIN, Proof, TestApp, project};

#[tokio::test]
async fn a_login_that_is_not_trusted_vouches_for_nobody() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("untrusted");
    let name = login(&sql).await?;
    sql.rows(
        "SELECT control_plane.grant_project($1, 'list', $2)",
        &[&name, &project],
    )
    .await?;
    let session = app.cluster.connect(&name, "postgres").await?;
    for call in [
        "pre_request()",
        "authenticate_subject('admin@local')",
        "authenticate('x')",
    ] {
        session
            .run("BEGIN; SELECT set_config('request.jwt.claims', '{\"sub\": \"admin@local\"}', true)")
            .await?;
        session.run("SAVEPOINT s").await?;
        let refused = session
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, "PT403", "{call}: {refused:?}");
        session.run("ROLLBACK TO s").await?;
        let refused = session
            .refused_text("SELECT control_plane.pgp_keys()")
            .await;
        assert_eq!(refused.state, "PT403", "{call}: {refused:?}");
        session.run("ROLLBACK").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_login_itself_says_for_whom_it_acts_and_says_it_once() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let secret = secret(&sql).await?;
    sql.rows(
        "SELECT control_plane.grant_project('alice', 'read', $1, kind => 'subject')",
        &[&secret.project],
    )
    .await?;
    let read = format!(
        "SELECT value FROM control_plane.get_secret('{}')",
        secret.id
    );
    let companion = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    companion
        .run("BEGIN; SELECT control_plane.authenticate_subject('alice', '{\"request_id\": \"r\"}')")
        .await?;
    let value: String = companion.one(&read, &[]).await?;
    assert_eq!(value, "a value");
    companion
        .run("SELECT control_plane.authenticate_subject('alice'); SAVEPOINT s")
        .await?;
    let refused = companion
        .refused_text("SELECT control_plane.authenticate_subject('admin@local')")
        .await;
    assert_eq!(refused.state, "PT403");
    companion.run("ROLLBACK TO s; COMMIT").await?;
    assert_eq!(companion.refused_text(&read).await.state, "PT401");
    for subject in ["''", "NULL", "'..'", "E'a\\nb'"] {
        let refused = companion
            .refused_text(&format!(
                "SELECT control_plane.authenticate_subject({subject})"
            ))
            .await;
        assert_eq!(refused.state, "PT400", "{subject}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn roles_that_a_trusted_login_sets_change_neither_rights_nor_actor() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let token = app
        .token_for("reader of roles", &["read"], &secret.project, None)
        .await?;
    let power = login(&admin).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'write', $2)",
            &[&power, &secret.project],
        )
        .await?;
    admin
        .run(&format!("GRANT {power} TO {COMPANION_LOGIN}"))
        .await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    for set in [
        format!("SET ROLE {power}"),
        format!("SET LOCAL ROLE {power}"),
        "RESET ROLE".to_owned(),
        "SET SESSION AUTHORIZATION DEFAULT".to_owned(),
        format!("SELECT set_config('role', '{power}', true)"),
        "SELECT set_config('request.jwt.claim.sub', 'admin@local', false)".to_owned(),
        "SET LOCAL application_name = 'admin@local'".to_owned(),
        format!(
            "SET LOCAL request.jwt.claims TO '{{\"sub\": \"admin@local\", \"role\": \"{power}\"}}'"
        ),
    ] {
        trusted.run("BEGIN").await?;
        trusted
            .rows("SELECT control_plane.authenticate($1)", &[&token])
            .await?;
        trusted.run(&set).await?;
        call(&trusted, "get_secret('{id}')", &secret).await?;
        trusted.run("SAVEPOINT s").await?;
        let refused = call(&trusted, "rotate_secret('{id}', 'stolen')", &secret).await;
        assert_refused(refused, "PT403", &set);
        trusted.run("ROLLBACK TO s").await?;
        // Another subject cannot take the transaction over.
        let refused = trusted
            .refused("SELECT control_plane.authenticate($1)", &[&app.token])
            .await;
        assert_eq!(refused.state, "PT403", "{set}: {refused:?}");
        trusted.run("ROLLBACK TO s; COMMIT; RESET ROLE").await?;
    }
    let actors: Vec<String> = admin
        .all(
            "SELECT DISTINCT actor FROM control_plane.audit_logs
             WHERE secret_id = $1 AND action = 'secret.accessed'",
            &[&secret.id],
        )
        .await?;
    assert_eq!(actors, ["reader of roles"]);
    Ok(())
}

/// PostgREST's client finds a function that resets the role which was set for him: from then on the session
/// looks like its login's own.
#[tokio::test]
async fn a_session_that_had_a_clients_claims_never_acts_for_itself_again() -> Proof {
    let app = TestApp::shared().await;
    let claims = "SELECT set_config('request.jwt.claims', '{\"role\": \"anon\"}', true)";
    let calls = [
        "authenticate_subject('admin@local')",
        "claim_deliveries()",
        "sweep_deliveries()",
        "begin_request('k', '\\x00')",
        "service_figures()",
    ];
    // Either of the two is enough, and so it is when its transaction is over.
    for client in [claims, "SELECT control_plane.pre_request()"] {
        let session = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
        session
            .run("SELECT control_plane.service_figures()")
            .await?;
        for begin in [format!("BEGIN; {client}"), "BEGIN".to_owned()] {
            for call in calls {
                session.run(&begin).await?;
                let refused = session
                    .refused_text(&format!("SELECT control_plane.{call}"))
                    .await;
                assert!(
                    ["PT401", "PT403"].contains(&refused.state.as_str()),
                    "{begin}: {call}: {refused:?}"
                );
                session.run("ROLLBACK").await?;
            }
        }
    }
    Ok(())
}
