//! Who may do what: nobody anything, until it is given.

use pg_secrets_tests::{COMPANION_LOGIN, Proof, Session, SqlError, TestApp, project};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A call of every function for a secret `{id}` of project `{p}`, and what it answers somebody who
/// has no grant. Who may not see a secret is told that there is none.
const CALLS: [(&str, &str); 71] = [
    ("create_secret('{p}', 'other', 'a value')", "PT403"),
    ("get_secret('{id}')", "PT404"),
    ("get_secret_by_name('{p}', 'name')", "PT404"),
    ("get_secret_version('{id}', 1)", "PT404"),
    ("get_secrets('{p}')", "PT403"),
    ("secret_id('{p}', 'name')", "PT404"),
    ("list_secrets('{p}')", "PT403"),
    ("list_secrets('{p}', 'deleted')", "PT403"),
    ("list_secrets_page('{p}')", "PT403"),
    ("check_secret('{id}')", "PT404"),
    ("secret_versions('{id}')", "PT404"),
    ("rotate_secret('{id}', 'a value')", "PT404"),
    ("rollback_secret('{id}', 1)", "PT404"),
    ("extend_grace('{id}', '1 hour')", "PT404"),
    ("end_grace('{id}')", "PT404"),
    ("delete_secret('{id}')", "PT404"),
    ("restore_secret('{id}')", "PT404"),
    ("purge_secret('{id}')", "PT404"),
    ("register_consumer('{id}', 'service')", "PT404"),
    ("unregister_consumer('{id}', 'service')", "PT404"),
    ("run_maintenance()", "PT403"),
    ("confirm_restored()", "PT403"),
    ("blast_radius('{id}')", "PT404"),
    ("preview('{id}', 'rotate')", "PT404"),
    ("preview('{id}', 'end_grace')", "PT404"),
    ("preview('{id}', 'delete')", "PT404"),
    ("set_policy('{p}')", "PT403"),
    ("project_policy('{p}')", "PT403"),
    ("set_rotation('{id}')", "PT404"),
    ("create_endpoint('{p}', 'http://127.0.0.1/')", "PT403"),
    ("list_endpoints('{p}')", "PT403"),
    ("get_endpoint('{e}')", "PT404"),
    ("update_endpoint('{e}', enabled => false)", "PT404"),
    ("rotate_endpoint_secret('{e}')", "PT404"),
    ("ping_endpoint('{e}')", "PT404"),
    ("list_deliveries('{e}')", "PT404"),
    ("redeliver('{e}', since => '2020-01-01')", "PT404"),
    ("delete_endpoint('{e}')", "PT404"),
    ("sweep_deliveries()", "PT403"),
    ("claim_deliveries()", "PT403"),
    ("finish_delivery('{id}', 1, 200)", "PT403"),
    ("release_delivery('{id}', 1)", "PT403"),
    ("grant_project('somebody', 'read', '{p}')", "PT403"),
    ("revoke_project('somebody', 'read', '{p}')", "PT403"),
    ("project_grants('{p}')", "PT403"),
    ("create_token('somebody')", "PT403"),
    ("revoke_token('{id}')", "PT404"),
    ("list_tokens()", "PT403"),
    ("token_id('pgs_x')", "PT403"),
    ("authenticate_subject('somebody')", "PT403"),
    ("pre_request()", "PT403"),
    ("authenticate('pgs_x')", "PT403"),
    ("list_audit('{p}')", "PT403"),
    ("list_audit(secret_id => '{id}')", "PT404"),
    ("denied_reads('{p}')", "PT403"),
    ("pgp_keys()", "PT403"),
    ("reencrypt_secrets(1)", "PT403"),
    ("verify_secrets()", "PT403"),
    ("pgp_encrypt('x')", "PT403"),
    ("pgp_decrypt('\\x00')", "PT403"),
    // These two know no secret and ask for no grant: it is their input that is refused.
    ("armor('x', ARRAY['a'])", "PT400"),
    ("dearmor('x')", "PT400"),
    ("begin_request('a key', '\\x00')", "PT403"),
    ("end_request('a key', 200)", "PT403"),
    ("service_figures()", "PT403"),
    ("set_execute('grant', 'postgres')", "42501"),
    ("verify_audit()", "PT403"),
    ("export_audit_head()", "PT403"),
    ("store_usage(0, 1)", "42501"),
    ("audit_change()", "0A000"),
    ("protect_audit()", "0A000"),
];

pub(crate) struct Secret {
    pub(crate) project: String,
    pub(crate) id: Uuid,
    /// An endpoint of the project.
    pub(crate) endpoint: Uuid,
}

