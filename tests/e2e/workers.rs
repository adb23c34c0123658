//! The background workers: there where they are needed, and once.

use pg_secrets_tests::{Proof, TestApp, postgres_binary};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

#[tokio::test]
async fn one_notifier_runs_also_beside_a_database_with_a_name_in_another_encoding() -> Proof {
    let app = TestApp::start("").await;
    let sql = app.sql().await?;
    sql.run("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
        .await?;
    // A byte that is no UTF-8, in a row of the catalogue that stands before our own.
    let statement = b"CREATE DATABASE \"x\xff\" ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'";
    let psql = Command::new(postgres_binary("psql"))
        .env("PGCLIENTENCODING", "SQL_ASCII")
        .args(["--no-psqlrc", "--username", "postgres", "--dbname", "ascii"])
        .arg("--host")
        .arg(app.cluster.sockets())
        .arg("--command")
        .arg(OsStr::from_bytes(statement))
        .output()?;
    assert!(psql.status.success(), "{psql:?}");
    sql.run("CREATE ROLE x; GRANT CONNECT ON DATABASE postgres TO x")
        .await?;
    let notifiers =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_secrets notifier'";
    let ended: i64 = sql
        .one(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'pg_secrets notifier'",
            &[],
        )
        .await?;
    assert_eq!(ended, 1);
    pg_secrets_tests::eventually("the notifier is started again", || async {
        let running: i64 = sql.one(notifiers, &[]).await.ok()?;
        (running == 1).then_some(())
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let running: i64 = sql.one(notifiers, &[]).await?;
    assert_eq!(running, 1);
    Ok(())
}
