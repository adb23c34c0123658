//! The chain while everything goes on, and while it is killed.

use crate::verdict::{Verdict, head, read, server, verify};
use pg_secrets_tests::{Cluster, Proof, Session, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const CLIENTS: usize = 8;

/// Reads and rotates until it is told to stop, and begins anew where the server was gone.
fn client(cluster: &Arc<Cluster>, stop: &Arc<AtomicBool>) -> JoinHandle<u32> {
    let (cluster, stop) = (Arc::clone(cluster), Arc::clone(stop));
    tokio::spawn(async move {
        let mut done = 0;
        let mut session = None;
        while !stop.load(Ordering::Relaxed) {
            let Some(sql) = &session else {
                session = cluster.sql().await.ok();
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            match step(sql).await {
                Ok(()) => done += 1,
                Err(_) => session = None,
            }
        }
        done
    })
}

async fn step(sql: &Session) -> Result<(), pg_secrets_tests::SqlError> {
    sql.run("SELECT control_plane.get_secret_by_name('p', 'n') FROM generate_series(1, 3)")
        .await?;
    sql.run("SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'n'), 'another')")
        .await
}

/// Waits for the tail, in seconds.
async fn tail_is_chained(sql: &Session, within: Duration) -> Proof {
    let began = Instant::now();
    loop {
        let unchained: i64 = sql
            .one("SELECT unchained FROM control_plane.verify_audit()", &[])
            .await?;
        if unchained == 0 {
            return Ok(());
        }
        assert!(began.elapsed() < within, "{unchained} are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_intact_at_every_moment_while_others_read_and_rotate() -> Proof {
    let (cluster, sql) = server("").await?;
    let cluster = Arc::new(cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(&cluster, &stop)).collect();
    let mut heads = Vec::new();
    let end = Instant::now() + crate::duration(6, 60);
    while Instant::now() < end {
        assert_eq!(verify(&sql, None).await?, Verdict::intact());
        if let Ok(head) = sql
            .one::<String>("SELECT control_plane.export_audit_head()", &[])
            .await
        {
            heads.push(head);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await? > 0, "a client that never came to anything");
    }
    tail_is_chained(&sql, Duration::from_secs(5)).await?;
    assert!(heads.len() > 3, "{} heads", heads.len());
    heads.push(head(&sql).await?);
    let step = heads.len().div_ceil(50);
    for head in heads.iter().step_by(step) {
        assert_eq!(verify(&sql, Some(head)).await?, Verdict::intact());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_intact_after_the_process_that_writes_it_was_killed() -> Proof {
    let (cluster, first) = server("").await?;
    drop(first);
    let cluster = Arc::new(cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(&cluster, &stop)).collect();
    let mut heads = Vec::new();
    for _ in 0..5 {
        let (sql, pid) = eventually("the bookkeeper", || async {
            let sql = cluster.sql().await.ok()?;
            let pid: i32 = sql
                .one(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets bookkeeper'",
                    &[],
                )
                .await
                .ok()?;
            Some((sql, pid))
        })
        .await;
        // It has something to do when it is killed.
        let head = eventually("a head", || async { head_of(&sql).await }).await;
        heads.push(head);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let killed = std::process::Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()?;
        assert!(killed.success());
        eventually("the crash", || async {
            sql.run("SELECT 1").await.is_err().then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    for client in clients {
        done += client.await?;
    }
    assert!(done > 0, "no client came to anything");
    let sql = eventually("the server", || async { cluster.sql().await.ok() }).await;
    eventually("a read", || async { read(&sql, 1).await.ok() }).await;
    tail_is_chained(&sql, Duration::from_secs(3)).await?;
    for head in &heads {
        assert_eq!(verify(&sql, Some(head)).await?, Verdict::intact());
    }
    Ok(())
}

#[tokio::test]
async fn whoever_cancels_the_bookkeeper_stops_nothing() -> Proof {
    let (_cluster, sql) = server("").await?;
    tail_is_chained(&sql, Duration::from_secs(5)).await?;
    let pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_secrets bookkeeper'";
    let before: i32 = sql.one(pid, &[]).await?;
    for _ in 0..20 {
        sql.rows("SELECT pg_cancel_backend($1)", &[&before]).await?;
        read(&sql, 1).await?;
    }
    tail_is_chained(&sql, Duration::from_secs(5)).await?;
    let after: i32 = sql.one(pid, &[]).await?;
    assert_eq!(before, after);
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    Ok(())
}

async fn head_of(sql: &Session) -> Option<String> {
    sql.one("SELECT control_plane.export_audit_head()", &[])
        .await
        .ok()
}
