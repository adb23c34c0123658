//! Clients that create, rotate, roll back, destroy, delete, restore, purge and re-create the same few
//! names, half of them over REST, half by SQL.

use crate::duration;
use pg_secrets_tests::{Api, Proof, Session, TestApp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::task::JoinSet;

const CLIENTS: u64 = 16;
const NAMES: u64 = 10;
const PROJECT: &str = "churn";

/// What a client does, as often as it stands here, and how each may end.
const OPERATIONS: [(&str, &[u16]); 18] = [
    ("create", &[201, 409]),
    ("create", &[201, 409]),
    ("rotate", &[201, 404, 409]),
    ("rotate", &[201, 404, 409]),
    ("rotate", &[201, 404, 409]),
    ("rollback", &[201, 404, 409, 410]),
    ("rollback", &[201, 404, 409, 410]),
    ("extend", &[200, 404, 409, 410]),
    ("end", &[200, 404, 409, 410]),
    ("end", &[200, 404, 409, 410]),
    ("delete", &[200, 404]),
    ("restore", &[200, 404, 409]),
    ("restore", &[200, 404, 409]),
    ("purge", &[200, 404, 409]),
    ("unregister", &[204, 404]),
    ("read", &[200, 404, 410]),
    ("read", &[200, 404, 410]),
    ("old", &[200, 404, 410]),
];

/// How often which operation ended with which status.
type Outcomes = BTreeMap<(&'static str, u16), i64>;

#[derive(Debug)]
enum Client {
    Rest(Api),
    Sql(Session),
}

#[tokio::test]
async fn sixteen_clients_on_ten_names_break_no_rule() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let until = Instant::now() + duration(10, 60);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = match number % 2 {
            0 => Client::Rest(app.api()),
            _ => Client::Sql(app.sql().await?),
        };
        clients.spawn(run(client, number, until));
    }
    let mut outcomes = Outcomes::new();
    for one in clients.join_all().await {
        for (outcome, count) in one? {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    for ((operation, status), count) in &outcomes {
        let documented = OPERATIONS.iter().find(|(name, _)| name == operation);
        assert!(
            documented.is_some_and(|(_, documented)| documented.contains(status)),
            "{operation} {status} ({count} times)"
        );
    }
    let succeeded = |operation: &str| -> i64 {
        let all = outcomes.iter();
        all.filter(|((name, status), _)| *name == operation && *status < 300)
            .map(|(_, count)| count)
            .sum()
    };
    // The first version of a name is soon gone.
    for (operation, _) in OPERATIONS.iter().filter(|(name, _)| *name != "old") {
        assert!(
            succeeded(operation) > 10,
            "too few to prove anything: {operation}: {outcomes:?}"
        );
    }

    let sql = app.sql().await?;
    nothing_is_broken(&sql).await?;
    for (action, kind, expected) in [
        ("secret.created", "secret.created", succeeded("create")),
        ("secret.deleted", "secret.deleted", succeeded("delete")),
        ("secret.restored", "secret.restored", succeeded("restore")),
        ("secret.purged", "secret.purged", succeeded("purge")),
    ] {
        assert_eq!(recorded(&sql, action).await?, expected, "records {action}");
        assert_eq!(told(&sql, kind).await?, expected, "events {kind}");
    }
    for (action, expected) in [
        ("secret.rotated", succeeded("rotate")),
        ("secret.rolled_back", succeeded("rollback")),
        ("secret.grace_extended", succeeded("extend")),
        ("consumer.unregistered", succeeded("unregister")),
    ] {
        assert_eq!(recorded(&sql, action).await?, expected, "records {action}");
    }
    assert_eq!(
        told(&sql, "secret.rotated").await?,
        succeeded("rotate") + succeeded("rollback")
    );
    // By end_grace, and by rotations with a grace of nothing.
    let destroyed = recorded(&sql, "secret.destroyed").await?;
    assert!(destroyed >= succeeded("end"));
    assert_eq!(told(&sql, "secret.destroyed").await?, destroyed);
    let stray: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.direct_change'",
            &[],
        )
        .await?;
    assert_eq!(stray, 0, "changes past the functions");
    let log = app.cluster.log();
    assert!(!log.contains("deadlock detected"), "{log}");
    Ok(())
}

async fn recorded(sql: &Session, action: &str) -> Proof<i64> {
    let statement = "SELECT count(*) FROM control_plane.audit_logs WHERE action = $1";
    Ok(sql.one(statement, &[&action]).await?)
}

async fn told(sql: &Session, kind: &str) -> Proof<i64> {
    let statement = "SELECT count(*) FROM control_plane.outbox WHERE type = $1";
    Ok(sql.one(statement, &[&kind]).await?)
}

/// What must hold at any time. Each query finds what breaks a rule.
async fn nothing_is_broken(sql: &Session) -> Proof {
    for (rule, query) in [
        (
            "no number is used twice or lost, purged ones included",
            "SELECT n.name FROM control_plane.secret_names AS n
             LEFT JOIN control_plane.audit_logs AS a ON a.name = n.name
                 AND a.action IN ('secret.created', 'secret.rotated', 'secret.rolled_back')
             GROUP BY n.name, n.last_version
             HAVING array_agg(a.version ORDER BY a.version)
                 IS DISTINCT FROM ARRAY(SELECT generate_series(1, n.last_version))",
        ),
        (
            "a name has one current version at most",
            "SELECT name FROM control_plane.secrets
             WHERE active AND deleted_at IS NULL GROUP BY name HAVING count(*) > 1",
        ),
        (
            "a secret has one version that is or was current, and is deleted as a whole",
            "SELECT chain_id::text FROM control_plane.secrets GROUP BY chain_id
             HAVING count(*) FILTER (WHERE active) <> 1 OR count(deleted_at) NOT IN (0, count(*))",
        ),
        (
            "what was destroyed once never comes back",
            "SELECT s.id::text FROM control_plane.secrets AS s
             JOIN control_plane.audit_logs AS a ON a.secret_id = s.id AND a.action = 'secret.destroyed'
             WHERE s.destroyed_at IS NULL OR s.value_encrypted IS NOT NULL",
        ),
        (
            "a version is destroyed once",
            "SELECT secret_id::text FROM control_plane.audit_logs WHERE action = 'secret.destroyed'
             GROUP BY secret_id HAVING count(*) > 1",
        ),
        (
            "what was destroyed was told of",
            "SELECT s.id::text FROM control_plane.secrets AS s WHERE s.destroyed_at IS NOT NULL
             AND NOT EXISTS (SELECT FROM control_plane.outbox AS o
                 WHERE o.secret_id = s.id AND o.type = 'secret.destroyed')",
        ),
        (
            "what was purged never comes back",
            "SELECT s.id::text FROM control_plane.secrets AS s
             JOIN control_plane.audit_logs AS a ON a.secret_id = s.id AND a.action = 'secret.purged'",
        ),
    ] {
        let broken: Vec<String> = sql.all(query, &[]).await?;
        assert!(broken.is_empty(), "{rule}: {broken:?}");
    }
    Ok(())
}

async fn run(client: Client, seed: u64, until: Instant) -> anyhow::Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    let mut random = seed + 1;
    let mut draw = |below: u64| {
        // A linear congruential generator: the same choices in every run.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    while Instant::now() < until {
        let name = format!("name-{}", draw(NAMES));
        let number = usize::try_from(draw(OPERATIONS.len() as u64))?;
        let (operation, _) = OPERATIONS[number];
        let grace = if draw(4) == 0 { 0 } else { 60 };
        let status = match &client {
            Client::Rest(api) => rest(api, operation, &name, grace).await?,
            Client::Sql(sql) => by_sql(sql, operation, &name, grace).await?,
        };
        *outcomes.entry((operation, status)).or_default() += 1;
    }
    Ok(outcomes)
}

