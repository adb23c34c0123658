//! A restored or copied database does nothing in the original's name, until somebody says that it is the
//! original now; a promoted standby is that already.

use pg_secrets_tests::{COMPANION_LOGIN, Cluster, Key, Proof, Session, eventually, repository};
use std::time::Duration;

const SETTINGS: &str = "fsync = off\npg_secrets.maintenance_interval = 1\n";

/// What there is to do: a webhook to send, a version to destroy, a secret to purge.
async fn fill(sql: &Session) -> Proof {
    sql.run(
        "SELECT control_plane.create_endpoint('p', 'http://127.0.0.1:9/');
         SELECT control_plane.create_secret('p', 'expired', 'a value');
         SELECT control_plane.create_secret('p', 'deleted', 'a value');
         SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'expired'), 'another', grace => '1 day');
         SELECT control_plane.delete_secret(control_plane.secret_id('p', 'deleted'));",
    )
    .await?;
    Ok(())
}

/// Makes it due.
async fn come_due(sql: &Session) -> Proof {
    sql.run(
        "UPDATE control_plane.secrets SET expires_at = clock_timestamp() WHERE NOT active;
         UPDATE control_plane.secrets SET purge_at = clock_timestamp() WHERE name = 'deleted'",
    )
    .await?;
    Ok(())
}

async fn is_done(sql: &Session) -> Option<()> {
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.secrets WHERE name = 'deleted'
                 OR NOT active AND value_encrypted IS NOT NULL",
            &[],
        )
        .await
        .ok()?;
    (left == 0).then_some(())
}

async fn claimed(cluster: &Cluster) -> Proof<usize> {
    let relay = cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let claimed = relay
        .rows("SELECT * FROM control_plane.claim_deliveries(100)", &[])
        .await?;
    Ok(claimed.len())
}

fn says_so(cluster: &Cluster) -> usize {
    let log = cluster.log();
    log.lines()
        .filter(|line| line.contains("restored or copied") && line.contains("confirm_restored()"))
        .count()
}

fn client(cluster: &Cluster, program: &str, arguments: &[&str]) {
    let output = cluster.client(program).args(arguments).output();
    let output = output.expect("the client runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

#[tokio::test]
async fn a_restored_database_sends_and_sweeps_nothing_until_somebody_confirms_it() -> Proof {
    let key = Key::new();
    let original = Cluster::start(key.clone(), SETTINGS);
    original.install().await?;
    let sql = original.sql().await?;
    fill(&sql).await?;
    let folder = tempfile::tempdir()?;
    let dump = folder.path().join("dump");
    let file = dump.to_str().expect("a path");
    client(&original, "pg_dump", &["--format=custom", "--file", file]);
    assert_eq!(says_so(&original), 0);
    assert!(claimed(&original).await? > 0);

    let mut restored = Cluster::start(key, SETTINGS);
    let sql = restored.sql().await?;
    sql.run(&format!("CREATE ROLE {COMPANION_LOGIN} LOGIN"))
        .await?;
    client(
        &restored,
        "pg_restore",
        &["--exit-on-error", "--dbname=postgres", file],
    );
    come_due(&sql).await?;
    eventually("the log says so", || async {
        (says_so(&restored) == 1).then_some(())
    })
    .await;
    // It reads, and it changes what it is told to change.
    let value: String = sql
        .one(
            "SELECT value FROM control_plane.get_secret_by_name('p', 'expired')",
            &[],
        )
        .await?;
    assert_eq!(value, "another");
    sql.rows(
        "SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'expired'), 'a third', grace => '1 millisecond')",
        &[],
    )
    .await?;
    let refused = sql
        .refused("SELECT control_plane.run_maintenance()", &[])
        .await;
    assert_eq!(refused.state, "PT422", "{refused:?}");
    assert!(refused.hint.contains("confirm_restored()"), "{refused:?}");
    let page = std::fs::read_to_string(repository().join("docs/recovery.md"))?;
    for said in [&refused.message, &refused.hint] {
        assert!(page.contains(said), "docs/recovery.md quotes it: {said}");
    }
    // Some rounds of the worker.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(says_so(&restored), 1);
    assert_eq!(claimed(&restored).await?, 0);
    assert!(is_done(&sql).await.is_none());

    let confirm = "SELECT control_plane.confirm_restored()";
    assert!(sql.one::<bool>(confirm, &[]).await?);
    eventually("what was due is done", || is_done(&sql)).await;
    assert!(claimed(&restored).await? > 0);
    assert!(!sql.one::<bool>(confirm, &[]).await?, "once is enough");
    let records: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'database.confirmed' AND actor = 'postgres'
                 AND jsonb_array_length(detail->'restored_from') = 1",
            &[],
        )
        .await?;
    assert_eq!(records, 1);
    drop(sql);
    restored.stop();
    restored.resume();
    let sql = restored.sql().await?;
    sql.rows(
        "SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'expired'), 'a fourth', grace => '1 millisecond')",
        &[],
    )
    .await?;
    eventually("what was due is done", || is_done(&sql)).await;
    assert_eq!(says_so(&restored), 1);

    // And into the very same database, over itself.
    client(
        &restored,
        "pg_restore",
        &["--clean", "--exit-on-error", "--dbname=postgres", file],
    );
    let sql = restored.sql().await?;
    assert_eq!(claimed(&restored).await?, 0);
    assert!(sql.one::<bool>(confirm, &[]).await?);
    assert!(claimed(&restored).await? > 0);
    Ok(())
}

#[tokio::test]
async fn a_promoted_standby_goes_on_by_itself() -> Proof {
    let mut primary = Cluster::start(Key::new(), SETTINGS);
    primary.install().await?;
    let sql = primary.sql().await?;
    fill(&sql).await?;
    let standby = Cluster::standby_of(&primary);
    drop(sql);
    primary.stop();
    let sql = standby.sql().await?;
    sql.run("SELECT pg_promote()").await?;
    come_due(&sql).await?;
    eventually("what was due is done", || is_done(&sql)).await;
    assert!(claimed(&standby).await? > 0);
    assert_eq!(says_so(&standby), 0);
    Ok(())
}

#[tokio::test]
async fn a_copy_whose_workers_are_off_sends_and_sweeps_nothing() -> Proof {
    let settings = format!("{SETTINGS}pg_secrets.workers = off\n");
    let cluster = Cluster::start(Key::new(), &settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    fill(&sql).await?;
    come_due(&sql).await?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(is_done(&sql).await.is_none());
    assert_eq!(claimed(&cluster).await?, 0);
    // By hand an administrator still can.
    sql.rows("SELECT control_plane.run_maintenance()", &[])
        .await?;
    assert!(is_done(&sql).await.is_some());
    Ok(())
}

#[tokio::test]
async fn a_restore_knows_that_it_is_one_before_it_has_anything_to_act_on() -> Proof {
    let (cluster, _sql) = crate::maintenance::server("fsync = off").await?;
    let dump = cluster.client("pg_dump").args(["--data-only"]).output()?;
    let dump = String::from_utf8(dump.stdout)?;
    let tables = dump
        .lines()
        .filter(|line| line.starts_with("COPY control_plane."));
    let first = tables.map(str::to_owned).next().unwrap_or_default();
    assert!(
        first.starts_with("COPY control_plane.active_installations "),
        "{first}"
    );
    Ok(())
}