/// The one function that answers everybody: whether he may.
const ASKED_BY_ROW_SECURITY: &str = "may_list";

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
    let call = call
        .replace("{p}", &secret.project)
        .replace("{id}", &secret.id.to_string())
        .replace("{e}", &secret.endpoint.to_string());
    sql.run(&format!("SELECT control_plane.{call}")).await
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

    let functions: Vec<String> = admin
        .all(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'control_plane'::regnamespace",
            &[],
        )
        .await?;
    let known = |call: &&str| call.split('(').next().unwrap_or_default().to_owned();
    let mut called: BTreeSet<String> = CALLS.iter().map(|(call, _)| known(call)).collect();
    called.insert(ASKED_BY_ROW_SECURITY.to_owned());
    assert_eq!(functions.into_iter().collect::<BTreeSet<_>>(), called);

    for (text, _) in CALLS {
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
    for (text, state) in CALLS.into_iter().filter(|(_, state)| *state != "0A000") {
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
    for (text, _) in CALLS.into_iter().filter(|(_, state)| *state == "PT404") {
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
async fn each_permission_allows_its_own_and_nothing_else() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let allowed: [(&str, &[&str]); 6] = [
        (
            "list",
            &[
                "list_secrets('{p}')",
                "list_secrets('{p}', 'deleted')",
                "list_secrets_page('{p}')",
                "secret_versions('{id}')",
                "blast_radius('{id}')",
            ],
        ),
        (
            "read",
            &[
                "get_secret('{id}')",
                "get_secret_by_name('{p}', 'name')",
                "get_secret_version('{id}', 1)",
                "get_secrets('{p}')",
                "check_secret('{id}')",
            ],
        ),
        (
            "write",
            &[
                "create_secret('{p}', 'other', 'a value')",
                "rotate_secret('{id}', 'a value')",
                "rollback_secret('{id}', 1)",
                "extend_grace('{id}', '1 hour')",
                "end_grace('{id}')",
                "preview('{id}', 'rotate')",
                "preview('{id}', 'end_grace')",
            ],
        ),
        (
            "delete",
            &[
                "delete_secret('{id}')",
                "restore_secret('{id}')",
                "preview('{id}', 'delete')",
            ],
        ),
        (
            "manage",
            &[
                "register_consumer('{id}', 'service')",
                "unregister_consumer('{id}', 'service')",
                "set_policy('{p}')",
                "project_policy('{p}')",
                "set_rotation('{id}')",
                "create_endpoint('{p}', 'http://127.0.0.1/')",
                "list_endpoints('{p}')",
                "get_endpoint('{e}')",
                "update_endpoint('{e}', enabled => false)",
                "rotate_endpoint_secret('{e}')",
                "ping_endpoint('{e}')",
                "list_deliveries('{e}')",
                "redeliver('{e}', since => '2020-01-01')",
                "delete_endpoint('{e}')",
                "grant_project('somebody', 'read', '{p}')",
                "revoke_project('somebody', 'read', '{p}')",
                "project_grants('{p}')",
            ],
        ),
        (
            "audit",
            &[
                "list_audit('{p}')",
                "list_audit(secret_id => '{id}')",
                "denied_reads('{p}')",
            ],
        ),
    ];
    for (permission, own) in allowed {
        let name = login(&admin).await?;
        let secret = secret(&admin).await?;
        admin
            .rows(
                "SELECT control_plane.grant_project($1, $2, $3)",
                &[&name, &permission, &secret.project],
            )
            .await?;
        let holder = app.cluster.connect(&name, "postgres").await?;
        for (text, _) in CALLS.into_iter().filter(|(_, state)| *state != "0A000") {
            holder.run("BEGIN").await?;
            let outcome = call(&holder, text, &secret).await;
            holder.run("ROLLBACK").await?;
            let seen = text.starts_with("secret_id") && permission != "audit";
            match outcome {
                // What the state of the secret forbids was allowed by the grant.
                Err(error) if error.state == "PT409" => {
                    assert!(own.contains(&text), "{permission}: {text}: {error:?}");
                }
                Ok(()) => assert!(own.contains(&text) || seen, "{permission} allows {text}"),
                Err(error) => {
                    assert!(
                        !own.contains(&text) && !seen,
                        "{permission}: {text}: {error:?}"
                    );
                    let states = ["PT403", "PT404", "42501"];
                    let unconcerned = error.state == "PT400" && text.contains("armor(");
                    assert!(
                        states.contains(&error.state.as_str()) || unconcerned,
                        "{text}: {error:?}"
                    );
                }
            }
        }
        // And in no other project.
        let elsewhere = self::secret(&admin).await?;
        for (text, _) in CALLS.into_iter().filter(|(_, state)| *state != "0A000") {
            assert!(
                call(&holder, text, &elsewhere).await.is_err(),
                "{permission}: {text}"
            );
        }
        admin
            .rows(
                "SELECT control_plane.revoke_project($1, $2, $3)",
                &[&name, &permission, &secret.project],
            )
            .await?;
        let refused = call(&holder, "get_secret('{id}')", &secret).await;
        assert_refused(refused, "42501", "a grant that was taken back");
    }
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
    for (text, _) in CALLS.into_iter().filter(|(_, state)| for_callers(state)) {
        if of_relay.iter().any(|name| text.starts_with(name)) {
            continue;
        }
        assert_refused(call(&trusted, text, &secret).await, "PT401", text);
        // What is not there must not be told apart by somebody who is nobody.
        let nowhere = "00000000-0000-7000-8000-000000000000";
        let missing = text.replace("{id}", nowhere).replace("{e}", nowhere);
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