/// The id of a deleted secret of this name.
async fn deleted(api: &Api, name: &str) -> anyhow::Result<Option<String>> {
    let path = format!("/api/secrets?project_id={PROJECT}&name={name}&state=deleted");
    let listed = api.get(&path).await?.expect(200)?;
    Ok(listed.body["secrets"][0]["id"].as_str().map(str::to_owned))
}

/// The id and number of the youngest version that is not current.
async fn superseded(api: &Api, id: &str) -> anyhow::Result<Option<(String, i64)>> {
    let versions = api.get(&format!("/api/secrets/{id}/versions")).await?;
    let one = &versions.body["versions"][1];
    Ok(one["id"]
        .as_str()
        .map(|id| (id.to_owned(), one["version"].as_i64().unwrap_or_default())))
}

async fn rest(api: &Api, operation: &str, name: &str, grace: i64) -> anyhow::Result<u16> {
    if operation == "create" {
        let body = json!({"project_id": PROJECT, "name": name, "value": "a value"});
        return Ok(api.post("/api/secrets", body).await?.status);
    }
    if operation == "restore" || operation == "purge" {
        let Some(id) = deleted(api, name).await? else {
            return Ok(404);
        };
        let path = format!("/api/secrets/{id}/{operation}");
        return Ok(api.post(&path, json!({})).await?.status);
    }
    let by_name = format!("/api/projects/{PROJECT}/secrets/{name}");
    let current = api.get_as("reader", &by_name).await?;
    if operation == "read" || current.status != 200 {
        return Ok(current.status);
    }
    let path = format!("/api/secrets/{}", current.id());
    let older = superseded(api, current.id()).await?;
    let of_older = |verb: &str| {
        let older = older.as_ref().map_or(current.id(), |(id, _)| id);
        format!("/api/secrets/{older}/{verb}")
    };
    let post = |path: String, body: Value| async move { api.post(&path, body).await };
    let answer = match operation {
        "rotate" => {
            let body = json!({"value": "another value", "grace": grace});
            post(format!("{path}/rotate"), body).await?
        }
        "rollback" => {
            let to = older.as_ref().map_or(1, |(_, number)| *number);
            post(format!("{path}/rollback"), json!({"to_version": to})).await?
        }
        "extend" => post(of_older("extend-grace"), json!({"by": 60})).await?,
        "end" => post(of_older("end-grace"), json!({})).await?,
        "delete" => api.delete(&path).await?,
        "unregister" => api.delete(&format!("{path}/consumers/reader")).await?,
        _ => api.get(&format!("{path}/versions/1")).await?,
    };
    Ok(answer.status)
}

