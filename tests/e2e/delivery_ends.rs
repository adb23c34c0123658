//! How deliveries and endpoints end: gone, failing for too long, sent once more, swept.

use crate::delivery_scene::{Scene, scene};
use pg_secrets_tests::{Proof, Reply, eventually};
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

#[tokio::test]
async fn gone_disables_the_endpoint_and_says_so_once() -> Proof {
    let scene = scene("").await?;
    let watcher = scene.endpoint("/watcher").await?;
    let gone = scene.endpoint("/gone").await?;
    scene.sink.answer_at("/gone", Reply::status(410));
    scene.sql.run("BEGIN").await?;
    for number in 0..5 {
        scene.create(&format!("secret {number}")).await?;
    }
    scene.sql.run("COMMIT").await?;
    scene.wait(&watcher, "delivered", 6).await;
    scene.wait(&gone, "pending", 0).await;
    let now = scene.get(&gone).await?;
    assert_eq!(now.body["enabled"], false);
    assert_eq!(now.text("disabled_reason"), "gone");
    let told: Vec<serde_json::Value> = scene
        .sink
        .received()
        .iter()
        .filter_map(|one| one.json().ok())
        .filter(|body| body["type"] == "endpoint.disabled")
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["data"]["endpoint_id"], json!(gone));
    assert_eq!(told[0]["data"]["reason"], "gone");
    let recorded: i64 = scene
        .sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'endpoint.disabled' AND actor = 'pg_secrets'",
            &[],
        )
        .await?;
    assert_eq!(recorded, 1);
    let direct: i64 = scene
        .sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.direct_change'",
            &[],
        )
        .await?;
    assert_eq!(direct, 0);

    // Its dead letters go out once it is enabled and they are asked for; with their old ids.
    let before: HashMap<String, usize> = HashMap::new();
    let mut ids = before;
    for one in scene
        .sink
        .received()
        .iter()
        .filter(|one| one.path == "/gone")
    {
        *ids.entry(one.header("webhook-id").to_owned()).or_default() += 1;
    }
    scene.sink.answer_at("/gone", Reply::status(204));
    let api = scene.app.api();
    let path = format!("/api/webhooks/{gone}");
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    let refused = api
        .post(&format!("{path}/redeliver"), since.clone())
        .await?;
    assert_eq!(refused.status, 409);
    api.patch(&path, json!({"enabled": true}))
        .await?
        .expect(200)?;
    let again = api
        .post(&format!("{path}/redeliver"), since)
        .await?
        .expect(202)?;
    assert_eq!(again.body["redelivered"], 5);
    scene.wait(&gone, "delivered", 5).await;
    let first = ids.keys().next().expect("a webhook").clone();
    let same = scene.sink.received();
    let same = same
        .iter()
        .filter(|one| one.path == "/gone" && one.header("webhook-id") == first);
    assert_eq!(same.count(), 2);
    Ok(())
}

#[tokio::test]
async fn one_delivery_is_sent_again_and_its_schedule_begins_anew() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '10ms'").await?;
    let endpoint = scene.endpoint("/all").await?;
    scene.create("name").await?;
    scene.wait(&endpoint, "delivered", 1).await;
    let delivery: Uuid = scene
        .sql
        .one("SELECT id FROM control_plane.deliveries", &[])
        .await?;
    scene.sink.answer(500, Duration::ZERO);
    let path = format!("/api/webhooks/{endpoint}/redeliver");
    let api = scene.app.api();
    let again = api.post(&path, json!({"delivery_id": delivery})).await?;
    assert_eq!(again.expect(202)?.body["redelivered"], 1);
    scene.wait(&endpoint, "failed", 1).await;
    let received = scene.sink.received();
    assert_eq!(received.len(), 3);
    for one in &received {
        assert_eq!(one.header("webhook-id"), received[0].header("webhook-id"));
        assert_eq!(one.body, received[0].body);
    }
    let tries: i64 = scene
        .sql
        .one("SELECT count(*) FROM control_plane.delivery_attempts", &[])
        .await?;
    assert_eq!(tries, 3);
    for body in [
        json!({}),
        json!({"until": "2030-01-01T00:00:00Z"}),
        json!({"delivery_id": delivery, "since": "2020-01-01T00:00:00Z"}),
        json!({"since": "2030-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"}),
    ] {
        assert_eq!(api.post(&path, body.clone()).await?.status, 400, "{body}");
    }
    let unknown = json!({"delivery_id": Uuid::new_v4()});
    assert_eq!(api.post(&path, unknown).await?.status, 404);
    let outside = json!({"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"});
    assert_eq!(api.post(&path, outside).await?.body["redelivered"], 0);
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_fails_for_too_long_is_disabled_and_one_success_begins_anew() -> Proof {
    let scene = scene(
        "pg_secrets.endpoint_failure_limit = 4s\npg_secrets.retry_schedule = '500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms, 500ms'",
    )
    .await?;
    let watcher = scene.endpoint("/watcher").await?;
    let endpoint = scene.endpoint("/failing").await?;
    scene.sink.answer_at("/failing", Reply::status(500));
    scene.create("first").await?;
    scene.sink.wait_for("/failing", 3).await;
    scene.sink.answer_at("/failing", Reply::status(204));
    scene.wait(&endpoint, "delivered", 1).await;
    assert_eq!(
        scene.get(&endpoint).await?.body["failing_since"],
        serde_json::Value::Null
    );

    scene.sink.answer_at("/failing", Reply::status(500));
    let begun = Instant::now();
    scene.create("second").await?;
    scene.wait(&watcher, "delivered", 3).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(4), "{took:?}");
    let now = scene.get(&endpoint).await?;
    assert_eq!(now.body["enabled"], false);
    assert_eq!(now.text("disabled_reason"), "failing");
    scene.wait(&endpoint, "failed", 1).await;
    let told = scene.sink.received();
    let told = told
        .iter()
        .filter_map(|one| one.json().ok())
        .filter(|body| body["type"] == "endpoint.disabled");
    assert_eq!(told.count(), 1);
    Ok(())
}

