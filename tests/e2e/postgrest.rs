//! PostgREST, as Supabase runs it: the statements that it sends for a call of a function by
//! `POST /rpc/…`, replayed over the wire. Its login is a trusted one, every request sets the role and
//! the claims of its JWT, and calls our pre-request function before its own statement.

use pg_secrets_tests::{Proof, Session, SqlError, TestApp, repository};
use serde_json::{Value, json};
use std::str::FromStr;

const SETTINGS: &str =
    "fsync = off\npg_secrets.trusted_logins = 'secrets_companion, authenticator'";

/// What PostgREST's own documentation has one make.
const ROLES: &str = "
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated TO authenticator";

/// The grants that docs/access.md says to make.
fn documented_grants() -> Proof<String> {
    let page = std::fs::read_to_string(repository().join("docs/access.md"))?;
    let block = page
        .split_once("<!-- postgrest -->\n```sql\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    Ok(block.expect("the block is there").0.to_owned())
}

struct Answered {
    status: u16,
    body: Value,
}

/// The status that PostgREST answers for an SQLSTATE: for `PTnnn` it is nnn, and for its other codes a
/// table of its own, of which two matter here.
fn status_of(error: &SqlError, role: &str) -> u16 {
    match error.state.strip_prefix("PT").map(u16::from_str) {
        Some(Ok(status)) => status,
        _ if error.state == "42501" && role == "anon" => 401,
        _ if error.state == "42501" => 403,
        _ => 500,
    }
}

/// One request, in the statements of PostgREST 12.
async fn rpc(
    session: &Session,
    role: &str,
    claims: Option<&str>,
    function: &str,
    body: &Value,
) -> Proof<Answered> {
    let statements = async {
        session
            .run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            .await?;
        session
            .rows(
                "select set_config('search_path', $1, true), set_config('role', $2, true), set_config('request.jwt.claims', $3, true), set_config('request.method', 'POST', true), set_config('request.path', $4, true), set_config('request.headers', $5, true), set_config('request.cookies', '{}', true)",
                &[
                    &"\"control_plane\", \"public\"",
                    &role,
                    &claims.map_or_else(|| json!({"role": role}).to_string(), str::to_owned),
                    &format!("/rpc/{function}"),
                    &json!({"host": "localhost:3000", "x-request-id": "req-7"}).to_string(),
                ],
            )
            .await?;
        session
            .run("select \"control_plane\".\"pre_request\"()")
            .await?;
        let arguments: Vec<String> = body
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| format!("\"{name}\" := pgrst_body.\"{name}\""))
            .collect();
        let columns: Vec<String> = body
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let kind = if name == "secret_id" {
                    "uuid"
                } else if value.is_i64() {
                    "integer"
                } else {
                    "text"
                };
                format!("\"{name}\" {kind}")
            })
            .collect();
        let statement = format!(
            "WITH pgrst_source AS (SELECT pgrst_call.* FROM (SELECT $1::json AS json_data) pgrst_payload, LATERAL (SELECT * FROM json_to_record(pgrst_payload.json_data) AS _({})) pgrst_body, LATERAL \"control_plane\".\"{function}\"({}) pgrst_call) SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, coalesce(json_agg(_postgrest_t), '[]')::text AS body, nullif(current_setting('response.headers', true), '') AS response_headers, nullif(current_setting('response.status', true), '') AS response_status FROM (SELECT * FROM pgrst_source) _postgrest_t",
            columns.join(", "),
            arguments.join(", "),
        );
        let rows = session.rows(&statement, &[body]).await?;
        let body: String = rows[0].get("body");
        session.run("COMMIT").await?;
        Ok::<_, SqlError>(body)
    };
    match statements.await {
        Ok(body) => Ok(Answered {
            status: 200,
            body: serde_json::from_str(&body)?,
        }),
        Err(error) => {
            session.run("ROLLBACK").await?;
            Ok(Answered {
                status: status_of(&error, role),
                body: json!({"code": error.state, "message": error.message, "details": error.detail, "hint": error.hint}),
            })
        }
    }
}

fn claims(subject: &str) -> String {
    json!({"sub": subject, "role": "authenticated", "exp": 4_102_444_800_i64, "aud": "authenticated"}).to_string()
}

async fn start() -> Proof<(TestApp, Session)> {
    let app = TestApp::start(SETTINGS).await;
    let sql = app.sql().await?;
    sql.run(ROLES).await?;
    sql.run(&documented_grants()?).await?;
    sql.run(
        "SELECT control_plane.create_secret('p', 'app/key', 'the value');
         SELECT control_plane.grant_project('alice', 'read', 'p', kind => 'subject', name_prefix => 'app/');
         SELECT control_plane.grant_project('alice', 'list', 'p', kind => 'subject')",
    )
    .await?;
    let session = app.cluster.connect("authenticator", "postgres").await?;
    Ok((app, session))
}

