//! Every function, table and view, for everybody: exactly what is allowed succeeds. What there is comes from
//! the catalogue, so that nothing is added without its rule.

use crate::access::login;
use crate::calls::{CALLS, Call};
use crate::matrix_rules::{Holder, PREFIX, Scope};
use pg_secrets_tests::{COMPANION_LOGIN, Proof, Session, TestApp, project};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The one function that answers everybody: whether he may.
const ASKED_BY_ROW_SECURITY: &str = "may_list";

/// What a grant lets a role select of, in rows that it may list: the table, its column with a version's id,
/// and whether that is all of its columns.
const SELECTABLE: [(&str, &str, bool); 2] = [
    ("secrets", "id", false),
    ("secret_consumers", "secret_id", true),
];

/// What nobody but the owner may touch.
const CLOSED: [&str; 24] = [
    "active_installations",
    "audit_chain",
    "audit_digests",
    "audit_heads",
    "audit_logs",
    "audit_progress",
    "audit_unchained",
    "consumers",
    "current_reads",
    "deliveries",
    "delivery_attempts",
    "endpoint_rows",
    "endpoints",
    "grants",
    "kept_answers",
    "key_usage",
    "outbox",
    "policies",
    "rotations",
    "secret_names",
    "summaries",
    "tokens",
    "usage_deferred",
    "versions",
];

