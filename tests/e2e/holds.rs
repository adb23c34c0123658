//! A version that verified consumers still read is held where the policy says so, and secrets are rotated when
//! they are due.

use crate::access::login;
use pg_secrets_tests::{Cluster, Key, Proof, Session, eventually};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const SETTINGS: &str = "fsync = off\npg_secrets.maintenance_interval = 1\n";
const READ: &str = "SELECT control_plane.get_secret($1)";

async fn server() -> Proof<(Cluster, Session)> {
    let cluster = Cluster::start(Key::new(), SETTINGS);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    Ok((cluster, sql))
}

/// A session whose reads of the project count as those of a service, for certain.
async fn verified(cluster: &Cluster, sql: &Session, service: &str) -> Proof<Session> {
    let name = login(sql).await?;
    sql.rows(
        "SELECT control_plane.grant_project($1, 'read', 'p', $2)",
        &[&name, &service],
    )
    .await?;
    Ok(cluster.connect(&name, "postgres").await?)
}

async fn create(sql: &Session, name: &str) -> Proof<Uuid> {
    Ok(sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', $1, 'an old value')",
            &[&name],
        )
        .await?)
}

async fn rotate(sql: &Session, old: Uuid) -> Proof<Uuid> {
    Ok(sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'a new value', grace => '2 seconds')",
            &[&old],
        )
        .await?)
}

/// Waits until the use of a version by a service is known.
async fn used(sql: &Session, id: Uuid, service: &str) {
    eventually("the use is known", || async {
        sql.one::<bool>(
            "SELECT last_used_at IS NOT NULL FROM control_plane.secret_consumers WHERE secret_id = $1 AND service = $2",
            &[&id, &service],
        )
        .await
        .ok()?
        .then_some(())
    })
    .await;
}

async fn destroyed(sql: &Session, id: Uuid) {
    eventually("it is destroyed", || async {
        sql.one::<bool>(
            "SELECT destroyed_at IS NOT NULL FROM control_plane.secrets WHERE id = $1",
            &[&id],
        )
        .await
        .ok()?
        .then_some(())
    })
    .await;
}

async fn held(sql: &Session) -> Proof<Vec<Value>> {
    Ok(sql
        .all(
            "SELECT body::jsonb->'data' FROM control_plane.outbox WHERE type = 'secret.grace_held' ORDER BY id",
            &[],
        )
        .await?)
}

#[tokio::test]
async fn a_version_is_held_until_its_verified_readers_have_moved_on() -> Proof {
    let (cluster, sql) = server().await?;
    sql.run("SELECT control_plane.set_policy('p', hold_for_stragglers => true, hold_limit => '5 minutes')")
        .await?;
    let worker = verified(&cluster, &sql, "worker").await?;
    let held_one = create(&sql, "held").await?;
    let left_one = create(&sql, "left").await?;
    worker.rows(READ, &[&held_one]).await?;
    // Anybody can say that he is somebody.
    sql.rows(
        "SELECT control_plane.get_secret($1, 'somebody')",
        &[&left_one],
    )
    .await?;
    used(&sql, held_one, "worker").await;
    used(&sql, left_one, "somebody").await;
    let new = rotate(&sql, held_one).await?;
    rotate(&sql, left_one).await?;
    destroyed(&sql, left_one).await;
    // And neither can he end a hold.
    sql.rows("SELECT control_plane.get_secret($1, 'worker')", &[&new])
        .await?;
    used(&sql, new, "worker").await;
    let until = tokio::time::Instant::now() + Duration::from_secs(9);
    while tokio::time::Instant::now() < until {
        worker.rows(READ, &[&held_one]).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = held(&sql).await?;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["secret_id"], json!(held_one));
    assert_eq!(told[0]["stragglers"], json!(["worker"]));
    let records: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'secret.grace_held' AND actor = 'pg_secrets'",
            &[],
        )
        .await?;
    assert_eq!(records, 1);
    let counted: bool = sql
        .one(
            "SELECT held_from = superseded_at + '2 seconds' AND expires_at > clock_timestamp()
                 AND expires_at <= held_from + '5 minutes' FROM control_plane.secrets WHERE id = $1",
            &[&held_one],
        )
        .await?;
    assert!(counted);

    worker.rows(READ, &[&new]).await?;
    destroyed(&sql, held_one).await;
    let refused = worker.refused(READ, &[&held_one]).await;
    assert_eq!(refused.state, "PT410", "{refused:?}");
    let stray: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.direct_change'",
            &[],
        )
        .await?;
    assert_eq!(stray, 0);
    Ok(())
}