async fn by_sql(sql: &Session, operation: &str, name: &str, grace: i64) -> anyhow::Result<u16> {
    let id = "control_plane.secret_id($1, $2)";
    let deleted =
        "(SELECT id FROM control_plane.list_secrets($1, 'deleted') WHERE name = $2 LIMIT 1)";
    let older = format!(
        "(SELECT id FROM control_plane.secret_versions({id}) ORDER BY active, version DESC LIMIT 1)"
    );
    let call = match operation {
        "create" => "create_secret($1, $2, 'a value')".to_owned(),
        "rotate" => format!("rotate_secret({id}, 'another value', grace => '{grace} seconds')"),
        "rollback" => format!(
            "rollback_secret({id}, (SELECT version FROM control_plane.secret_versions({id}) ORDER BY active, version DESC LIMIT 1))"
        ),
        "extend" => format!("extend_grace({older}, '1 minute')"),
        "end" => format!("end_grace({older})"),
        "delete" => format!("delete_secret({id})"),
        "restore" => format!("restore_secret({deleted})"),
        "purge" => format!("purge_secret({deleted})"),
        "unregister" => format!("unregister_consumer({id}, 'reader')"),
        "read" => "get_secret_by_name($1, $2, service => 'reader')".to_owned(),
        _ => "get_secret_by_name($1, $2, 1)".to_owned(),
    };
    let statement = format!("SELECT control_plane.{call}");
    let success = match operation {
        "create" | "rotate" | "rollback" => 201,
        "unregister" => 204,
        _ => 200,
    };
    match sql.rows(&statement, &[&PROJECT, &name]).await {
        Ok(_) => Ok(success),
        // There was none to restore or purge.
        Err(error) if error.message == "secret_id must not be null" => Ok(404),
        Err(error) => match error.state.strip_prefix("PT") {
            Some(status) => Ok(status.parse()?),
            None => anyhow::bail!("{operation}: {error:?}"),
        },
    }
}