/// What the calls are about.
struct Scene {
    project: String,
    ids: [(&'static str, Uuid); 5],
}

impl Scene {
    async fn new(sql: &Session) -> Proof<Self> {
        let project = project("matrix");
        let first: Uuid = sql
            .one(
                "SELECT id FROM control_plane.create_secret($1, $2, 'a value')",
                &[&project, &PREFIX],
            )
            .await?;
        sql.rows(
            "SELECT control_plane.register_consumer($1, 'service')",
            &[&first],
        )
        .await?;
        let current = sql
            .one(
                "SELECT id FROM control_plane.rotate_secret($1, 'a new value')",
                &[&first],
            )
            .await?;
        let deleted = sql
            .one(
                "SELECT (control_plane.delete_secret(v.id)).id
                 FROM control_plane.create_secret($1, 'name that is deleted', 'a value') AS v",
                &[&project],
            )
            .await?;
        let endpoint = sql
            .one(
                "SELECT id FROM control_plane.create_endpoint($1, 'http://192.0.2.1/', event_types => '{secret.expiring}')",
                &[&project],
            )
            .await?;
        let token = sql
            .one(
                "SELECT control_plane.token_id(control_plane.create_token('somebody'))",
                &[],
            )
            .await?;
        sql.rows(
            "SELECT control_plane.grant_project('somebody', 'read', $1)",
            &[&project],
        )
        .await?;
        let ids = [
            ("{id}", current),
            ("{g}", first),
            ("{d}", deleted),
            ("{e}", endpoint),
            ("{t}", token),
        ];
        Ok(Self { project, ids })
    }

    fn filled(&self, text: &str) -> String {
        let named = text.replace("{p}", &self.project);
        self.ids.iter().fold(named, |text, (name, id)| {
            text.replace(name, &id.to_string())
        })
    }

    /// What the call answers as text, or its SQLSTATE; nothing that it does stays.
    async fn outcome(&self, session: &Session, begin: &str, call: &Call) -> Result<String, String> {
        session.run(begin).await.expect("a transaction begins");
        let statement = format!(
            "SELECT coalesce(string_agg(v::text, ' '), '') FROM control_plane.{} AS v",
            self.filled(call.text)
        );
        let outcome = session.one::<String>(&statement, &[]).await;
        session.run("ROLLBACK").await.expect("it ends");
        outcome.map_err(|error| error.state)
    }

    /// Whether the call was answered as it should be.
    fn is_right(&self, call: &Call, holder: Holder, outcome: &Result<String, String>) -> bool {
        if !holder.may(call.permission, call.scope) {
            return outcome.as_ref().err().map(String::as_str) == Some(call.refusal(holder));
        }
        match outcome {
            Ok(text) if !call.shows.is_empty() => {
                text.contains(&self.filled(call.shows)) == holder.reaches_names()
            }
            Ok(_) => call.answer.is_empty(),
            Err(state) => state == call.answer,
        }
    }
}

#[tokio::test]
async fn every_function_is_for_exactly_those_who_may() -> Proof {
    // Its own: what an administrator may do here is about the whole database.
    let app = TestApp::start("fsync = off").await;
    let admin = app.sql().await?;
    let functions: BTreeSet<String> = admin
        .all(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'control_plane'::regnamespace",
            &[],
        )
        .await?
        .into_iter()
        .collect();
    let mut known: BTreeSet<String> = CALLS.iter().map(|c| c.function().to_owned()).collect();
    known.insert(ASKED_BY_ROW_SECURITY.to_owned());
    assert_eq!(functions, known, "the functions, and those with a rule");

    let scene = Scene::new(&admin).await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let mut wrong = Vec::new();
    for holder in Holder::all() {
        let role = login(&admin).await?;
        // Without a grant of ours the role has what Postgres itself asks for, and no more.
        admin
            .run(&format!(
                "GRANT USAGE ON SCHEMA control_plane TO {role};
                 GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO {role};
                 REVOKE EXECUTE ON FUNCTION control_plane.set_execute(text, text),
                     control_plane.store_usage(bigint, bigint) FROM {role}"
            ))
            .await?;
        holder.grant(&admin, &role, "role", &scene.project).await?;
        let session = app.cluster.connect(&role, "postgres").await?;
        let subject = format!("subject {role}");
        holder
            .grant(&admin, &subject, "subject", &scene.project)
            .await?;
        let token: String = admin
            .one("SELECT control_plane.create_token($1)", &[&subject])
            .await?;
        let begin = format!("BEGIN; SELECT control_plane.authenticate('{token}')");
        for call in CALLS {
            if call.scope == Scope::Trigger {
                continue;
            }
            let outcome = scene.outcome(&session, "BEGIN", call).await;
            if !scene.is_right(call, holder, &outcome) {
                wrong.push(format!("role, {holder:?}: {}: {outcome:?}", call.text));
            }
            let outcome = if call.function() == "pre_request" {
                // From then on it would be a session of PostgREST's.
                let own = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
                scene.outcome(&own, &begin, call).await
            } else {
                scene.outcome(&trusted, &begin, call).await
            };
            let right = match call.function() {
                // There are no claims, and there is a first authentication.
                "pre_request" => outcome.is_ok(),
                "authenticate" => outcome == Err("PT401".to_owned()),
                // Everybody's own: the subject's requests, of which none has begun.
                "begin_request" => outcome.is_ok(),
                "end_request" => outcome == Err("PT409".to_owned()),
                _ => scene.is_right(call, holder, &outcome),
            };
            if !right {
                wrong.push(format!("subject, {holder:?}: {}: {outcome:?}", call.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells: {wrong:#?}", wrong.len());
    Ok(())
}

#[tokio::test]
async fn every_table_and_view_shows_exactly_what_may_be_listed() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let admin = app.sql().await?;
    let relations: BTreeSet<String> = admin
        .all(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'control_plane'::regnamespace AND relkind NOT IN ('i', 'I', 't', 'c')",
            &[],
        )
        .await?
        .into_iter()
        .collect();
    let views: Vec<String> = admin
        .all(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'control_plane'::regnamespace AND relkind = 'v'",
            &[],
        )
        .await?;
    let selectable = SELECTABLE.map(|(name, ..)| name);
    let known = CLOSED.iter().chain(&selectable).map(|n| (*n).to_owned());
    assert_eq!(relations, known.collect(), "the relations, and the known");

    let scene = Scene::new(&admin).await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let mut wrong = Vec::new();
    for holder in Holder::all() {
        let role = login(&admin).await?;
        holder.grant(&admin, &role, "role", &scene.project).await?;
        let session = app.cluster.connect(&role, "postgres").await?;
        for relation in &relations {
            let table = format!("control_plane.{relation}");
            let column: String = admin
                .one(
                    "SELECT quote_ident(attname) FROM pg_attribute
                     WHERE attrelid = $1::text::regclass AND attnum = 1",
                    &[&table],
                )
                .await?;
            let selectable = SELECTABLE.iter().find(|(name, ..)| name == relation);
            let selectable = selectable.filter(|_| holder != Holder::Nothing);
            for statement in [
                format!("SELECT * FROM {table}"),
                format!("SELECT FROM {table} FOR UPDATE"),
                format!("INSERT INTO {table} DEFAULT VALUES"),
                format!("UPDATE {table} SET {column} = {column}"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!("COPY {table} TO STDOUT"),
            ] {
                let reads = statement.starts_with("COPY") || statement.contains('*');
                for (who, is_role) in [(&session, true), (&trusted, false)] {
                    if is_role && reads && selectable.is_some_and(|(_, _, whole)| *whole) {
                        continue;
                    }
                    let outcome = who.run(&statement).await;
                    // Some statements fail on every view, whoever sends them.
                    let states = ["42501", "55000", "42809", "0A000"];
                    let states = &states[..if views.contains(relation) { 4 } else { 1 }];
                    let state = outcome.map_err(|error| error.state);
                    if !state
                        .as_ref()
                        .is_err_and(|state| states.contains(&state.as_str()))
                    {
                        wrong.push(format!("{holder:?}: {statement}: {state:?}"));
                    }
                }
            }
            let count = format!("SELECT count(*) FROM {table}");
            let closed = selectable.is_none().then_some(&session);
            for who in closed.into_iter().chain([&trusted]) {
                let outcome = who.run(&count).await.map_err(|error| error.state);
                if outcome != Err("42501".to_owned()) {
                    wrong.push(format!("{holder:?}: {count}: {outcome:?}"));
                }
            }
            let Some((_, id, _)) = selectable else {
                continue;
            };
            let ids = scene.filled("'{g}', '{id}'");
            let count = format!("{count} WHERE {id} IN ({ids})");
            let rows: i64 = session.one(&count, &[]).await?;
            if (rows > 0) != holder.may("list", Scope::Secret) {
                wrong.push(format!("{holder:?}: {count}: {rows}"));
            }
        }
        if holder != Holder::Nothing {
            let refused = session
                .refused_text("SELECT value_encrypted FROM control_plane.secrets")
                .await;
            assert_eq!(refused.state, "42501", "{holder:?}");
        }
    }
    assert!(wrong.is_empty(), "{} cells: {wrong:#?}", wrong.len());
    Ok(())
}
