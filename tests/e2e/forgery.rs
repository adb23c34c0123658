//! Nobody becomes somebody else: a client that sets, shadows and switches whatever it can has the rights
//! that it had, and the record names it.

use crate::access::{Secret, login, secret};
use pg_secrets_tests::{COMPANION_LOGIN, Proof, Session, TestApp};
use serde_json::{Value, json};

/// What a client can say about itself, and every parameter that it may set.
const SAID: &[&str] = &[
    "SET application_name = 'admin@local'",
    "SET \"request.jwt.claims\" = '{\"sub\": \"admin@local\", \"role\": \"postgres\"}'",
    "SET \"request.jwt.claim.sub\" = 'admin@local'",
    "SET \"request.jwt.claim.role\" = 'service_role'",
    "SET \"pg_secrets.actor\" = 'admin@local'",
    "SET control_plane.actor = 'admin@local'",
    "SET \"app.current_user\" = 'admin@local'",
    "SET row_security = off",
    "SET local_preload_libraries = 'x'",
    "SET check_function_bodies = off",
    "SET default_transaction_isolation = 'serializable'",
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET transform_null_equals = on",
    "SET standard_conforming_strings = off",
    "SET quote_all_identifiers = on",
    "SET client_encoding = 'LATIN1'",
    "SET TIME ZONE 'Pacific/Kiritimati'",
    "SET debug_parallel_query = on",
    "SET force_parallel_mode = on",
];

/// What only others may do; each fails, and changes nothing.
const FORBIDDEN: &[&str] = &[
    "SET ROLE postgres",
    "SET ROLE secrets_companion",
    "SET SESSION AUTHORIZATION postgres",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('session_authorization', 'postgres', false)",
    "SET session_replication_role = replica",
    "SET pg_secrets.trusted_logins = 'everybody'",
    "SET pg_secrets.audit_timeout = 0",
    "SET log_statement = 'all'",
    "LOAD '/tmp/x.so'",
    "ALTER SYSTEM SET pg_secrets.trusted_logins = 'everybody'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER DATABASE postgres SET pg_secrets.trusted_logins = 'everybody'",
    "GRANT postgres TO CURRENT_USER",
    "CREATE FUNCTION public.own(uuid, text) RETURNS control_plane.secret_value LANGUAGE c AS '$libdir/pg_secrets', 'pgs_get_secret'",
    "ALTER FUNCTION control_plane.get_secret(uuid, text) OWNER TO CURRENT_USER",
    "ALTER FUNCTION control_plane.get_secret(uuid, text) SET search_path = public",
    "CREATE OR REPLACE FUNCTION control_plane.may_list(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE TABLE control_plane.mine ()",
    "CREATE FUNCTION control_plane.mine() RETURNS void LANGUAGE sql AS ''",
    "CREATE CAST (uuid AS text) WITH INOUT AS IMPLICIT",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION public.mine()",
    "SELECT control_plane.set_execute('grant', current_user)",
    "SELECT control_plane.authenticate_subject('admin@local')",
    "SELECT control_plane.authenticate('pgs_guess')",
    "INSERT INTO control_plane.grants (id) VALUES (gen_random_uuid())",
];

