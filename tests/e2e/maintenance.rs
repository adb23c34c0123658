//! What is due is done when it is due, once, whoever does it and whatever fails.

use crate::durable_audit::signal;
use pg_secrets_tests::{Cluster, Key, Proof, Session, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The worker wakes by what is due: its interval is far longer than the test.
const BY_ITSELF: &str = "fsync = off\npg_secrets.maintenance_interval = '10min'\n";

/// Nobody does anything but the test.
const BY_HAND: &str = "fsync = off\npg_secrets.workers = off\n";

async fn server(settings: &str) -> Proof<(Cluster, Session)> {
    let cluster = Cluster::start(Key::new(), settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    Ok((cluster, sql))
}

/// A secret whose first version is superseded, with so much grace; the ids of both.
async fn rotated(sql: &Session, name: &str, grace: &str) -> Proof<(Uuid, Uuid)> {
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

async fn count(sql: &Session, what: &str) -> Option<i64> {
    sql.one(&format!("SELECT count(*) FROM control_plane.{what}"), &[])
        .await
        .ok()
}

async fn reaches(sql: &Session, what: &str, expected: i64) {
    eventually(what, || async {
        (count(sql, what).await? == expected).then_some(())
    })
    .await;
}

async fn erased(sql: &Session, id: Uuid) {
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
async fn maintenance(sql: &Session) -> Proof<Value> {
    Ok(sql
        .one(
            "SELECT jsonb_build_array(warned, destroyed, purged) FROM control_plane.run_maintenance()",
            &[],
        )
        .await?)
}

#[tokio::test]
async fn calls_at_once_do_each_thing_once() -> Proof {
    let settings = format!("{BY_HAND}pg_secrets.purge_after = 0\npg_secrets.expiry_warning = 1h\n");
    let (cluster, sql) = server(&settings).await?;
    for number in 0..40 {
        rotated(&sql, &format!("expiring {number}"), "1 minute").await?;
        rotated(&sql, &format!("expired {number}"), "1 millisecond").await?;
        let (old, _) = rotated(&sql, &format!("deleted {number}"), "0").await?;
        sql.rows("SELECT control_plane.delete_secret($1)", &[&old])
            .await?;
    }
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let sql = cluster.sql().await?;
        calls.spawn(async move {
            let mut done = [0; 3];
            // Once more than needed: what another one held is left to whoever comes later.
            for _ in 0..3 {
                let counts = maintenance(&sql)
                    .await
                    .map_err(|failure| format!("{failure:?}"))?;
                for (sum, count) in done.iter_mut().zip(counts.as_array().into_iter().flatten()) {
                    *sum += count.as_i64().unwrap_or_default();
                }
            }
            Ok::<_, String>(done)
        });
    }
    let mut done = [0; 3];
    for counts in calls.join_all().await {
        for (sum, count) in done.iter_mut().zip(counts.expect("a call that succeeds")) {
            *sum += count;
        }
    }
    assert_eq!(done, [40, 40, 40]);
    // Those destroyed by their rotation count as well.
    for (kind, expected) in [
        ("secret.expiring", 40),
        ("secret.destroyed", 80),
        ("secret.purged", 40),
    ] {
        let told = count(&sql, &format!("outbox WHERE type = '{kind}'")).await;
        assert_eq!(told, Some(expected), "{kind}");
        let recorded = count(&sql, &format!("audit_logs WHERE action = '{kind}'")).await;
        assert_eq!(recorded, Some(expected), "{kind}");
    }
    assert_eq!(
        count(&sql, "secret_names").await,
        Some(120),
        "names are for ever"
    );
    Ok(())
}

#[tokio::test]
async fn what_somebody_is_changing_is_left_until_later() -> Proof {
    let (cluster, sql) = server(BY_HAND).await?;
    let (held, _) = rotated(&sql, "held", "1 millisecond").await?;
    rotated(&sql, "free", "1 millisecond").await?;
    let holder = cluster.sql().await?;
    holder.run("BEGIN").await?;
    holder
        .rows(
            "SELECT control_plane.register_consumer($1, 'svc')",
            &[&held],
        )
        .await?;
    let asked = Instant::now();
    assert_eq!(maintenance(&sql).await?, json!([0, 1, 0]));
    assert!(asked.elapsed() < Duration::from_secs(2));
    holder.run("COMMIT").await?;
    assert_eq!(maintenance(&sql).await?, json!([0, 1, 0]));
    Ok(())
}

#[tokio::test]
async fn one_secret_that_fails_stops_nothing_and_is_told_of_once() -> Proof {
    let settings = "fsync = off\npg_secrets.maintenance_interval = 1\npg_secrets.purge_after = 0\n";
    let (cluster, sql) = server(settings).await?;
    sql.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
         CREATE TABLE refers (id uuid REFERENCES control_plane.secrets (id));",
    )
    .await?;
    let (bad, _) = rotated(&sql, "bad 1", "1 hour").await?;
    sql.run(&format!(
        "CREATE TRIGGER refuse BEFORE UPDATE ON control_plane.secrets FOR EACH ROW
         WHEN (OLD.id = '{bad}' AND NEW.destroyed_at IS NOT NULL) EXECUTE FUNCTION refuse()"
    ))
    .await?;
    sql.rows(
        "UPDATE control_plane.secrets SET expires_at = clock_timestamp() WHERE id = $1",
        &[&bad],
    )
    .await?;
    let (kept, _) = rotated(&sql, "bad 2", "0").await?;
    sql.rows("INSERT INTO refers VALUES ($1)", &[&kept]).await?;
    for name in ["bad 2", "good 2"] {
        if name == "good 2" {
            rotated(&sql, name, "0").await?;
        }
        sql.rows(
            "SELECT control_plane.delete_secret(control_plane.secret_id('p', $1))",
            &[&name],
        )
        .await?;
    }
    let (good, _) = rotated(&sql, "good 1", "1 millisecond").await?;
    erased(&sql, good).await;
    reaches(&sql, "outbox WHERE type = 'secret.purged'", 1).await;

    let lines = |wanted: &str| {
        let log = cluster.log();
        log.lines().filter(|line| line.contains(wanted)).count()
    };
    // Several rounds: each is looked at every second.
    eventually("the log", || async {
        (lines("not this one") > 0 && lines("refers_id_fkey") > 0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(lines("not this one"), 1, "{}", cluster.log());
    assert_eq!(lines("refers_id_fkey"), 1, "{}", cluster.log());
    assert!(
        lines(&format!(
            "pg_secrets: destroying version {bad}: not this one"
        )) == 1
    );
    let destroyed = format!("audit_logs WHERE secret_id = '{bad}' AND action = 'secret.destroyed'");
    assert_eq!(count(&sql, &destroyed).await, Some(0));

    // By hand it is said to the caller, and the rest is done.
    rotated(&sql, "good 3", "1 millisecond").await?;
    maintenance(&sql).await?;
    sql.run("DROP TRIGGER refuse ON control_plane.secrets; DROP TABLE refers")
        .await?;
    erased(&sql, bad).await;
    reaches(&sql, "outbox WHERE type = 'secret.purged'", 2).await;
    eventually("the log", || async {
        (lines("works again") == 2).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_cancelled_ends_and_keeps_nothing() -> Proof {
    let (cluster, sql) = server(BY_HAND).await?;
    let (locked, _) = rotated(&sql, "locked", "1 millisecond").await?;
    rotated(&sql, "free", "1 millisecond").await?;
    let holder = cluster.sql().await?;
    holder.run("BEGIN").await?;
    holder
        .rows(
            "SELECT 1 FROM control_plane.secrets WHERE id = $1 FOR UPDATE",
            &[&locked],
        )
        .await?;
    let refused = sql
        .refused_text("SET statement_timeout = '300ms'; SELECT control_plane.run_maintenance()")
        .await;
    assert_eq!(refused.state, "57014", "{refused:?}");
    assert_eq!(
        count(&sql, "secrets WHERE destroyed_at IS NOT NULL").await,
        Some(0)
    );
    sql.run("SET statement_timeout = 0; SET lock_timeout = '100ms'")
        .await?;
    assert_eq!(maintenance(&sql).await?, json!([0, 1, 0]));
    holder.run("ROLLBACK").await?;
    let refused = sql
        .refused_text("BEGIN READ ONLY; SELECT control_plane.run_maintenance()")
        .await;
    assert_eq!(refused.state, "25006", "{refused:?}");
    sql.run("ROLLBACK").await?;
    assert_eq!(maintenance(&sql).await?, json!([0, 1, 0]));
    Ok(())
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
