//! No value without its record: whatever the reader does afterwards, whatever goes wrong meanwhile.

use pg_secrets_tests::{Cluster, Key, Proof, Session, TestApp, eventually};
use std::time::Duration;
use uuid::Uuid;

pub(crate) async fn start(settings: &str) -> Proof<(Cluster, Session, Uuid)> {
    let cluster = Cluster::start(Key::new(), settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let id = sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', 'n', 'a value')",
            &[],
        )
        .await?;
    Ok((cluster, sql, id))
}

pub(crate) async fn count(sql: &Session, action: &str, outcome: &str) -> Proof<i64> {
    let count: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = $1 AND outcome = $2",
            &[&action, &outcome],
        )
        .await?;
    Ok(count)
}

/// The process id of the audit worker.
pub(crate) async fn auditor(sql: &Session) -> i32 {
    eventually("the audit worker", || async {
        let statement =
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets auditor'";
        sql.one(statement, &[]).await.ok()
    })
    .await
}

pub(crate) fn signal(name: &str, pid: i32) {
    let sent = std::process::Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
}

#[tokio::test]
async fn a_read_that_is_rolled_back_leaves_its_record() -> Proof {
    let (_cluster, sql, id) = start("").await?;
    for (setting, reads) in [
        ("SET synchronous_commit = on", 1),
        ("SET synchronous_commit = off", 2),
        ("SET default_transaction_isolation = 'serializable'", 3),
        ("SET default_transaction_read_only = on", 4),
    ] {
        sql.run(setting).await?;
        sql.run(&format!(
            "BEGIN; SELECT control_plane.get_secret('{id}'); ROLLBACK"
        ))
        .await?;
        assert_eq!(
            count(&sql, "secret.accessed", "success").await?,
            reads,
            "{setting}"
        );
    }
    // Nor do the settings of a database or a role reach the worker.
    sql.run("SET default_transaction_read_only = off").await?;
    sql.run(
        "ALTER DATABASE postgres SET synchronous_commit = off;
         ALTER DATABASE postgres SET default_transaction_read_only = on;
         ALTER ROLE postgres SET lock_timeout = '1ms';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_secrets auditor'",
    )
    .await?;
    let forced = auditor(&sql).await;
    assert!(forced > 0);
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    assert_eq!(count(&sql, "secret.accessed", "success").await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_read_that_is_refused_is_recorded_as_durably() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    for name in ["hidden", "gone", "deleted", "one", "two"] {
        sql.rows(
            "SELECT control_plane.create_secret('p', $1, 'value of the ' || $1)",
            &[&name],
        )
        .await?;
    }
    let id = |name: &'static str| {
        let sql = &sql;
        async move {
            sql.one::<Uuid>(
                "SELECT id FROM control_plane.secrets WHERE name = $1 AND version = 1",
                &[&name],
            )
            .await
        }
    };
    let (hidden, gone, deleted) = (id("hidden").await?, id("gone").await?, id("deleted").await?);
    sql.rows(
        "SELECT control_plane.rotate_secret($1, 'x', grace => '0')",
        &[&gone],
    )
    .await?;
    sql.rows("SELECT control_plane.delete_secret($1)", &[&deleted])
        .await?;
    sql.run(
        "UPDATE control_plane.secrets AS s SET value_encrypted = o.value_encrypted
         FROM control_plane.secrets AS o WHERE (s.name, o.name) IN (('one', 'two'), ('two', 'one'));
         CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA control_plane TO stranger;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO stranger",
    )
    .await?;
    let stranger = app.cluster.connect("stranger", "postgres").await?;
    let long = "x".repeat(10_000);
    let forged = format!("forged\n2026-11-25 success {long}");
    for (session, call, state, named) in [
        (
            &stranger,
            format!("get_secret('{hidden}', 'svc')"),
            "PT404",
            "hidden",
        ),
        (
            &stranger,
            "get_secret_by_name('p', 'hidden')".to_owned(),
            "PT404",
            "hidden",
        ),
        (&stranger, "get_secrets('p')".to_owned(), "PT403", ""),
        (&sql, format!("get_secret('{gone}')"), "PT410", "gone"),
        (&sql, format!("get_secret('{deleted}')"), "PT404", "deleted"),
        (
            &sql,
            "get_secret_by_name('p', 'one')".to_owned(),
            "PT422",
            "one",
        ),
        (
            &sql,
            "get_secret_by_name('p', 'nowhere')".to_owned(),
            "PT404",
            "nowhere",
        ),
        (
            &sql,
            format!("get_secret_by_name('p', '{forged}')"),
            "PT404",
            "forged\u{fffd}",
        ),
    ] {
        let before = count(&sql, "secret.access_denied", "denied").await?;
        session.run("BEGIN").await?;
        let refused = session
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        session.run("ROLLBACK").await?;
        assert_eq!(refused.state, state, "{call}: {refused:?}");
        let after = count(&sql, "secret.access_denied", "denied").await?;
        assert_eq!(after, before + 1, "{call}");
        let last = sql
            .rows(
                "SELECT coalesce(name, ''), actor, detail->>'sqlstate', octet_length(a::text)
                 FROM control_plane.audit_logs AS a WHERE action = 'secret.access_denied' ORDER BY id DESC LIMIT 1",
                &[],
            )
            .await?;
        let (name, actor): (&str, &str) = (last[0].get(0), last[0].get(1));
        assert!(name.starts_with(named), "{call}: {name}");
        assert!(
            !name.contains('\n') && name.chars().count() <= 255,
            "{call}"
        );
        assert_eq!(
            actor == "stranger",
            std::ptr::eq(session, &stranger),
            "{call}"
        );
        let stated: &str = last[0].get(2);
        assert_eq!(stated, state, "{call}");
        let size: i32 = last[0].get(3);
        assert!(size < 3000, "{call}: {size}");
    }
    Ok(())
}

