//! Who uses which version: known within a second, and readers never wait for each other over it.

use pg_secrets_tests::{Cluster, Key, Proof, Session, eventually};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Within which time a use is stored, and what a busy machine may take beyond.
const STORED: Duration = Duration::from_millis(1000 + 500);

async fn start() -> Proof<(Cluster, Session)> {
    let cluster = Cluster::start(Key::new(), "fsync = off");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    Ok((cluster, sql))
}

async fn create(sql: &Session, name: &str) -> Proof<Uuid> {
    let id = sql
        .one(
            "SELECT id FROM control_plane.create_secret('p', $1, 'a value')",
            &[&name],
        )
        .await?;
    Ok(id)
}

async fn read(sql: &Session, id: Uuid, service: &str) -> Proof {
    sql.rows(
        "SELECT value FROM control_plane.get_secret($1, $2)",
        &[&id, &service],
    )
    .await?;
    Ok(())
}

/// When a service last used a version.
async fn last_used(sql: &Session, id: Uuid, service: &str) -> Option<String> {
    sql.one(
        "SELECT last_used_at::text FROM control_plane.secret_consumers
         WHERE secret_id = $1 AND service = $2 AND last_used_at IS NOT NULL",
        &[&id, &service],
    )
    .await
    .ok()
}

/// An endpoint of a service, and nobody behind it: deliveries are decided in the database.
async fn endpoint(sql: &Session, service: &str) -> Proof<Uuid> {
    let id = sql
        .one(
            "SELECT id FROM control_plane.create_endpoint('p', 'http://127.0.0.1:9/', $1)",
            &[&service],
        )
        .await?;
    Ok(id)
}

/// The types of the events that are to be delivered to an endpoint.
async fn told(sql: &Session, endpoint: Uuid) -> Proof<Vec<String>> {
    let types = sql
        .all(
            "SELECT o.type FROM control_plane.deliveries AS d JOIN control_plane.outbox AS o ON o.id = d.event_id
             WHERE d.endpoint_id = $1 ORDER BY o.id",
            &[&endpoint],
        )
        .await?;
    Ok(types)
}

#[tokio::test]
async fn two_readers_of_one_service_never_wait_for_each_other() -> Proof {
    let (cluster, sql) = start().await?;
    let (a, b) = (create(&sql, "a").await?, create(&sql, "b").await?);
    let (one, other) = (cluster.sql().await?, cluster.sql().await?);
    for session in [&one, &other] {
        session
            .run("SET statement_timeout = '2s'; SET lock_timeout = '100ms'; SET deadlock_timeout = '50ms'; BEGIN")
            .await?;
    }
    read(&one, a, "svc").await?;
    read(&other, b, "svc").await?;
    read(&one, b, "svc").await?;
    read(&other, a, "svc").await?;
    // Both are known while the readers' transactions are open, and stay so when those are rolled back.
    for id in [a, b] {
        eventually("the use", || last_used(&sql, id, "svc")).await;
    }
    one.run("ROLLBACK").await?;
    other.run("ROLLBACK").await?;
    for id in [a, b] {
        assert!(last_used(&sql, id, "svc").await.is_some());
    }
    Ok(())
}

