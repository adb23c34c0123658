//! Clients that create, rotate, delete and re-create the same few names, half of them over REST,
//! half by SQL.

use crate::duration;
use pg_secrets_tests::{Api, Proof, Session, TestApp};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::task::JoinSet;

const CLIENTS: u64 = 16;
const NAMES: u64 = 10;
const PROJECT: &str = "churn";

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
        let documented: &[u16] = match *operation {
            "create" => &[201, 409],
            "rotate" => &[201, 404, 409],
            "delete" => &[200, 404],
            _ => &[200, 404, 410],
        };
        assert!(
            documented.contains(status),
            "{operation} {status} ({count} times)"
        );
    }
    let count = |operation, status| outcomes.get(&(operation, status)).copied().unwrap_or(0);
    let created = count("create", 201);
    let rotated = count("rotate", 201);
    let deleted = count("delete", 200);
    for (what, number) in [
        ("create", created),
        ("rotate", rotated),
        ("delete", deleted),
    ] {
        assert!(
            number > 20,
            "too few to prove anything: {what}: {outcomes:?}"
        );
    }

    let sql = app.sql().await?;
    let gaps: Vec<String> = sql
        .all(
            "SELECT n.name FROM control_plane.secret_names AS n
             LEFT JOIN control_plane.secrets AS s USING (project_id, name)
             GROUP BY n.name, n.last_version
             HAVING array_agg(s.version ORDER BY s.version)
                 IS DISTINCT FROM ARRAY(SELECT generate_series(1, n.last_version))",
            &[],
        )
        .await?;
    assert!(gaps.is_empty(), "numbers used twice, or lost: {gaps:?}");
    let twice: i64 = sql
        .one(
            "SELECT count(*) FROM (SELECT FROM control_plane.secrets
             WHERE active AND deleted_at IS NULL GROUP BY name HAVING count(*) > 1) AS doubled",
            &[],
        )
        .await?;
    assert_eq!(twice, 0, "names with two current versions");
    for (kind, expected) in [
        ("secret.created", created),
        ("secret.rotated", rotated),
        ("secret.deleted", deleted),
    ] {
        let audited: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.audit_logs WHERE action = $1",
                &[&kind],
            )
            .await?;
        assert_eq!(audited, expected, "audit rows {kind}");
        let events: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.outbox WHERE type = $1",
                &[&kind],
            )
            .await?;
        assert_eq!(events, expected, "events {kind}");
    }
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
        let operation = [
            "create", "create", "rotate", "rotate", "rotate", "delete", "read", "old",
        ][usize::try_from(draw(8))?];
        let grace = if draw(4) == 0 { 0 } else { 60 };
        let status = match &client {
            Client::Rest(api) => rest(api, operation, &name, grace).await?,
            Client::Sql(sql) => by_sql(sql, operation, &name, grace).await?,
        };
        *outcomes.entry((operation, status)).or_default() += 1;
    }
    Ok(outcomes)
}

async fn rest(api: &Api, operation: &str, name: &str, grace: i64) -> anyhow::Result<u16> {
    if operation == "create" {
        let body = json!({"project_id": PROJECT, "name": name, "value": "a value"});
        return Ok(api.post("/api/secrets", body).await?.status);
    }
    let by_name = format!("/api/projects/{PROJECT}/secrets/{name}");
    let current = api.get(&by_name).await?;
    if operation == "read" || current.status != 200 {
        return Ok(current.status);
    }
    let path = format!("/api/secrets/{}", current.id());
    let answer = match operation {
        "rotate" => {
            let body = json!({"value": "another value", "grace": grace});
            api.post(&format!("{path}/rotate"), body).await?
        }
        "delete" => api.delete(&path).await?,
        _ => api.get(&format!("{path}/versions/1")).await?,
    };
    Ok(answer.status)
}

async fn by_sql(sql: &Session, operation: &str, name: &str, grace: i64) -> anyhow::Result<u16> {
    let id = "control_plane.secret_id($1, $2)";
    let outcome = match operation {
        "create" => {
            sql.rows(
                "SELECT control_plane.create_secret($1, $2, 'a value')",
                &[&PROJECT, &name],
            )
            .await
        }
        "rotate" => {
            let statement = format!(
                "SELECT control_plane.rotate_secret({id}, 'another value', grace => make_interval(secs => $3))"
            );
            sql.rows(&statement, &[&PROJECT, &name, &(grace as f64)])
                .await
        }
        "delete" => {
            sql.rows(
                &format!("SELECT control_plane.delete_secret({id})"),
                &[&PROJECT, &name],
            )
            .await
        }
        "read" => {
            sql.rows(
                "SELECT control_plane.get_secret_by_name($1, $2)",
                &[&PROJECT, &name],
            )
            .await
        }
        _ => {
            sql.rows(
                "SELECT control_plane.get_secret_by_name($1, $2, 1)",
                &[&PROJECT, &name],
            )
            .await
        }
    };
    let success = match operation {
        "create" | "rotate" => 201,
        _ => 200,
    };
    match outcome {
        Ok(_) => Ok(success),
        Err(error) => match error.state.strip_prefix("PT") {
            Some(status) => Ok(status.parse()?),
            None => anyhow::bail!("{operation}: {error:?}"),
        },
    }
}
