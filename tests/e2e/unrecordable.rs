//! While no record can be made durable nothing is read, and everything else goes on.

use crate::durable_audit::{auditor, count, signal, start};
use pg_secrets_tests::{Proof, Session, eventually};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What a wait may take beyond pg_secrets.audit_timeout.
const SLACK: Duration = Duration::from_millis(200);

/// How often a read is tried while nothing can be recorded.
const TRIES: usize = 3;

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

#[tokio::test]
async fn what_a_worker_committed_and_did_not_live_to_tell_of_counts_as_not_released() -> Proof {
    let (cluster, sql, id) = start("pg_secrets.audit_timeout = '3s'").await?;
    let worker = auditor(&sql).await;
    sql.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    let reader = cluster.sql().await?;
    let read = tokio::spawn(async move {
        reader
            .refused("SELECT control_plane.get_secret($1)", &[&id])
            .await
            .state
    });
    eventually("a worker that waits for the standby", || async {
        let statement =
            "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
        let waiting: i64 = sql.one(statement, &[&worker]).await.ok()?;
        (waiting == 1).then_some(())
    })
    .await;
    // Its commit is done, and nobody knows of it.
    sql.rows("SELECT pg_terminate_backend($1)", &[&worker])
        .await?;
    assert_eq!(read.await?, "PT503");
    sql.run("ALTER SYSTEM RESET synchronous_standby_names")
        .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    eventually("the record of it", || async {
        let found = count(&sql, "secret.accessed", "not released").await.ok()?;
        (found == 1).then_some(())
    })
    .await;
    assert_eq!(count(&sql, "secret.accessed", "success").await?, 0);
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_was_recorded_of_a_read_of_many_that_fails_for_one_is_withdrawn() -> Proof {
    let (_cluster, sql, _) = start("fsync = off").await?;
    sql.run(
        "SELECT control_plane.create_secret('many', 'n' || i, 'a value') FROM generate_series(1, 70) AS i;
         SELECT control_plane.create_secret('many', 'zbad', 'a value');
         CREATE FUNCTION public.choosy(name text) RETURNS int LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN IF name = 'zbad' AND pg_backend_pid() IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets auditor') THEN RAISE 'no'; END IF; RETURN 1; END $$;
         CREATE INDEX choosy ON control_plane.audit_logs (public.choosy(name))",
    )
    .await?;
    let refused = sql
        .refused("SELECT control_plane.get_secrets('many')", &[])
        .await;
    assert_eq!(refused.state, "PT503");
    let written = count(&sql, "secret.accessed", "success").await?;
    assert_eq!(
        written, 70,
        "the first part was recorded before the second failed"
    );
    assert_eq!(withdrawn(&sql, 1).await, [70]);
    // One that succeeds withdraws nothing.
    sql.run("DROP INDEX control_plane.choosy").await?;
    sql.rows("SELECT control_plane.get_secrets('many')", &[])
        .await?;
    assert_eq!(count(&sql, "secret.not_released", "not released").await?, 1);
    Ok(())
}

/// How many records each withdrawal takes back that say otherwise, once there are so many of them.
async fn withdrawn(sql: &Session, withdrawals: usize) -> Vec<i64> {
    eventually("the withdrawals", || async {
        let found: Vec<i64> = sql
            .all(
                "SELECT (SELECT count(*) FROM control_plane.audit_logs AS a
                     WHERE a.action = 'secret.accessed' AND a.outcome = 'success' AND a.detail->>'read' = w.detail->>'read')
                 FROM control_plane.audit_logs AS w
                 WHERE w.action = 'secret.not_released' AND w.outcome = 'not released' ORDER BY w.id",
                &[],
            )
            .await
            .ok()?;
        (found.len() == withdrawals).then_some(found)
    })
    .await
}

#[tokio::test]
async fn what_was_recorded_for_a_session_that_is_terminated_is_withdrawn_and_nothing_else() -> Proof
{
    let (cluster, sql, id) = start("fsync = off\npg_secrets.audit_timeout = '20s'").await?;
    sql.run("SELECT control_plane.create_secret('many', 'n' || i, 'a value') FROM generate_series(1, 100) AS i")
        .await?;
    let reader = cluster.sql().await?;
    let other = cluster.sql().await?;
    let pid: i32 = reader.one("SELECT pg_backend_pid()", &[]).await?;
    // The second part of the read finds the table locked.
    sql.run(
        "CREATE FUNCTION public.slow(name text) RETURNS int LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN IF name = 'n99' THEN PERFORM pg_sleep(2); END IF; RETURN 1; END $$;
         CREATE INDEX slow ON control_plane.audit_logs (public.slow(name))",
    )
    .await?;
    let read = tokio::spawn(async move {
        reader
            .refused("SELECT control_plane.get_secrets('many')", &[])
            .await
            .state
    });
    eventually("the first records", || async {
        let found = count(&sql, "secret.accessed", "success").await.ok()?;
        (found >= 64).then_some(())
    })
    .await;
    sql.rows("SELECT pg_terminate_backend($1)", &[&pid]).await?;
    assert_eq!(read.await?, "57P01");
    other
        .rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    let taken_back = withdrawn(&sql, 1).await;
    let all = count(&sql, "secret.accessed", "success").await?;
    assert_eq!(taken_back, [all - 1], "all but the other session's");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_written_fails_its_own_read_and_no_other() -> Proof {
    let (cluster, sql, good) = start("fsync = off").await?;
    let bad: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', 'bad', 'a value')",
            &[],
        )
        .await?;
    sql.run(
        "CREATE FUNCTION public.choosy(name text) RETURNS int LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN IF name = 'bad' AND pg_backend_pid() IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets auditor') THEN RAISE 'no'; END IF; RETURN 1; END $$;
         CREATE INDEX choosy ON control_plane.audit_logs (public.choosy(name))",
    )
    .await?;
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let session = cluster.sql().await?;
        readers.spawn(async move {
            let (id, expected) = if number % 2 == 0 {
                (good, None)
            } else {
                (bad, Some("PT503"))
            };
            for _ in 0..50 {
                let read = session
                    .rows("SELECT control_plane.get_secret($1)", &[&id])
                    .await;
                let state = read.err().map(|error| error.state);
                assert_eq!(state.as_deref(), expected);
            }
        });
    }
    readers.join_all().await;
    assert_eq!(count(&sql, "secret.accessed", "success").await?, 4 * 50);
    sql.run("DROP INDEX control_plane.choosy").await?;
    sql.rows("SELECT control_plane.get_secret($1)", &[&bad])
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_many_values_never_wait_for_each_others_places() -> Proof {
    let (cluster, sql, _) = start("fsync = off").await?;
    sql.run(
        "SELECT control_plane.create_secret('many', 'n' || i, 'a value') FROM generate_series(1, 64) AS i",
    )
    .await?;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let session = cluster.sql().await?;
        readers.spawn(async move {
            for _ in 0..20 {
                session
                    .rows("SELECT name FROM control_plane.get_secrets('many')", &[])
                    .await?;
            }
            Ok::<(), pg_secrets_tests::SqlError>(())
        });
    }
    for read in readers.join_all().await {
        read?;
    }
    let expected = 40 * 20 * 64;
    assert_eq!(count(&sql, "secret.accessed", "success").await?, expected);
    Ok(())
}
