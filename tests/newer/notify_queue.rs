//! The server's queue of notifications is full: nothing of ours waits for it.
//!
//! The queue has 8 GB unless max_notify_queue_pages says less, which servers before 17 do not know.

use pg_secrets_tests::{Proof, Sink, TestApp};
use std::time::{Duration, Instant};

#[tokio::test]
async fn rotations_commit_and_arrive_while_the_notify_queue_is_full() -> Proof {
    let app = TestApp::start(
        "fsync = off\nmax_notify_queue_pages = 64\npg_secrets.audit_head_interval = 0",
    )
    .await;
    let sink = Sink::start().await;
    let sql = app.sql().await?;
    let url = sink.url("/all");
    let endpoint = "SELECT control_plane.create_endpoint('p', $1)";
    sql.rows(endpoint, &[&url]).await?;
    let create = "SELECT id FROM control_plane.create_secret('p', 'name', 'a value')";
    let mut id: uuid::Uuid = sql.one(create, &[]).await?;
    sink.wait_for("/all", 1).await;

    // A listener whose transaction does not end keeps everything in the queue.
    let deaf = app.sql().await?;
    deaf.run("LISTEN anything").await?;
    deaf.run("BEGIN; SELECT 1").await?;
    let fill = "SELECT count(pg_notify('anything', repeat('x', 7000) || n)) FROM generate_series(1, 20) AS n";
    let full = loop {
        if let Err(error) = sql.rows(fill, &[]).await {
            break error;
        }
    };
    assert!(full.message.contains("too many notifications"), "{full:?}");
    let refused = sql.refused_text("NOTIFY anything, 'one more'").await;
    assert_eq!(refused.state, "54000", "{refused:?}");

    for number in 2..7 {
        let committed = Instant::now();
        let rotate = "SELECT id FROM control_plane.rotate_secret($1, 'another value')";
        id = sql.one(rotate, &[&id]).await?;
        let told = sink.wait_for("/all", number).await;
        let waited = told[told.len() - 1].at - committed;
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }
    let usage: f64 = sql.one("SELECT pg_notification_queue_usage()", &[]).await?;
    assert!(usage > 0.9, "{usage}");
    deaf.run("ROLLBACK").await?;
    Ok(())
}
