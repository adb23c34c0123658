//! Who may do what: nobody anything, until it is given.

use crate::calls::CALLS;
use crate::matrix_rules::Holder;
use pg_secrets_tests::{COMPANION_LOGIN, Proof, Session, SqlError, TestApp, project};
use uuid::Uuid;

pub(crate) struct Secret {
    pub(crate) project: String,
    pub(crate) id: Uuid,
    /// An endpoint of the project.
    pub(crate) endpoint: Uuid,
}

/// A secret of one version, in a project of its own, with the consumer `service` and an endpoint that
/// nothing is sent to.
pub(crate) async fn secret(sql: &Session) -> Proof<Secret> {
    let project = project("access");
    let id = sql
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    sql.rows(
        "SELECT control_plane.register_consumer($1, 'service')",
        &[&id],
    )
    .await?;
    let endpoint = sql
        .one(
            "SELECT id FROM control_plane.create_endpoint($1, 'http://192.0.2.1/', event_types => '{secret.expiring}')",
            &[&project],
        )
        .await?;
    Ok(Secret {
        project,
        id,
        endpoint,
    })
}

/// A login of a fresh name.
pub(crate) async fn login(sql: &Session) -> Proof<String> {
    let name = format!("login_{}", Uuid::new_v4().simple());
    sql.run(&format!("CREATE ROLE {name} LOGIN")).await?;
    Ok(name)
}

pub(crate) async fn call(sql: &Session, call: &str, secret: &Secret) -> Result<(), SqlError> {
    // The version in grace, the deleted secret and the token of a call are this version here: what is
    // refused is refused for each.
    let id = secret.id.to_string();
    let call = ["{id}", "{g}", "{d}", "{t}"]
        .iter()
        .fold(call.to_owned(), |call, name| call.replace(name, &id))
        .replace("{p}", &secret.project)
        .replace("{e}", &secret.endpoint.to_string());
    sql.run(&format!("SELECT control_plane.{call}")).await
}

/// A call of every function, and its SQLSTATE for somebody who has no grant.
fn calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    CALLS
        .iter()
        .map(|call| (call.text, call.refusal(Holder::Nothing)))
}

pub(crate) fn assert_refused(outcome: Result<(), SqlError>, state: &str, what: &str) {
    match outcome {
        Ok(()) => panic!("not refused: {what}"),
        Err(error) => assert_eq!(error.state, state, "{what}: {error:?}"),
    }
}

#[tokio::test]
async fn a_role_without_grants_can_do_nothing() -> Proof {
    // Its own: GRANT by hand fails where other tests change the same privileges at that moment.
    let app = TestApp::start("fsync = off").await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let name = login(&admin).await?;
    let stranger = app.cluster.connect(&name, "postgres").await?;

    for (text, _) in calls() {
        assert_refused(call(&stranger, text, &secret).await, "42501", text);
    }
    let tables: Vec<String> = admin
        .all(
            "SELECT oid::regclass::text FROM pg_class
             WHERE relnamespace = 'control_plane'::regnamespace AND relkind IN ('r', 'v')",
            &[],
        )
        .await?;
    assert!(tables.len() >= 10);
    for table in &tables {
        let refused = stranger.refused(&format!("SELECT FROM {table}"), &[]).await;
        assert_eq!(refused.state, "42501", "{table}");
    }

    // With every privilege that Postgres itself asks for, and still no grant of ours.
    admin
        .run(&format!(
            "GRANT USAGE ON SCHEMA control_plane TO {name};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO {name};
             REVOKE EXECUTE ON FUNCTION control_plane.set_execute(text, text) FROM {name};
             REVOKE EXECUTE ON FUNCTION control_plane.store_usage(bigint, bigint) FROM {name}"
        ))
        .await?;
    for (text, state) in calls().filter(|(_, state)| *state != "0A000") {
        assert_refused(call(&stranger, text, &secret).await, state, text);
    }
    for table in &tables {
        let refused = stranger.refused(&format!("SELECT FROM {table}"), &[]).await;
        assert_eq!(refused.state, "42501", "{table}");
    }
    let value: String = admin
        .one(
            "SELECT value FROM control_plane.get_secret($1)",
            &[&secret.id],
        )
        .await?;
    assert_eq!(value, "a value");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_one_may_not_see_answers_as_one_that_is_not_there() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let own = secret(&admin).await?;
    let hidden = secret(&admin).await?;
    let absent = Secret {
        project: project("absent"),
        id: Uuid::new_v4(),
        endpoint: Uuid::new_v4(),
    };
    let name = login(&admin).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'read', $2)",
            &[&name, &own.project],
        )
        .await?;
    let reader = app.cluster.connect(&name, "postgres").await?;
    for (text, _) in calls().filter(|(_, state)| *state == "PT404") {
        let at_hidden = call(&reader, text, &hidden).await.expect_err(text);
        let at_absent = call(&reader, text, &absent).await.expect_err(text);
        assert_eq!(at_hidden.state, "PT404", "{text}: {at_hidden:?}");
        assert_eq!(at_hidden, at_absent, "{text}");
    }
    let value: String = reader
        .one("SELECT value FROM control_plane.get_secret($1)", &[&own.id])
        .await?;
    assert_eq!(value, "a value");
    Ok(())
}

#[tokio::test]
async fn a_trusted_login_has_no_rights_before_it_authenticates() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let of_relay = [
        "claim_deliveries",
        "finish_delivery",
        "release_delivery",
        "authenticate",
        "authenticate_subject",
        "pre_request",
        "service_figures",
    ];
    // What is not for callers at all is refused by Postgres itself.
    let for_callers = |state: &str| state.starts_with("PT");
    for (text, _) in calls().filter(|(_, state)| for_callers(state)) {
        if of_relay.iter().any(|name| text.starts_with(name)) {
            continue;
        }
        assert_refused(call(&trusted, text, &secret).await, "PT401", text);
        // What is not there must not be told apart by somebody who is nobody.
        let nowhere = "00000000-0000-7000-8000-000000000000";
        let missing = ["{id}", "{g}", "{d}", "{t}", "{e}"]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(name, nowhere));
        assert_refused(call(&trusted, &missing, &secret).await, "PT401", &missing);
    }
    let refused = call(&trusted, "authenticate('pgs_x')", &secret).await;
    assert_refused(refused, "PT401", "a token that is none");
    // An authentication ends with its transaction.
    trusted
        .rows("SELECT control_plane.authenticate($1)", &[&app.token])
        .await?;
    let refused = call(&trusted, "get_secret('{id}')", &secret).await;
    assert_refused(refused, "PT401", "the next transaction");
    Ok(())
}
