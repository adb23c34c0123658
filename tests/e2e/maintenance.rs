//! What is due is done when it is due.

use crate::durable_audit::signal;
use pg_secrets_tests::{Cluster, Key, Proof, Session, eventually};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// The worker wakes by what is due: its interval is far longer than the test.
const BY_ITSELF: &str = "fsync = off\npg_secrets.maintenance_interval = '10min'\n";

/// Nobody does anything but the test.
pub(crate) const BY_HAND: &str = "fsync = off\npg_secrets.workers = off\n";

pub(crate) async fn server(settings: &str) -> Proof<(Cluster, Session)> {
    let cluster = Cluster::start(Key::new(), settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    Ok((cluster, sql))
}

/// A secret whose first version is superseded, with so much grace; the ids of both.
pub(crate) async fn rotated(sql: &Session, name: &str, grace: &str) -> Proof<(Uuid, Uuid)> {
    let old: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', $1, 'an old value')",
            &[&name],
        )
        .await?;
    let new: Uuid = sql
        .one(
            &format!(
                "SELECT id FROM control_plane.rotate_secret($1, 'a new value', grace => '{grace}')"
            ),
            &[&old],
        )
        .await?;
    Ok((old, new))
}

pub(crate) async fn count(sql: &Session, what: &str) -> Option<i64> {
    sql.one(&format!("SELECT count(*) FROM control_plane.{what}"), &[])
        .await
        .ok()
}

pub(crate) async fn reaches(sql: &Session, what: &str, expected: i64) {
    eventually(what, || async {
        (count(sql, what).await? == expected).then_some(())
    })
    .await;
}

pub(crate) async fn erased(sql: &Session, id: Uuid) {
    eventually("the ciphertext is erased", || async {
        sql.one::<bool>(
            "SELECT value_encrypted IS NULL FROM control_plane.secrets WHERE id = $1",
            &[&id],
        )
        .await
        .ok()?
        .then_some(())
    })
    .await;
}

async fn worker(sql: &Session) -> i32 {
    eventually("the worker", || async {
        sql.one(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets maintenance'",
            &[],
        )
        .await
        .ok()
    })
    .await
}

/// How often the secrets were vacuumed by somebody's statement.
async fn vacuums(sql: &Session) -> Option<i64> {
    sql.one(
        "SELECT coalesce(sum(vacuum_count), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'secrets'",
        &[],
    )
    .await
    .ok()
}

async fn events(sql: &Session) -> Proof<Vec<String>> {
    let types = "SELECT type FROM control_plane.outbox ORDER BY id";
    Ok(sql.all(types, &[]).await?)
}

