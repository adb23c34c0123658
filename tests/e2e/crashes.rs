//! Under load and after crashes: no value without its record, no record too many, and a chain that verifies.

use crate::durable_audit::{auditor, count, signal, start};
use pg_secrets_tests::{Proof, chained, eventually};
use std::time::Duration;

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
    chained(&sql).await;
    let intact: bool = sql
        .one("SELECT intact FROM control_plane.verify_audit()", &[])
        .await?;
    assert!(intact);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_reads_leave_so_many_records_and_a_chain_that_verifies() -> Proof {
    let clients = 16_i32;
    // 200,000 in all, in the full length.
    let each = crate::duration(250, 12_500).as_secs();
    let (cluster, sql, id) = start("").await?;
    let mut readers = tokio::task::JoinSet::new();
    for client in 0..clients {
        let session = cluster.sql().await?;
        readers.spawn(async move {
            for _ in 0..each {
                let service = format!("service {client}");
                session
                    .rows("SELECT control_plane.get_secret($1, $2)", &[&id, &service])
                    .await?;
            }
            Ok::<(), pg_secrets_tests::SqlError>(())
        });
    }
    for read in readers.join_all().await {
        read?;
    }
    let expected = i64::from(clients) * i64::try_from(each).unwrap_or(0);
    assert_eq!(count(&sql, "secret.accessed", "success").await?, expected);
    chained(&sql).await;
    let rows = sql
        .rows(
            "SELECT intact, to_seq - from_seq + 1, unchained, explanation FROM control_plane.verify_audit()",
            &[],
        )
        .await?;
    let explanation: Option<&str> = rows[0].get(3);
    assert!(rows[0].get::<_, bool>(0), "{explanation:?}");
    let records: i64 = sql
        .one("SELECT count(*) FROM control_plane.audit_logs", &[])
        .await?;
    assert_eq!(rows[0].get::<_, i64>(1), records);
    assert_eq!(rows[0].get::<_, i64>(2), 0);
    let consumers: i64 = sql
        .one("SELECT count(*) FROM control_plane.secret_consumers", &[])
        .await?;
    assert_eq!(consumers, 16);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_is_killed_with_the_value_in_its_hands_leaves_its_record() -> Proof {
    let (cluster, sql, id) = start("synchronous_commit = off").await?;
    let reader = cluster.sql().await?;
    let pid: i32 = reader.one("SELECT pg_backend_pid()", &[]).await?;
    reader
        .run("BEGIN; SET LOCAL synchronous_commit = off")
        .await?;
    let value: String = reader
        .one("SELECT value FROM control_plane.get_secret($1)", &[&id])
        .await?;
    signal("KILL", pid);
    assert_eq!(value, "a value");
    // The server starts itself anew after that.
    drop(sql);
    eventually("the server", || async {
        let sql = cluster.sql().await.ok()?;
        let statement = "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'secret.accessed' AND outcome = 'success'";
        let recorded: i64 = sql.one(statement, &[]).await.ok()?;
        (recorded == 1).then_some(())
    })
    .await;
    Ok(())
}