/// What lies before the system's own in the search path, and says yes to everything.
fn shadows(schema: &str) -> String {
    let mut text = String::new();
    for function in [
        "pg_has_role(oid, oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "starts_with(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT timestamptz ''2001-01-01'''",
        "may_list(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT ''admin@local'''",
        "coalesce_(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "same(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "same(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "same(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "same(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    ] {
        text.push_str(&format!("CREATE FUNCTION {schema}.{function};\n"));
    }
    for (operator, kind) in [
        ("=", "text"),
        ("=", "oid"),
        ("=", "uuid"),
        ("<>", "text"),
        (">", "timestamptz"),
        ("<=", "timestamptz"),
    ] {
        text.push_str(&format!(
            "CREATE OPERATOR {schema}.{operator} (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = {schema}.same);\n"
        ));
    }
    text.push_str(&format!(
        "CREATE TYPE {schema}.uuid AS ENUM ('x');
         CREATE TYPE {schema}.jsonb AS (x text);
         CREATE VIEW {schema}.pg_roles AS SELECT 'postgres'::name AS rolname, 10::oid AS oid, true AS rolsuper;
         CREATE TEMP TABLE grants (kind text, grantee text, permission text, project_id text, service text, name_prefix text, expires_at timestamptz, role_oid oid, cluster bigint);
         INSERT INTO grants VALUES ('role', current_user, 'admin', NULL, NULL, NULL, NULL, 10, 0);
         CREATE TEMP VIEW pg_roles AS SELECT 'postgres'::name AS rolname, 10::oid AS oid;
         CREATE TEMP TABLE secrets AS SELECT 1 AS id;
         CREATE TEMP TABLE versions AS SELECT 1 AS id;"
    ));
    text
}

async fn assert_rights_of_a_lister(session: &Session, secret: &Secret, after: &str) -> Proof {
    let id = secret.id;
    for (call, state) in [
        (format!("get_secret('{id}'::pg_catalog.uuid)"), "PT403"),
        (
            format!("rotate_secret('{id}'::pg_catalog.uuid, 'x')"),
            "PT403",
        ),
        (format!("delete_secret('{id}'::pg_catalog.uuid)"), "PT403"),
        (
            format!("grant_project('x', 'read', '{}')", secret.project),
            "PT403",
        ),
        ("create_token('admin@local')".to_owned(), "PT403"),
        ("pgp_keys()".to_owned(), "PT403"),
    ] {
        let refused = session
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, state, "after {after}: {call}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_forges_what_it_can_keeps_its_rights_and_its_name() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let other = self::secret(&admin).await?;
    let name = login(&admin).await?;
    let group = login(&admin).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'list', $2)",
            &[&name, &secret.project],
        )
        .await?;
    admin
        .run(&format!(
            "GRANT {group} TO {name}; CREATE SCHEMA {name} AUTHORIZATION {name}"
        ))
        .await?;
    let session = app.cluster.connect(&name, "postgres").await?;
    assert_rights_of_a_lister(&session, &secret, "nothing").await?;
    for statement in SAID {
        // Not every server version has all of them, and our own prefix is reserved.
        if let Err(error) = session.run(statement).await {
            let none = ["42704", "42602"].contains(&error.state.as_str());
            assert!(none, "{statement}: {error:?}");
        }
        assert_rights_of_a_lister(&session, &secret, statement).await?;
    }
    for statement in FORBIDDEN {
        session.refused_text(statement).await;
        assert_rights_of_a_lister(&session, &secret, statement).await?;
    }
    session
        .run("RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE")
        .await?;
    session.run(&shadows(&name)).await?;
    for path in [
        format!("{name}, pg_temp, pg_catalog"),
        format!("pg_temp, {name}, public"),
        "control_plane, pg_temp".to_owned(),
    ] {
        session.run(&format!("SET search_path = {path}")).await?;
        assert_rights_of_a_lister(&session, &secret, &path).await?;
        let seen: i64 = session
            .one(
                &format!(
                    "SELECT pg_catalog.count(*) FROM control_plane.secrets WHERE project_id OPERATOR(pg_catalog.=) '{}'",
                    other.project
                ),
                &[],
            )
            .await?;
        assert_eq!(seen, 0, "{path}");
    }
    // A definer's function of its own has its own rights, and a role that it may set only that role's.
    session
        .run(&format!(
            "SET search_path = pg_catalog;
             CREATE FUNCTION {name}.try() RETURNS text LANGUAGE sql SECURITY DEFINER
                 AS $$SELECT value FROM control_plane.get_secret('{}')$$",
            secret.id
        ))
        .await?;
    let refused = session.refused_text(&format!("SELECT {name}.try()")).await;
    assert_eq!(refused.state, "PT403", "{refused:?}");
    session.run(&format!("SET ROLE {group}")).await?;
    let refused = session
        .refused_text(&format!(
            "SELECT control_plane.list_secrets('{}')",
            secret.project
        ))
        .await;
    assert_eq!(refused.state, "42501", "{refused:?}");
    session.run("RESET ROLE").await?;

    let named: Vec<String> = admin
        .all(
            "SELECT DISTINCT format('%s %s %s', actor, login, detail->>'role') FROM control_plane.audit_logs
             WHERE secret_id = $1 AND action = 'secret.access_denied'",
            &[&secret.id],
        )
        .await?;
    assert_eq!(named, [format!("{name} {name} ")]);
    Ok(())
}

#[tokio::test]
async fn a_superuser_who_becomes_somebody_else_is_recorded_as_himself() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let name = login(&admin).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'read', $2)",
            &[&name, &secret.project],
        )
        .await?;
    let superuser = app.cluster.sql().await?;
    for switch in [
        format!("SET SESSION AUTHORIZATION {name}"),
        format!("SET ROLE {name}"),
    ] {
        superuser.run(&switch).await?;
        superuser
            .rows("SELECT control_plane.get_secret($1)", &[&secret.id])
            .await?;
        let refused = superuser
            .refused("SELECT control_plane.rotate_secret($1, 'x')", &[&secret.id])
            .await;
        assert_eq!(
            refused.state, "PT403",
            "{switch}: his rights are the other's"
        );
        superuser
            .run("RESET SESSION AUTHORIZATION; RESET ROLE")
            .await?;
    }
    let records: Vec<Value> = admin
        .all(
            "SELECT jsonb_build_array(actor, login, detail->'role') FROM control_plane.audit_logs
             WHERE secret_id = $1 AND action = 'secret.accessed'",
            &[&secret.id],
        )
        .await?;
    assert_eq!(records, vec![json!(["postgres", "postgres", name]); 2]);
    Ok(())
}