#[tokio::test]
async fn a_secret_is_warned_of_destroyed_and_purged_when_its_time_has_come() -> Proof {
    let settings = format!(
        "{BY_ITSELF}pg_secrets.grace_period = 3\npg_secrets.expiry_warning = 1\npg_secrets.purge_after = 1\n"
    );
    let (cluster, sql) = server(&settings).await?;
    let reader = cluster.sql().await?;
    let pid = worker(&sql).await;
    // It has looked once, and sleeps.
    eventually("the first vacuum", || async {
        (vacuums(&sql).await? == 1).then_some(())
    })
    .await;
    let old: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', 'n', 'an old value')",
            &[],
        )
        .await?;
    let read = "SELECT value FROM control_plane.get_secret($1)";
    reader
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    reader.rows(read, &[&old]).await?;
    sql.rows(
        "SELECT control_plane.rotate_secret($1, 'a new value')",
        &[&old],
    )
    .await?;

    // Warned of once, a second before the end and not much later.
    reaches(&sql, "outbox WHERE type = 'secret.expiring'", 1).await;
    let early: f64 = sql
        .one(
            "SELECT extract(epoch FROM expires_at - warned_at)::float8 FROM control_plane.secrets WHERE id = $1",
            &[&old],
        )
        .await?;
    assert!((0.4..=1.0).contains(&early), "{early} s before the end");

    // Whoever stops the worker stops no clock.
    signal("STOP", pid);
    let left = "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM control_plane.secrets WHERE id = $1";
    let mut last_read = f64::MAX;
    let refused = loop {
        let before: f64 = sql.one(left, &[&old]).await?;
        match sql.rows(read, &[&old]).await {
            Ok(_) => last_read = before,
            Err(refused) => break refused,
        }
    };
    let over: f64 = sql.one(left, &[&old]).await?;
    assert_eq!(refused.state, "PT410", "{refused:?}");
    assert!(over <= 0.0, "refused {over} s before the end");
    assert!(
        (0.0..0.3).contains(&last_read),
        "last read {last_read} s before the end"
    );
    let refused = reader.refused(read, &[&old]).await;
    assert_eq!(refused.state, "PT410", "{refused:?}");
    reader.run("ROLLBACK").await?;
    let there: bool = sql
        .one(
            "SELECT value_encrypted IS NOT NULL FROM control_plane.secrets WHERE id = $1",
            &[&old],
        )
        .await?;
    assert!(there, "nobody can have erased it yet");
    signal("CONT", pid);
    erased(&sql, old).await;

    // It sleeps again, until somebody has deleted something.
    tokio::time::sleep(Duration::from_millis(400)).await;
    sql.rows("SELECT control_plane.delete_secret($1)", &[&old])
        .await?;
    reaches(&sql, "secrets", 0).await;
    let version: i32 = sql
        .one(
            "SELECT version FROM control_plane.create_secret('p', 'n', 'a newer value')",
            &[],
        )
        .await?;
    assert_eq!(version, 3);
    assert_eq!(
        events(&sql).await?,
        [
            "secret.created",
            "secret.rotated",
            "secret.expiring",
            "secret.destroyed",
            "secret.deleted",
            "secret.purged",
            "secret.created"
        ]
    );
    let records: Vec<Value> = sql
        .all(
            "SELECT jsonb_build_array(action, actor, version) FROM control_plane.audit_logs
             WHERE actor = 'pg_secrets' AND name = 'n' ORDER BY id",
            &[],
        )
        .await?;
    assert_eq!(
        records,
        [
            json!(["secret.expiring", "pg_secrets", 1]),
            json!(["secret.destroyed", "pg_secrets", 1]),
            json!(["secret.purged", "pg_secrets", 2]),
        ]
    );
    let stray = count(&sql, "audit_logs WHERE action = 'audit.direct_change'").await;
    assert_eq!(stray, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_extended_is_warned_of_anew_and_a_short_grace_at_once() -> Proof {
    let settings = format!("{BY_ITSELF}pg_secrets.expiry_warning = 1h\n");
    let (_cluster, sql) = server(&settings).await?;
    let (old, _) = rotated(&sql, "n", "1 minute").await?;
    let warnings = "outbox WHERE type = 'secret.expiring'";
    reaches(&sql, warnings, 1).await;
    sql.rows("SELECT control_plane.extend_grace($1, '1 minute')", &[&old])
        .await?;
    reaches(&sql, warnings, 2).await;
    sql.rows("SELECT control_plane.extend_grace($1, '2 hours')", &[&old])
        .await?;
    let warned: Option<String> = sql
        .one(
            "SELECT warned_at::text FROM control_plane.secrets WHERE id = $1",
            &[&old],
        )
        .await?;
    assert_eq!(warned, None);
    assert_eq!(count(&sql, warnings).await, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_warning_lists_who_still_reads_the_version_and_counts_those_beyond_a_hundred() -> Proof {
    let settings = format!("{BY_HAND}pg_secrets.expiry_warning = 1h\n");
    let (_cluster, sql) = server(&settings).await?;
    let (old, new) = rotated(&sql, "few", "1 day").await?;
    let read = "SELECT control_plane.get_secret($1, $2)";
    for service in ["worker", "edge_function"] {
        sql.rows(read, &[&old, &service]).await?;
    }
    sql.rows(read, &[&new, &"worker"]).await?;
    let (many, _) = rotated(&sql, "many", "1 day").await?;
    for number in 0..130 {
        let service = format!("service-{number:03}");
        sql.rows(read, &[&many, &service]).await?;
    }
    reaches(&sql, "secret_consumers WHERE last_used_at IS NOT NULL", 133).await;
    let nothing: Value = maintenance(&sql).await?;
    assert_eq!(nothing, json!([0, 0, 0]));
    for id in [old, many] {
        sql.rows(
            "UPDATE control_plane.secrets SET expires_at = clock_timestamp() + '59 min' WHERE id = $1",
            &[&id],
        )
        .await?;
    }
    let both: Value = maintenance(&sql).await?;
    assert_eq!(both, json!([2, 0, 0]));
    let data: Vec<Value> = sql
        .all(
            "SELECT body::jsonb->'data' FROM control_plane.outbox WHERE type = 'secret.expiring' ORDER BY name",
            &[],
        )
        .await?;
    assert_eq!(data[0]["secret_id"], json!(old));
    assert_eq!(data[0]["version"], json!(1));
    assert_eq!(data[0]["stragglers"], json!(["edge_function"]));
    assert_eq!(data[0]["straggler_count"], json!(1));
    assert_eq!(data[1]["stragglers"].as_array().map(Vec::len), Some(100));
    assert_eq!(data[1]["straggler_count"], json!(130));
    let ends: bool = sql
        .one(
            "SELECT bool_and((body::jsonb->'data'->>'expires_at')::timestamptz = s.expires_at)
             FROM control_plane.outbox AS o JOIN control_plane.secrets AS s ON s.id = o.secret_id
             WHERE o.type = 'secret.expiring'",
            &[],
        )
        .await?;
    assert!(ends);
    Ok(())
}

/// One call of run_maintenance(): what it warned of, destroyed and purged.
pub(crate) async fn maintenance(sql: &Session) -> Proof<Value> {
    Ok(sql
        .one(
            "SELECT jsonb_build_array(warned, destroyed, purged) FROM control_plane.run_maintenance()",
            &[],
        )
        .await?)
}

#[tokio::test]
async fn what_came_due_while_the_server_was_down_is_done_at_its_start() -> Proof {
    let settings =
        format!("{BY_ITSELF}pg_secrets.purge_after = 1\npg_secrets.expiry_warning = 1\n");
    let (mut cluster, sql) = server(&settings).await?;
    let (old, _) = rotated(&sql, "n", "1500 milliseconds").await?;
    let (_, deleted) = rotated(&sql, "deleted", "1 day").await?;
    sql.rows("SELECT control_plane.delete_secret($1)", &[&deleted])
        .await?;
    drop(sql);
    cluster.kill9();
    tokio::time::sleep(Duration::from_millis(1600)).await;
    cluster.resume();
    let sql = cluster.sql().await?;
    erased(&sql, old).await;
    reaches(&sql, "secrets WHERE name = 'deleted'", 0).await;
    // There was nobody to warn any more.
    assert_eq!(
        events(&sql)
            .await?
            .iter()
            .filter(|kind| *kind == "secret.expiring")
            .count(),
        0
    );
    Ok(())
}

#[tokio::test]
async fn what_is_erased_is_vacuumed_once_nobody_looks_at_it_any_more() -> Proof {
    let settings = "fsync = off\nautovacuum = off\npg_secrets.maintenance_interval = 1\n";
    let (cluster, sql) = server(settings).await?;
    // Once at the start: nobody knows what an earlier one has left.
    eventually("the first one", || async {
        (vacuums(&sql).await? == 1).then_some(())
    })
    .await;
    let watcher = cluster.sql().await?;
    watcher
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    let (old, _) = rotated(&sql, "n", "1 millisecond").await?;
    erased(&sql, old).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(vacuums(&sql).await, Some(1), "for nothing");
    watcher.run("COMMIT").await?;
    eventually("the second one", || async {
        (vacuums(&sql).await? == 2).then_some(())
    })
    .await;
    // Nor again and again.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(vacuums(&sql).await, Some(2));
    // Also after what no sweep has erased.
    rotated(&sql, "leaked", "0").await?;
    eventually("the third one", || async {
        (vacuums(&sql).await? == 3).then_some(())
    })
    .await;
    assert!(!cluster.log().contains("maintenance:"), "{}", cluster.log());
    Ok(())
}