#[tokio::test]
async fn a_use_is_stored_within_a_second_and_at_most_once_a_minute() -> Proof {
    let (_cluster, sql) = start().await?;
    let id = create(&sql, "n").await?;
    // In a read-only transaction too.
    sql.run("SET default_transaction_read_only = on").await?;
    let began = Instant::now();
    read(&sql, id, "svc").await?;
    let first = eventually("the use", || last_used(&sql, id, "svc")).await;
    assert!(began.elapsed() < STORED, "{:?}", began.elapsed());
    read(&sql, id, "svc").await?;
    read(&sql, id, "other").await?;
    // The other one came later, and is there: so the second use was gone through as well.
    eventually("the other's use", || last_used(&sql, id, "other")).await;
    assert_eq!(last_used(&sql, id, "svc").await, Some(first));
    // A move to another version is seen at once.
    sql.run("SET default_transaction_read_only = off").await?;
    let new: Uuid = sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'another')",
            &[&id],
        )
        .await?;
    let began = Instant::now();
    read(&sql, new, "svc").await?;
    eventually("the move", || last_used(&sql, new, "svc")).await;
    assert!(began.elapsed() < STORED, "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_reader_from_just_before_a_rotation_is_told_of_it_once() -> Proof {
    let (_cluster, sql) = start().await?;
    for round in 0..20 {
        let service = format!("svc-{round}");
        let id = create(&sql, &format!("n{round}")).await?;
        let endpoint = endpoint(&sql, &service).await?;
        read(&sql, id, &service).await?;
        if round % 2 == 1 {
            // The worker may be in the middle of it by then.
            tokio::time::sleep(Duration::from_millis(10 * round)).await;
        }
        sql.rows("SELECT control_plane.rotate_secret($1, 'another')", &[&id])
            .await?;
        eventually("the delivery", || async {
            let told = told(&sql, endpoint).await.ok()?;
            (told == ["secret.rotated"]).then_some(())
        })
        .await;
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_from_during_a_rotation_is_told_of_it_and_keeps_nobody_waiting() -> Proof {
    let (cluster, sql) = start().await?;
    let id = create(&sql, "n").await?;
    let elsewhere = create(&sql, "elsewhere").await?;
    let endpoint = endpoint(&sql, "late").await?;
    let rotating = cluster.sql().await?;
    rotating.run("BEGIN").await?;
    rotating
        .rows("SELECT control_plane.rotate_secret($1, 'another')", &[&id])
        .await?;
    read(&sql, id, "late").await?;
    read(&sql, elsewhere, "late").await?;
    // What does not concern that secret is stored meanwhile.
    let began = Instant::now();
    eventually("the other use", || last_used(&sql, elsewhere, "late")).await;
    assert!(began.elapsed() < STORED, "{:?}", began.elapsed());
    assert_eq!(last_used(&sql, id, "late").await, None);
    rotating.run("COMMIT").await?;
    eventually("the use", || last_used(&sql, id, "late")).await;
    assert_eq!(told(&sql, endpoint).await?, ["secret.rotated"]);
    Ok(())
}

#[tokio::test]
async fn somebody_elses_open_transaction_delays_what_it_concerns_alone() -> Proof {
    let (cluster, sql) = start().await?;
    let id = create(&sql, "n").await?;
    let holding = cluster.sql().await?;
    holding.run("BEGIN").await?;
    holding
        .rows("SELECT control_plane.register_consumer($1, 'held')", &[&id])
        .await?;
    for service in ["held", "free"] {
        read(&sql, id, service).await?;
    }
    eventually("the other's use", || last_used(&sql, id, "free")).await;
    read(&sql, id, "later").await?;
    eventually("a later use", || last_used(&sql, id, "later")).await;
    holding.run("COMMIT").await?;
    eventually("the use that was held up", || last_used(&sql, id, "held")).await;
    // Of what is gone nothing is kept.
    let gone = create(&sql, "gone").await?;
    read(&sql, gone, "svc").await?;
    sql.run(&format!(
        "DELETE FROM control_plane.secrets WHERE id = '{gone}'"
    ))
    .await?;
    read(&sql, id, "last").await?;
    eventually("the last use", || last_used(&sql, id, "last")).await;
    let deferred: i64 = sql
        .one("SELECT count(*) FROM control_plane.usage_deferred", &[])
        .await?;
    assert_eq!(deferred, 0);
    Ok(())
}

#[tokio::test]
async fn an_expectation_never_waits_for_who_holds_the_current_version() -> Proof {
    let (cluster, sql) = start().await?;
    let old = create(&sql, "n").await?;
    let elsewhere = create(&sql, "elsewhere").await?;
    let new: Uuid = sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'another')",
            &[&old],
        )
        .await?;
    let newest: Uuid = {
        let rotating = cluster.sql().await?;
        rotating.run("BEGIN").await?;
        let newest = rotating
            .one(
                "SELECT id FROM control_plane.rotate_secret($1, 'the newest')",
                &[&new],
            )
            .await?;
        read(&sql, old, "late").await?;
        read(&sql, elsewhere, "late").await?;
        eventually("the other use", || last_used(&sql, elsewhere, "late")).await;
        assert_eq!(last_used(&sql, old, "late").await, None);
        rotating.run("COMMIT").await?;
        newest
    };
    eventually("the use", || last_used(&sql, old, "late")).await;
    let expected: Vec<Uuid> = sql
        .all(
            "SELECT secret_id FROM control_plane.secret_consumers WHERE service = 'late' AND last_used_at IS NULL",
            &[],
        )
        .await?;
    assert_eq!(expected, [newest]);
    Ok(())
}