#[tokio::test]
async fn an_authentication_outlives_its_transaction_in_no_form() -> Proof {
    let app = TestApp::start("fsync = off\nmax_prepared_transactions = 4").await;
    let admin = app.sql().await?;
    let secret = secret(&admin).await?;
    let token = app
        .token_for("a reader", &["read", "list"], &secret.project, None)
        .await?;
    admin
        .run(&format!(
            "GRANT SELECT (name) ON control_plane.secrets TO {COMPANION_LOGIN}"
        ))
        .await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let id = secret.id;
    let read = format!("SELECT value FROM control_plane.get_secret('{id}')");
    trusted
        .run(&format!(
            "PREPARE kept AS {read}; PREPARE names AS SELECT name FROM control_plane.secrets"
        ))
        .await?;
    let authenticate = format!("SELECT control_plane.authenticate('{token}')");
    for end in [
        "COMMIT",
        "ROLLBACK",
        "COMMIT AND CHAIN",
        "PREPARE TRANSACTION 'forgery'",
        "SAVEPOINT s; ROLLBACK TO s; COMMIT",
    ] {
        trusted
            .run(&format!(
                "BEGIN; {authenticate}; EXECUTE kept; EXECUTE names;
                 DECLARE held CURSOR WITH HOLD FOR SELECT name FROM control_plane.secrets; {end}"
            ))
            .await
            .or_else(|error| match end.starts_with("PREPARE") {
                // A transaction that holds a cursor cannot be prepared.
                true if error.state == "0A000" => Ok(()),
                _ => Err(error),
            })?;
        let refused = trusted.refused_text(&read).await;
        assert_eq!(refused.state, "PT401", "{end}: {refused:?}");
        trusted.run("ROLLBACK").await?;
        let refused = trusted.refused_text("EXECUTE kept").await;
        assert_eq!(refused.state, "PT401", "{end}: {refused:?}");
        let seen: Vec<String> = trusted
            .all("SELECT name FROM control_plane.secrets", &[])
            .await?;
        assert!(seen.is_empty(), "{end}: {seen:?}");
        trusted.run("CLOSE ALL").await?;
    }
    trusted
        .run(&format!(
            "BEGIN; {authenticate}; EXECUTE kept; PREPARE TRANSACTION 'forgery'"
        ))
        .await?;
    assert_eq!(trusted.refused_text(&read).await.state, "PT401");
    trusted.run("COMMIT PREPARED 'forgery'").await?;
    assert_eq!(trusted.refused_text(&read).await.state, "PT401");
    // A savepoint that is rolled back takes no authentication back, and lets in no other.
    let administrator = &app.token;
    trusted
        .run(&format!(
            "BEGIN; SAVEPOINT s; {authenticate}; ROLLBACK TO s; SAVEPOINT t"
        ))
        .await?;
    let refused = trusted
        .refused_text(&format!(
            "SELECT control_plane.authenticate('{administrator}')"
        ))
        .await;
    assert_eq!(refused.state, "PT403", "{refused:?}");
    trusted.run("ROLLBACK").await?;
    Ok(())
}
