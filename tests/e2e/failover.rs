//! Two servers, one of which takes writes.

use pg_secrets_tests::{Api, COMPANION_LOGIN, Cluster, Companion, Key, Proof, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

/// How soon the service must be back.
const BACK: Duration = Duration::from_secs(5);

/// A primary, a standby, a companion that knows both, and an administrator of it.
async fn scene() -> Proof<(Cluster, Cluster, Companion, Api)> {
    let primary = Cluster::start(Key::new(), "fsync = off");
    primary.install().await?;
    let sql = primary.sql().await?;
    sql.rows(
        "SELECT control_plane.grant_project('admin', 'admin', kind => 'subject')",
        &[],
    )
    .await?;
    let token: String = sql
        .one("SELECT control_plane.create_token('admin')", &[])
        .await?;
    let standby = Cluster::standby_of(&primary);
    let host = |cluster: &Cluster| cluster.sockets().display().to_string().replace('/', "%2F");
    // The standby first: it is passed by.
    let hosts = format!("{},{}", host(&standby), host(&primary));
    let url = format!("postgresql://{COMPANION_LOGIN}@{hosts}/postgres");
    let companion = Companion::start_in(&primary, &[("DATABASE_URL", url)]);
    let api = Api::new(&companion.url(), Some(&token));
    Ok((primary, standby, companion, api))
}

async fn create(api: &Api, name: &str) -> anyhow::Result<u16> {
    let new = json!({"project_id": "p", "name": name, "value": "v"});
    let answer = api.post("/api/secrets", new).await?;
    if answer.status == 503 {
        anyhow::ensure!(!answer.header("retry-after").is_empty());
    }
    Ok(answer.status)
}

/// Waits until something can be written, and answers how long that took.
async fn back(api: &Api, what: &str) -> Proof<Duration> {
    let begun = Instant::now();
    let mut count = 0;
    loop {
        count += 1;
        match create(api, &format!("{what} {count}")).await? {
            201 => return Ok(begun.elapsed()),
            503 => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
    }
}

async fn promote(standby: &Cluster) -> Proof {
    let sql = standby.sql().await?;
    let promoted: bool = sql.one("SELECT pg_promote()", &[]).await?;
    assert!(promoted);
    Ok(())
}

/// Waits until the standby has what the primary wrote.
async fn caught_up(primary: &Cluster, standby: &Cluster) -> Proof {
    let sql = primary.sql().await?;
    let at: String = sql.one("SELECT pg_current_wal_lsn()::text", &[]).await?;
    let sql = standby.sql().await?;
    eventually("the standby", || async {
        let statement = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
        sql.one::<bool>(statement, &[&at]).await.ok()?.then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_primary_that_dies_is_replaced_within_seconds() -> Proof {
    let (mut primary, standby, _companion, api) = scene().await?;
    assert_eq!(create(&api, "before").await?, 201);
    caught_up(&primary, &standby).await?;
    primary.kill9();
    assert_eq!(create(&api, "meanwhile").await?, 503);
    promote(&standby).await?;
    let took = back(&api, "after").await?;
    assert!(took < BACK, "{took:?}");
    let read = api
        .get("/api/projects/p/secrets/before")
        .await?
        .expect(200)?;
    assert_eq!(read.text("value"), "v");
    Ok(())
}

#[tokio::test]
async fn connections_to_a_server_that_became_read_only_are_dropped() -> Proof {
    let (primary, standby, _companion, api) = scene().await?;
    // As many connections as there may be.
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..16 {
        let api = api.clone();
        tries.spawn(async move { create(&api, &format!("before {number}")).await });
    }
    while let Some(tried) = tries.join_next().await {
        assert_eq!(tried??, 201);
    }
    caught_up(&primary, &standby).await?;
    promote(&standby).await?;
    let sql = primary.sql().await?;
    sql.run("ALTER SYSTEM SET default_transaction_read_only = on")
        .await?;
    sql.rows("SELECT pg_reload_conf()", &[]).await?;
    eventually("the setting", || async {
        // Of the sessions that are there already.
        let setting: String = sql
            .one("SHOW default_transaction_read_only", &[])
            .await
            .ok()?;
        (setting == "on").then_some(())
    })
    .await;
    let took = back(&api, "after").await?;
    assert!(took < BACK, "{took:?}");
    let sql = standby.sql().await?;
    let there: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.secrets WHERE name LIKE 'after %'",
            &[],
        )
        .await?;
    assert_eq!(there, 1);
    Ok(())
}