#[tokio::test]
async fn a_call_has_the_rights_of_the_subject_of_its_claims() -> Proof {
    let (app, session) = start().await?;
    let sql = app.sql().await?;
    let read = json!({"project_id": "p", "name": "app/key"});
    let alice = claims("alice");
    let answered = rpc(
        &session,
        "authenticated",
        Some(&alice),
        "get_secret_by_name",
        &read,
    )
    .await?;
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(answered.body[0]["value"], "the value");
    let record: Value = sql
        .one(
            "SELECT jsonb_build_array(actor, login, request_id, detail->'role') FROM control_plane.audit_logs
             WHERE action = 'secret.accessed'",
            &[],
        )
        .await?;
    assert_eq!(
        record,
        json!(["alice", "authenticator", "req-7", "authenticated"])
    );
    let id: uuid::Uuid = sql
        .one("SELECT control_plane.secret_id('p', 'app/key')", &[])
        .await?;
    let rotate = json!({"secret_id": id, "value": "other"});
    let list = json!({"project_id": "p"});
    let absent = json!({"project_id": "p", "name": "app/nothing"});
    let empty = json!({"project_id": "", "name": "x", "version": 1});
    for (subject, function, body, status) in [
        (Some("alice"), "list_secrets", &list, 200),
        (Some("alice"), "rotate_secret", &rotate, 403),
        (Some("alice"), "get_secret_by_name", &absent, 404),
        (Some("bob"), "get_secret_by_name", &read, 404),
        (Some("bob"), "list_secrets", &list, 403),
        (Some("bob"), "rotate_secret", &rotate, 404),
        (Some("bob"), "get_secret_by_name", &empty, 404),
        // Case, and spaces, are part of a subject.
        (Some("Alice"), "get_secret_by_name", &read, 404),
        (Some("alice "), "get_secret_by_name", &read, 404),
        (None, "get_secret_by_name", &read, 401),
        (None, "list_secrets", &list, 401),
    ] {
        let claims = subject.map(claims);
        let answered = rpc(&session, "authenticated", claims.as_deref(), function, body).await?;
        assert_eq!(
            answered.status, status,
            "{subject:?} {function}: {}",
            answered.body
        );
    }
    // A key of the whole project has no subject: nobody, whose other requests go on.
    let anonymous = rpc(&session, "anon", None, "get_secret_by_name", &read).await?;
    assert_eq!(anonymous.status, 401, "{}", anonymous.body);
    Ok(())
}

