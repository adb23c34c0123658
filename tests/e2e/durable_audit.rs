//! No value without its record: whatever the reader does afterwards, whatever goes wrong meanwhile.

use pg_secrets_tests::{Cluster, Key, Proof, Session, TestApp, eventually};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What a wait may take beyond pg_secrets.audit_timeout.
const SLACK: Duration = Duration::from_millis(200);

/// How often a read is tried while nothing can be recorded.
const TRIES: usize = 3;

async fn start(settings: &str) -> Proof<(Cluster, Session, Uuid)> {
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

async fn count(sql: &Session, action: &str, outcome: &str) -> Proof<i64> {
    let count: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = $1 AND outcome = $2",
            &[&action, &outcome],
        )
        .await?;
    Ok(count)
}

/// The process id of the audit worker.
async fn auditor(sql: &Session) -> i32 {
    eventually("the audit worker", || async {
        let statement =
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets auditor'";
        sql.one(statement, &[]).await.ok()
    })
    .await
}

fn signal(name: &str, pid: i32) {
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

#[tokio::test]
async fn while_nothing_can_be_recorded_nothing_is_read_and_everything_else_goes_on() -> Proof {
    let (mut cluster, sql, id) = start("pg_secrets.audit_timeout = '500ms'").await?;
    let timeout = Duration::from_millis(500);
    let reader = cluster.sql().await?;
    let worker = auditor(&sql).await;
    sql.run("CREATE TABLE other (i int)").await?;
    let fails = |what: &'static str| {
        let (reader, sql) = (&reader, &sql);
        async move {
            let mut times = Vec::new();
            for _ in 0..TRIES {
                let began = Instant::now();
                let refused = reader
                    .refused("SELECT control_plane.get_secret($1)", &[&id])
                    .await;
                times.push(began.elapsed());
                assert_eq!(refused.state, "PT503", "{what}: {refused:?}");
                assert!(!format!("{refused:?}").contains("a value"), "{what}");
            }
            // The middle one: a machine that is busy with other tests delays one now and then.
            times.sort();
            let took = times[TRIES / 2];
            assert!(took < timeout + SLACK, "{what}: {times:?}");
            sql.run("INSERT INTO other VALUES (1)").await
        }
    };
    let works = |what: &'static str| {
        let reader = &reader;
        async move {
            let began = Instant::now();
            loop {
                let read = reader
                    .rows("SELECT control_plane.get_secret($1)", &[&id])
                    .await;
                let took = began.elapsed();
                match read {
                    Ok(_) => break,
                    Err(error) => {
                        assert!(took < Duration::from_secs(1), "{what}: {took:?} {error:?}")
                    }
                }
            }
        }
    };
    // The worker does not move.
    signal("STOP", worker);
    fails("stopped").await?;
    signal("CONT", worker);
    works("stopped").await;
    // Somebody has locked the table.
    let locker = cluster.sql().await?;
    locker
        .run("BEGIN; LOCK TABLE control_plane.audit_logs IN ACCESS EXCLUSIVE MODE")
        .await?;
    fails("locked").await?;
    locker.run("ROLLBACK").await?;
    works("locked").await;
    // A cancelled wait leaves nothing behind.
    signal("STOP", worker);
    reader.run("SET statement_timeout = '100ms'").await?;
    let cancelled = reader
        .refused("SELECT control_plane.get_secret($1)", &[&id])
        .await;
    assert_eq!(cancelled.state, "57014");
    reader.run("RESET statement_timeout").await?;
    signal("CONT", worker);
    works("cancelled").await;
    // The record of each says that nothing was released.
    let expected = 2 * TRIES as i64 + 1;
    let not_released = eventually("the records of what failed", || async {
        let found = count(&sql, "secret.accessed", "not released").await.ok()?;
        (found >= expected).then_some(found)
    })
    .await;
    assert_eq!(not_released, expected);
    // A server that stops is not held up.
    signal("STOP", worker);
    let waiting = cluster.sql().await?;
    let waiting = tokio::spawn(async move {
        waiting
            .rows("SELECT control_plane.get_secret($1)", &[&id])
            .await
            .map(|_| ())
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal("CONT", worker);
    let began = Instant::now();
    cluster.stop();
    assert!(began.elapsed() < Duration::from_secs(10));
    let _ = waiting.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_is_full_fails_reads_in_time_and_nothing_else() -> Proof {
    let (cluster, sql, id) = start("pg_secrets.audit_timeout = '2s'").await?;
    let timeout = Duration::from_secs(2);
    sql.run(
        "SELECT control_plane.create_secret('many', 'n' || i, 'a value') FROM generate_series(1, 70) AS i;
         CREATE TABLE other (i int)",
    )
    .await?;
    let worker = auditor(&sql).await;
    signal("STOP", worker);
    // 64 records of each are under way at once, and 512 fit.
    let mut filling = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let session = cluster.sql().await?;
        filling.spawn(async move {
            session
                .refused("SELECT control_plane.get_secrets('many')", &[])
                .await
                .state
        });
    }
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%get_secrets(%' AND wait_event = 'Extension' AND pid <> pg_backend_pid()";
    eventually("eight readers that wait", || async {
        let waiting: i64 = sql.one(waits, &[]).await.ok()?;
        (waiting == 8).then_some(())
    })
    .await;
    let reader = cluster.sql().await?;
    let began = Instant::now();
    let refused = reader
        .refused("SELECT control_plane.get_secret($1)", &[&id])
        .await;
    let took = began.elapsed();
    assert_eq!(refused.state, "PT503");
    assert!(took < timeout + SLACK, "{took:?}");
    // It had no place in the ring, and waited for one.
    assert!(took > timeout / 2, "{took:?}");
    sql.run("INSERT INTO other VALUES (1)").await?;
    for state in filling.join_all().await {
        assert_eq!(state, "PT503");
    }
    signal("CONT", worker);
    let began = Instant::now();
    reader
        .rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    assert!(began.elapsed() < Duration::from_secs(1));
    let released = count(&sql, "secret.accessed", "success").await?;
    assert_eq!(released, 1);
    let not_released = count(&sql, "secret.accessed", "not released").await?;
    assert_eq!(not_released, 512);
    Ok(())
}

#[tokio::test]
async fn a_synchronous_standby_that_is_gone_lets_no_value_out() -> Proof {
    let (mut cluster, sql, id) = start("pg_secrets.audit_timeout = '500ms'").await?;
    auditor(&sql).await;
    sql.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    eventually("the setting", || async {
        let set: String = sql.one("SHOW synchronous_standby_names", &[]).await.ok()?;
        (set == "nobody").then_some(())
    })
    .await;
    // The worker hears of it between two batches.
    let reader = cluster.sql().await?;
    reader.run("SET synchronous_commit = off").await?;
    let refused = eventually("a read that fails", || async {
        let read = reader
            .rows("SELECT control_plane.get_secret($1)", &[&id])
            .await;
        read.err()
    })
    .await;
    assert_eq!(refused.state, "PT503");
    let began = Instant::now();
    let refused = reader
        .refused("SELECT control_plane.get_secret($1)", &[&id])
        .await;
    assert_eq!(refused.state, "PT503");
    assert!(began.elapsed() < Duration::from_millis(500) + SLACK);
    // Fast, although the worker waits for the standby.
    let began = Instant::now();
    cluster.stop();
    assert!(began.elapsed() < Duration::from_secs(10));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_that_was_received_has_its_record_after_crashes() -> Proof {
    let rounds = crate::duration(4, 400).as_secs();
    let (mut cluster, sql, id) = start("synchronous_commit = off").await?;
    sql.run("ALTER DATABASE postgres SET synchronous_commit = off")
        .await?;
    sql.run("ALTER ROLE postgres SET synchronous_commit = off")
        .await?;
    drop(sql);
    let mut received = vec![0_i64; 16];
    for round in 0..rounds {
        let sql = cluster.sql().await?;
        let worker = auditor(&sql).await;
        let mut readers = tokio::task::JoinSet::new();
        for client in 0..received.len() {
            let sql = cluster.sql().await?;
            readers.spawn(async move {
                let _ = sql
                    .run(&format!("SET application_name = 'client {client}'"))
                    .await;
                let mut values = 0;
                // Until the server is gone.
                while sql
                    .rows("SELECT control_plane.get_secret($1)", &[&id])
                    .await
                    .is_ok()
                {
                    values += 1;
                }
                (client, values)
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        if round % 2 == 0 {
            cluster.kill9();
        } else {
            signal("KILL", worker);
        }
        for (client, values) in readers.join_all().await {
            received[client] += values;
        }
        if round % 2 == 0 {
            cluster.resume();
        } else {
            eventually(
                "the server after a crash of one of its processes",
                || async { cluster.sql().await.ok() },
            )
            .await;
        }
    }
    let sql = cluster.sql().await?;
    let total: i64 = received.iter().sum();
    assert!(total > 100, "too few to prove anything: {received:?}");
    for (client, received) in received.iter().enumerate() {
        let recorded: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.audit_logs
                 WHERE action = 'secret.accessed' AND outcome = 'success' AND application_name = $1",
                &[&format!("client {client}")],
            )
            .await?;
        assert!(
            recorded >= *received,
            "client {client}: {received} values, {recorded} records"
        );
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
