//! What is due is done once, whoever does it at the same time and whatever fails.

use crate::maintenance::{BY_HAND, count, erased, maintenance, reaches, rotated, server};
use pg_secrets_tests::{Proof, eventually};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

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