#[tokio::test]
async fn claims_that_are_not_valid_end_the_request() -> Proof {
    let (_app, session) = start().await?;
    let list = json!({"project_id": "p"});
    let long = json!({"sub": "x".repeat(256)}).to_string();
    let huge = json!({"sub": "alice", "more": "x".repeat(70_000)}).to_string();
    for claims in [
        "alice",
        "[]",
        "\"alice\"",
        "null",
        "{\"sub\": 1}",
        "{\"sub\": [\"alice\"]}",
        "{\"sub\": {}}",
        "{\"sub\": true}",
        "{\"sub\": \"\"}",
        "{\"sub\": \"..\"}",
        "{\"sub\": \"al\\nice\"}",
        "{\"sub\": \"al\\u0000ice\"}",
        "{\"sub\": \"alice\"",
        "{\"sub\": \"alice\"} x",
        &long,
        &huge,
    ] {
        let answered = rpc(
            &session,
            "authenticated",
            Some(claims),
            "list_secrets",
            &list,
        )
        .await?;
        assert_eq!(answered.status, 401, "{claims:.80}: {}", answered.body);
        assert!(
            !answered.body.to_string().contains("alice"),
            "{}",
            answered.body
        );
    }
    for claims in ["", "{}", "{\"sub\": null}", "{\"role\": \"anon\"}"] {
        let answered = rpc(
            &session,
            "authenticated",
            Some(claims),
            "list_secrets",
            &list,
        )
        .await?;
        assert_eq!(
            answered.body["message"], "nobody is authenticated",
            "{claims}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_set_after_the_claims_were_taken_changes_nothing() -> Proof {
    let (app, session) = start().await?;
    let sql = app.sql().await?;
    sql.run("SELECT control_plane.grant_project('admin', 'admin', kind => 'subject')")
        .await?;
    // More than it needs: what the role may call is not what protects here.
    sql.run("GRANT USAGE ON SCHEMA control_plane TO authenticator; GRANT EXECUTE ON FUNCTION control_plane.pre_request() TO authenticator")
        .await?;
    let forged = "SELECT set_config('request.jwt.claims', '{\"sub\": \"admin\"}', true)";
    let rotate =
        "SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'app/key'), 'stolen')";
    for (own, expected) in [
        (Some("alice"), "PT403"),
        (Some("bob"), "PT404"),
        (None, "PT401"),
    ] {
        for attempt in [
            forged.to_owned(),
            format!("{forged}; SELECT control_plane.pre_request()"),
            format!("{forged}; RESET ROLE; SELECT control_plane.pre_request()"),
            "SAVEPOINT t; SET LOCAL request.jwt.claims = '{\"sub\": \"admin\"}'; SELECT control_plane.pre_request(); RELEASE t".to_owned(),
            "RESET ROLE".to_owned(),
            "SET LOCAL ROLE anon; SET LOCAL ROLE authenticated".to_owned(),
            "SET LOCAL \"request.jwt.claim.sub\" = 'admin'".to_owned(),
        ] {
            session.run("BEGIN; SET LOCAL ROLE authenticated").await?;
            if let Some(subject) = own {
                session
                    .rows("SELECT set_config('request.jwt.claims', $1, true)", &[&claims(subject)])
                    .await?;
            }
            session.run("SELECT control_plane.pre_request()").await?;
            session.run(&attempt).await?;
            session.run("SET LOCAL ROLE authenticated").await?;
            let refused = session.refused_text(rotate).await;
            assert_eq!(refused.state, expected, "{own:?}: {attempt}: {refused:?}");
            session.run("ROLLBACK").await?;
        }
        // Who calls is the login's to say, and not its clients'.
        session.run("BEGIN; SET LOCAL ROLE authenticated").await?;
        sql.run("GRANT EXECUTE ON FUNCTION control_plane.authenticate_subject(text, jsonb), control_plane.claim_deliveries(integer, interval) TO authenticated").await?;
        for call in ["authenticate_subject('admin')", "claim_deliveries()"] {
            session.run("SAVEPOINT s").await?;
            let refused = session
                .refused_text(&format!("SELECT control_plane.{call}"))
                .await;
            assert!(
                ["PT403", "PT401"].contains(&refused.state.as_str()),
                "{call}: {refused:?}"
            );
            session.run("ROLLBACK TO s").await?;
        }
        session.run("ROLLBACK").await?;
    }
    Ok(())
}

/// A trigger in the user's own table calls a function of his own, whose owner holds the grant; who
/// writes into the table holds none. docs/access.md shows this very example.
#[tokio::test]
async fn a_trigger_reads_a_secret_for_somebody_who_may_not() -> Proof {
    let (app, session) = start().await?;
    let sql = app.sql().await?;
    sql.run(
        "CREATE ROLE signer NOLOGIN;
         SELECT control_plane.create_secret('p', 'signing-key', 'k1');
         SELECT control_plane.grant_project('signer', 'read', 'p', name_prefix => 'signing-');
         CREATE TABLE public.orders (id integer PRIMARY KEY, signature text);
         CREATE FUNCTION public.sign_order() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp
             AS $$BEGIN
                 NEW.signature := encode(sha256(convert_to(NEW.id || value, 'UTF8')), 'hex')
                     FROM control_plane.get_secret_by_name('p', 'signing-key');
                 RETURN NEW;
             END$$;
         ALTER FUNCTION public.sign_order() OWNER TO signer;
         CREATE TRIGGER sign BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.sign_order();
         GRANT INSERT, SELECT ON public.orders TO authenticated",
    )
    .await?;
    session.run("BEGIN; SET LOCAL ROLE authenticated").await?;
    session
        .rows(
            "SELECT set_config('request.jwt.claims', $1, true)",
            &[&claims("bob")],
        )
        .await?;
    session
        .run("SELECT control_plane.pre_request(); SAVEPOINT s")
        .await?;
    let refused = session
        .refused_text("SELECT control_plane.get_secret_by_name('p', 'signing-key')")
        .await;
    assert_eq!(refused.state, "PT404");
    session
        .run("ROLLBACK TO s; INSERT INTO public.orders VALUES (1)")
        .await?;
    session.run("COMMIT").await?;
    let signed: bool = sql
        .one(
            "SELECT signature = encode(sha256('1k1'), 'hex') FROM public.orders",
            &[],
        )
        .await?;
    assert!(signed);
    let actor: String = sql
        .one(
            "SELECT actor FROM control_plane.audit_logs WHERE action = 'secret.accessed'",
            &[],
        )
        .await?;
    assert_eq!(actor, "bob");
    Ok(())
}

#[tokio::test]
async fn its_users_keep_no_answers_by_themselves() -> Proof {
    let (app, session) = start().await?;
    let grant = "GRANT EXECUTE ON FUNCTION control_plane.begin_request(text, bytea),
        control_plane.end_request(text, integer, text, text, text) TO authenticated";
    app.sql().await?.run(grant).await?;
    let end = json!({"key": "a key", "status": 200});
    let claims = claims("nobody with a grant");
    let refused = rpc(
        &session,
        "authenticated",
        Some(&claims),
        "end_request",
        &end,
    )
    .await?;
    assert_eq!(refused.status, 403, "{}", refused.body);
    Ok(())
}