async fn workers(sql: &Session, kind: &str) -> Proof<Vec<i32>> {
    let pids: Vec<i32> = sql
        .all(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets ' || $1",
            &[&kind],
        )
        .await?;
    Ok(pids)
}

#[tokio::test]
async fn whatever_is_ended_comes_back_and_there_is_one_of_each() -> Proof {
    let (_cluster, sql, id) = start("").await?;
    let first = auditor(&sql).await;
    let launcher = workers(&sql, "launcher").await?[0];
    // Cancelled it goes on; terminated it comes back, beside the workers that it had started.
    sql.rows("SELECT pg_cancel_backend($1)", &[&launcher])
        .await?;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    assert_eq!(workers(&sql, "launcher").await?, [launcher]);
    sql.rows("SELECT pg_terminate_backend($1)", &[&launcher])
        .await?;
    eventually("another launcher", || async {
        let now = workers(&sql, "launcher").await.ok()?;
        (now.len() == 1 && now != [launcher]).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(workers(&sql, "auditor").await?, [first]);
    assert_eq!(workers(&sql, "notifier").await?.len(), 1);
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    // And what it has not started itself it replaces too.
    sql.rows("SELECT pg_terminate_backend($1)", &[&first])
        .await?;
    eventually("another auditor", || async {
        let now = workers(&sql, "auditor").await.ok()?;
        (now.len() == 1 && now != [first]).then_some(())
    })
    .await;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    assert_eq!(count(&sql, "secret.accessed", "success").await?, 3);
    Ok(())
}

#[tokio::test]
async fn nothing_that_hangs_on_the_table_keeps_a_record_from_it() -> Proof {
    let (_cluster, sql, id) = start("").await?;
    for hide in [
        "CREATE RULE hide AS ON INSERT TO control_plane.audit_logs DO INSTEAD NOTHING",
        "CREATE FUNCTION public.hide() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER hide BEFORE INSERT ON control_plane.audit_logs FOR EACH ROW EXECUTE FUNCTION public.hide()",
        "ALTER TABLE control_plane.audit_logs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "ALTER TABLE control_plane.audit_logs ADD COLUMN more text DEFAULT 'x'",
    ] {
        sql.run(hide).await?;
        let before = count(&sql, "secret.accessed", "success").await?;
        sql.rows("SELECT control_plane.get_secret($1)", &[&id])
            .await?;
        let after = count(&sql, "secret.accessed", "success").await?;
        assert_eq!(after, before + 1, "{hide}");
    }
    // Without the table no value leaves.
    sql.run("ALTER TABLE control_plane.audit_logs RENAME TO elsewhere")
        .await?;
    let read = "SELECT control_plane.get_secret($1)";
    assert_eq!(sql.refused(read, &[&id]).await.state, "PT503");
    sql.run("ALTER TABLE control_plane.elsewhere RENAME TO audit_logs")
        .await?;
    sql.rows(read, &[&id]).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_database_has_for_whoever_connects_does_not_reach_the_workers() -> Proof {
    let (_cluster, sql, id) = start("").await?;
    let worker = auditor(&sql).await;
    sql.run(&format!(
        "CREATE ROLE nobody; ALTER DATABASE postgres SET role = 'nobody';
         SELECT pg_terminate_backend({worker})"
    ))
    .await?;
    eventually("another audit worker", || async {
        let statement = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets auditor' AND pid <> $1";
        sql.one::<i32>(statement, &[&worker]).await.ok()
    })
    .await;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    Ok(())
}

#[tokio::test]
async fn without_the_extension_nothing_is_started_over_and_over() -> Proof {
    let (cluster, sql, _) = start("log_min_messages = debug1").await?;
    auditor(&sql).await;
    sql.run("DROP EXTENSION pg_secrets; DROP SCHEMA IF EXISTS control_plane CASCADE")
        .await?;
    sql.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'pg_secrets %or'",
        &[],
    )
    .await?;
    let starts = || {
        let log = cluster.log();
        log.matches("starting background worker process \"pg_secrets auditor\"")
            .count()
    };
    let before = starts();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let since = starts() - before;
    assert!(since <= 4, "{since} starts in four seconds");
    // Installed again, it works at once.
    sql.run("CREATE EXTENSION pg_secrets").await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'v')")
        .await?;
    sql.run("SELECT control_plane.get_secret_by_name('p', 'n')")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_ended_again_and_again_is_back_within_three_seconds() -> Proof {
    let (_cluster, sql, id) = start("pg_secrets.audit_timeout = '3s'").await?;
    for _ in 0..5 {
        let worker = auditor(&sql).await;
        sql.rows("SELECT pg_terminate_backend($1)", &[&worker])
            .await?;
        eventually("its end", || async {
            let statement = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
            let there: i64 = sql.one(statement, &[&worker]).await.ok()?;
            (there == 0).then_some(())
        })
        .await;
        sql.rows("SELECT control_plane.get_secret($1)", &[&id])
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_number_that_somebody_forged_leads_to_none_that_is_used_twice() -> Proof {
    let (_cluster, sql, id) = start("").await?;
    let far: i64 = (1 << 62) - 1;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    sql.rows(
        "INSERT INTO control_plane.audit_logs (id, at, action, outcome, actor, login, arrival)
         VALUES (gen_random_uuid(), now(), 'forged', 'success', 'x', 'x', $1)",
        &[&far],
    )
    .await?;
    let worker = auditor(&sql).await;
    sql.rows("SELECT pg_terminate_backend($1)", &[&worker])
        .await?;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    let last: i64 = sql
        .one(
            "SELECT max(arrival) FROM control_plane.audit_logs WHERE action = 'secret.accessed'",
            &[],
        )
        .await?;
    assert!(last < far / 2, "{last}");
    Ok(())
}

#[tokio::test]
async fn whoever_asks_for_long_names_that_are_not_there_fills_the_audit_no_faster() -> Proof {
    let (_cluster, sql, _) = start("").await?;
    let (long, real) = ("x".repeat(200), "r".repeat(200));
    sql.rows(
        "SELECT control_plane.create_secret('p', $1, 'a value')",
        &[&real],
    )
    .await?;
    sql.run("CREATE ROLE prober; SELECT control_plane.grant_project('prober', 'list', 'q'); SET ROLE prober")
        .await?;
    for name in [&long, &real] {
        sql.refused("SELECT control_plane.get_secret_by_name('p', $1)", &[name])
            .await;
        sql.refused("SELECT control_plane.get_secrets($1)", &[name])
            .await;
    }
    sql.run("RESET ROLE").await?;
    let recorded: Vec<String> = sql
        .all(
            "SELECT coalesce(name, project_id) FROM control_plane.audit_logs WHERE action = 'secret.access_denied' ORDER BY id",
            &[],
        )
        .await?;
    let cut = |letter: &str| format!("{}…", letter.repeat(64));
    assert_eq!(recorded, [cut("x"), cut("x"), real, cut("r")]);
    Ok(())
}