#[tokio::test]
async fn a_hold_ends_at_its_limit_and_without_a_policy_there_is_none() -> Proof {
    let (cluster, sql) = server().await?;
    let worker = verified(&cluster, &sql, "worker").await?;
    let free = create(&sql, "free").await?;
    worker.rows(READ, &[&free]).await?;
    used(&sql, free, "worker").await;
    rotate(&sql, free).await?;
    destroyed(&sql, free).await;
    assert!(held(&sql).await?.is_empty());

    sql.run("SELECT control_plane.set_policy('p', hold_for_stragglers => true, hold_limit => '3 seconds')")
        .await?;
    let limited = create(&sql, "limited").await?;
    worker.rows(READ, &[&limited]).await?;
    used(&sql, limited, "worker").await;
    rotate(&sql, limited).await?;
    destroyed(&sql, limited).await;
    let lived: String = sql
        .one(
            "SELECT (expires_at - superseded_at)::text FROM control_plane.secrets WHERE id = $1",
            &[&limited],
        )
        .await?;
    assert_eq!(lived, "00:00:05");
    assert_eq!(held(&sql).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_due_is_rotated_or_told_of_once() -> Proof {
    let (_cluster, sql) = server().await?;
    for (name, rotation) in [
        (
            "made",
            "rotate_every => '1 day', length => 24, alphabet => 'abc'",
        ),
        ("by hand", "rotate_every => '1 day'"),
        ("deleted", "rotate_every => '1 day'"),
        (
            "later",
            "rotate_every => '1 day', length => 24, alphabet => 'abc'",
        ),
    ] {
        let id = create(&sql, name).await?;
        sql.rows(
            &format!("SELECT control_plane.set_rotation($1, {rotation})"),
            &[&id],
        )
        .await?;
    }
    sql.run(
        "SELECT control_plane.delete_secret(control_plane.secret_id('p', 'deleted'));
         UPDATE control_plane.rotations SET next_rotation_at = clock_timestamp() WHERE chain_id IN (
             SELECT chain_id FROM control_plane.secrets WHERE name <> 'later')",
    )
    .await?;
    let seen = "SELECT jsonb_build_array(o.type, o.name) FROM control_plane.outbox AS o
        WHERE o.type IN ('secret.rotated', 'secret.rotation_due') ORDER BY 1";
    let expected = [
        json!(["secret.rotated", "made"]),
        json!(["secret.rotation_due", "by hand"]),
    ];
    eventually("both are seen to", || async {
        (sql.all::<Value>(seen, &[]).await.ok()?.len() == 2).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(sql.all::<Value>(seen, &[]).await?, expected);
    let made: Value = sql
        .one(
            "SELECT jsonb_build_array(version, created_by, rotation_reason, value ~ '^[abc]{24}$')
             FROM control_plane.get_secret_by_name('p', 'made')",
            &[],
        )
        .await?;
    assert_eq!(made, json!([2, "pg_secrets", "scheduled", true]));
    let records: Vec<String> = sql
        .all(
            "SELECT action || ' ' || name FROM control_plane.audit_logs WHERE actor = 'pg_secrets' AND action LIKE 'secret.rotat%' ORDER BY 1",
            &[],
        )
        .await?;
    assert_eq!(
        records,
        ["secret.rotated made", "secret.rotation_due by hand"]
    );
    let next: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.rotations WHERE next_rotation_at > clock_timestamp() + '20 hours'",
            &[],
        )
        .await?;
    assert_eq!(next, 3);
    Ok(())
}

#[tokio::test]
async fn somebody_who_uses_a_services_name_does_not_hide_who_still_reads_the_old_version() -> Proof
{
    let (cluster, sql) = server().await?;
    let old = create(&sql, "hidden").await?;
    let bound = verified(&cluster, &sql, "real").await?;
    let name = login(&sql).await?;
    sql.rows(
        "SELECT control_plane.grant_project($1, 'read', 'p')",
        &[&name],
    )
    .await?;
    let stranger = cluster.connect(&name, "postgres").await?;
    bound.rows(READ, &[&old]).await?;
    // More names than a warning lists.
    stranger
        .rows(
            "SELECT control_plane.get_secret($1, 'a' || i) FROM generate_series(1, 150) AS i",
            &[&old],
        )
        .await?;
    used(&sql, old, "real").await;
    used(&sql, old, "a150").await;
    sql.run("ALTER SYSTEM SET pg_secrets.expiry_warning = '1s'")
        .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    let new: Uuid = sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'a new value', grace => '8 seconds')",
            &[&old],
        )
        .await?;
    stranger
        .rows("SELECT control_plane.get_secret($1, 'real')", &[&new])
        .await?;
    used(&sql, new, "real").await;
    let broken: Vec<String> = sql
        .all(
            "SELECT service FROM control_plane.preview($1, 'end_grace') WHERE service = 'real'",
            &[&old],
        )
        .await?;
    assert_eq!(broken, ["real"]);
    let warned: Value = eventually("the warning", || async {
        sql.one(
            "SELECT body::jsonb->'data' FROM control_plane.outbox WHERE type = 'secret.expiring'",
            &[],
        )
        .await
        .ok()
    })
    .await;
    assert_eq!(warned["straggler_count"], 151);
    assert_eq!(
        warned["stragglers"][0], "real",
        "who is vouched for comes first"
    );
    assert_eq!(warned["stragglers"].as_array().map(Vec::len), Some(100));
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_restored_is_not_rotated_for_what_came_due_meanwhile() -> Proof {
    let (_cluster, sql) = server().await?;
    let id = create(&sql, "back").await?;
    sql.rows(
        "SELECT control_plane.set_rotation($1, interval '1 hour', 20, 'abcdef')",
        &[&id],
    )
    .await?;
    sql.rows("SELECT control_plane.delete_secret($1)", &[&id])
        .await?;
    sql.run("UPDATE control_plane.rotations SET next_rotation_at = clock_timestamp() - interval '1 minute'")
        .await?;
    sql.rows("SELECT control_plane.restore_secret($1)", &[&id])
        .await?;
    sql.rows("SELECT control_plane.run_maintenance()", &[])
        .await?;
    let version: i32 = sql
        .one(
            "SELECT version FROM control_plane.get_secret_by_name('p', 'back')",
            &[],
        )
        .await?;
    assert_eq!(version, 1);
    let ahead: bool = sql
        .one(
            "SELECT next_rotation_at > clock_timestamp() FROM control_plane.rotations",
            &[],
        )
        .await?;
    assert!(ahead);
    Ok(())
}