#[tokio::test]
async fn what_waits_for_a_mended_receiver_goes_at_once_when_it_is_asked_for_or_the_address_is_new()
-> Proof {
    let scene = scene("pg_secrets.retry_schedule = '1d, 1d'").await?;
    let endpoint = scene.endpoint("/broken").await?;
    let path = format!("/api/webhooks/{endpoint}");
    let api = scene.app.api();
    for (turn, name, delivered) in [(0, "first", 1), (1, "second", 2)] {
        scene.sink.answer_at("/broken", Reply::status(500));
        scene.create(name).await?;
        scene.sink.wait_for("/broken", turn + 1 + turn).await;
        let waits = "SELECT EXISTS (SELECT FROM control_plane.deliveries WHERE status = 'pending' AND attempts > 0 AND leased_until IS NULL)";
        eventually("the end of a try", || async {
            let waits: bool = scene.sql.one(waits, &[]).await.ok()?;
            waits.then_some(())
        })
        .await;
        if turn == 0 {
            scene.sink.answer_at("/broken", Reply::status(204));
            let again = json!({"since": "2020-01-01T00:00:00Z"});
            let again = api.post(&format!("{path}/redeliver"), again).await?;
            assert_eq!(again.expect(202)?.body["redelivered"], 1);
        } else {
            api.patch(&path, json!({"url": scene.sink.url("/whole")}))
                .await?
                .expect(200)?;
        }
        scene.wait(&endpoint, "delivered", delivered).await;
    }
    scene.sink.wait_for("/whole", 1).await;
    Ok(())
}

#[tokio::test]
async fn silence_is_no_failure_and_who_disables_is_told_in_the_log() -> Proof {
    let scene =
        scene("pg_secrets.endpoint_failure_limit = 5s\npg_secrets.retry_schedule = '100ms'")
            .await?;
    let endpoint = scene.endpoint("/quiet").await?;
    scene.sink.answer_at("/quiet", Reply::status(500));
    // Two tries, the last of them before the limit; then nothing for as long.
    scene.create("first").await?;
    scene.wait(&endpoint, "failed", 1).await;
    scene.sql.run("SELECT pg_sleep(5)").await?;
    scene.create("second").await?;
    scene.sink.wait_for("/quiet", 3).await;
    eventually("a second try", || async {
        let now = scene.get(&endpoint).await.ok()?;
        (now.body["enabled"] == false).then_some(())
    })
    .await;
    let tries = scene.sink.received().len();
    assert!(
        tries >= 4,
        "disabled by the first try of the second: {tries}"
    );
    let log = scene.app.cluster.log();
    assert!(log.contains(&format!("the endpoint {endpoint}")), "{log}");
    let actor: String = scene
        .sql
        .one(
            "SELECT actor FROM control_plane.audit_logs WHERE action = 'endpoint.disabled'",
            &[],
        )
        .await?;
    assert_eq!(actor, "pg_secrets");
    Ok(())
}

#[tokio::test]
async fn what_is_over_is_swept_and_what_tells_of_a_readable_version_stays() -> Proof {
    let scene = scene("pg_secrets.delivery_retention = 1s").await?;
    let endpoint = scene.endpoint("/all").await?;
    let first = scene.create("name").await?;
    let second = scene.rotate(first).await?;
    scene.wait(&endpoint, "delivered", 2).await;
    scene.sql.run("SELECT pg_sleep(1.2)").await?;
    let sweep = "SELECT control_plane.sweep_deliveries()";
    let count = "SELECT (SELECT count(*) FROM control_plane.deliveries) * 100
        + (SELECT count(*) FROM control_plane.outbox) * 10
        + (SELECT count(*) FROM control_plane.delivery_attempts)";
    assert!(!scene.sql.one::<bool>(sweep, &[]).await?);
    assert_eq!(scene.sql.one::<i64>(count, &[]).await?, 222);
    scene
        .sql
        .rows("SELECT control_plane.end_grace($1)", &[&first])
        .await?;
    scene.wait(&endpoint, "delivered", 3).await;
    scene.sql.run("SELECT pg_sleep(1.2)").await?;
    scene.sql.rows(sweep, &[]).await?;
    // What told of the first version is gone: its making, and its end.
    let left: Vec<Uuid> = scene
        .sql
        .all("SELECT secret_id FROM control_plane.outbox", &[])
        .await?;
    assert_eq!(left, [second]);
    assert_eq!(scene.sql.one::<i64>(count, &[]).await?, 111);
    Ok(())
}

impl Scene {
    /// Takes what is due, in place of a companion. Answers the deliveries in the order of their events.
    async fn claim(&self, lease: &str) -> Proof<Vec<Uuid>> {
        let claim =
            "SELECT delivery_id FROM control_plane.claim_deliveries(100, $1::text::interval)";
        Ok(self.sql.all(claim, &[&lease]).await?)
    }

    async fn status(&self, delivery: Uuid) -> Proof<String> {
        let status = "SELECT status FROM control_plane.deliveries WHERE id = $1";
        Ok(self.sql.one(status, &[&delivery]).await?)
    }
}

const FINISH: &str = "SELECT control_plane.finish_delivery($1, 1, $2)";

/// A scene without companion, with an endpoint and so many secrets of which it is to be told.
async fn unattended(secrets: usize) -> Proof<Scene> {
    let mut scene = scene("").await?;
    scene.app.kill_companion();
    let create = "SELECT control_plane.create_endpoint('rules', 'http://127.0.0.1:9/')";
    scene.sql.rows(create, &[]).await?;
    for number in 0..secrets {
        scene.create(&number.to_string()).await?;
    }
    Ok(scene)
}

#[tokio::test]
async fn a_try_that_fails_while_another_disables_the_endpoint_waits_for_nothing() -> Proof {
    let scene = unattended(2).await?;
    let claimed = scene.claim("1 minute").await?;
    let other = scene.app.sql().await?;
    scene.sql.run("BEGIN").await?;
    scene.sql.rows(FINISH, &[&claimed[0], &410_i32]).await?;
    // Whoever holds the endpoint holds up this end, and nobody else's for long.
    let held = other.refused(FINISH, &[&claimed[1], &500_i32]).await;
    assert_eq!(held.state, "55P03");
    scene.sql.run("COMMIT").await?;
    assert!(other.one::<bool>(FINISH, &[&claimed[1], &500_i32]).await?);
    assert_eq!(scene.status(claimed[1]).await?, "failed");
    Ok(())
}

#[tokio::test]
async fn what_a_dead_companion_held_of_a_disabled_endpoint_becomes_a_dead_letter() -> Proof {
    let scene = unattended(2).await?;
    let claimed = scene.claim("1 second").await?;
    scene.sql.rows(FINISH, &[&claimed[0], &410_i32]).await?;
    let sweep = "SELECT control_plane.sweep_deliveries()";
    scene.sql.rows(sweep, &[]).await?;
    assert_eq!(scene.status(claimed[1]).await?, "pending");
    scene.sql.run("SELECT pg_sleep(1)").await?;
    scene.sql.rows(sweep, &[]).await?;
    assert_eq!(scene.status(claimed[1]).await?, "failed");
    Ok(())
}

#[tokio::test]
async fn what_is_put_off_while_the_one_before_it_ends_goes_all_the_same() -> Proof {
    let scene = unattended(1).await?;
    let id: Uuid = scene
        .sql
        .one("SELECT control_plane.secret_id('rules', '0')", &[])
        .await?;
    scene.rotate(id).await?;
    let first = scene.claim("1 minute").await?;
    assert_eq!(first.len(), 1);
    let due = "UPDATE control_plane.deliveries SET next_attempt_at = clock_timestamp() WHERE attempts = 0";
    scene.sql.run(due).await?;
    // A claim that has seen the first one under way, and is not over when that ends.
    let other = scene.app.sql().await?;
    scene.sql.run("BEGIN").await?;
    assert!(scene.claim("1 minute").await?.is_empty());
    let held = other.refused(FINISH, &[&first[0], &204_i32]).await;
    assert_eq!(held.state, "55P03");
    scene.sql.run("COMMIT").await?;
    assert!(other.one::<bool>(FINISH, &[&first[0], &204_i32]).await?);
    assert_eq!(scene.claim("1 minute").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_claim_holds_for_its_lease_and_whoever_held_it_longer_ends_nothing() -> Proof {
    let scene = unattended(1).await?;
    let begun = Instant::now();
    let claimed = scene.claim("1 second").await?;
    assert_eq!(claimed.len(), 1);
    assert!(scene.claim("1 second").await?.is_empty());
    while scene.claim("1 minute").await? != claimed {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(
        !scene
            .sql
            .one::<bool>(FINISH, &[&claimed[0], &204_i32])
            .await?
    );
    assert_eq!(scene.status(claimed[0]).await?, "pending");
    Ok(())
}
