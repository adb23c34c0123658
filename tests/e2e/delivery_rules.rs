//! When a webhook is sent, and when not: order, limits, retries, what receivers ask for, the end.

use pg_secrets_tests::{Answer, Proof, Received, Reply, Session, Sink, TestApp, eventually};
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

const PROJECT: &str = "rules";

struct Scene {
    app: TestApp,
    sink: Sink,
    sql: Session,
}

async fn scene(settings: &str) -> Proof<Scene> {
    // A head of the audit would be one webhook more.
    let quiet = "fsync = off\npg_secrets.audit_head_interval = 0";
    let app = TestApp::start(&format!("{quiet}\n{settings}")).await;
    let sql = app.sql().await?;
    Ok(Scene {
        sink: Sink::start().await,
        sql,
        app,
    })
}

impl Scene {
    async fn endpoint(&self, path: &str) -> Proof<String> {
        let body = json!({"project_id": PROJECT, "url": self.sink.url(path)});
        let made = self
            .app
            .api()
            .post("/api/webhooks", body)
            .await?
            .expect(201)?;
        Ok(made.id().to_owned())
    }

    /// A new secret, of which the endpoints are told.
    async fn create(&self, name: &str) -> Proof<Uuid> {
        let create = "SELECT id FROM control_plane.create_secret($1, $2, 'a value')";
        Ok(self.sql.one(create, &[&PROJECT, &name]).await?)
    }

    async fn rotate(&self, id: Uuid) -> Proof<Uuid> {
        let rotate = "SELECT id FROM control_plane.rotate_secret($1, 'another value')";
        Ok(self.sql.one(rotate, &[&id]).await?)
    }

    async fn get(&self, endpoint: &str) -> Proof<Answer> {
        let path = format!("/api/webhooks/{endpoint}");
        Ok(self.app.api().get(&path).await?.expect(200)?)
    }

    /// Waits until so many deliveries to the endpoint have this status.
    async fn wait(&self, endpoint: &str, status: &str, count: i64) {
        let statement = "SELECT count(*) FROM control_plane.deliveries WHERE endpoint_id = $1::text::uuid AND status = $2";
        eventually(&format!("{count} {status}"), || async {
            let found: i64 = self.sql.one(statement, &[&endpoint, &status]).await.ok()?;
            (found == count).then_some(())
        })
        .await;
    }

    /// The time until the next try, in seconds.
    async fn wait_in_seconds(&self, endpoint: &str) -> f64 {
        let statement = "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8
            FROM control_plane.deliveries
            WHERE endpoint_id = $1::text::uuid AND attempts > 0 AND leased_until IS NULL";
        eventually("the end of a try", || async {
            self.sql.one(statement, &[&endpoint]).await.ok()
        })
        .await
    }
}

fn subject(webhook: &Received) -> (String, i64) {
    let body = webhook.json().expect("JSON");
    let version = body["data"]["new_version"].as_i64().unwrap_or(1);
    (
        body["data"]["name"].as_str().unwrap_or_default().to_owned(),
        version,
    )
}

#[tokio::test]
async fn what_is_of_one_secret_arrives_in_order_behind_what_fails_and_others_do_not_wait() -> Proof
{
    let scene = scene("pg_secrets.retry_schedule = '700ms, 700ms, 700ms, 700ms'").await?;
    let endpoint = scene.endpoint("/all").await?;
    scene.sink.answer(500, Duration::ZERO);
    let mut failing = scene.create("failing").await?;
    scene.sink.wait_for("/all", 1).await;
    scene.sink.answer(204, Duration::ZERO);
    for _ in 0..5 {
        failing = scene.rotate(failing).await?;
    }
    scene.create("other").await?;
    scene.wait(&endpoint, "delivered", 7).await;
    let received = scene.sink.received();
    let order: Vec<(String, i64)> = received.iter().map(subject).collect();
    let of = |name: &str| -> Vec<i64> {
        let of_name = order.iter().filter(|(of, _)| of == name);
        of_name.map(|(_, version)| *version).collect()
    };
    assert_eq!(of("failing"), [1, 1, 2, 3, 4, 5, 6]);
    // The other one was sent while the first waited for its second try.
    assert_eq!(order[1].0, "other", "{order:?}");
    // Those behind it went out as soon as it was through, not one a second.
    let took = received[7].at - received[2].at;
    assert!(took < Duration::from_secs(2), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_lets_the_next_one_go() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '300ms'").await?;
    let endpoint = scene.endpoint("/all").await?;
    scene.sink.answer(500, Duration::ZERO);
    let id = scene.create("name").await?;
    scene.rotate(id).await?;
    scene.wait(&endpoint, "failed", 2).await;
    let order: Vec<i64> = scene
        .sink
        .received()
        .iter()
        .map(|one| subject(one).1)
        .collect();
    assert_eq!(order, [1, 1, 2, 2]);
    Ok(())
}

#[tokio::test]
async fn no_more_than_the_limit_is_under_way_to_one_endpoint_and_none_waits_for_another() -> Proof {
    let scene = scene("pg_secrets.endpoint_concurrency = 3").await?;
    scene.sink.answer_at(
        "/slow",
        Reply {
            after: Duration::from_secs(3),
            ..Reply::status(204)
        },
    );
    scene.endpoint("/slow").await?;
    let quick = scene.endpoint("/quick").await?;
    let begun = Instant::now();
    for number in 0..40 {
        scene.create(&format!("secret {number}")).await?;
    }
    scene.wait(&quick, "delivered", 40).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    scene.sink.wait_for("/slow", 7).await;
    let mut slow = scene.sink.received();
    slow.retain(|one| one.path == "/slow");
    for window in slow.windows(4) {
        let apart = window[3].at - window[0].at;
        assert!(apart >= Duration::from_millis(2900), "{apart:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_gets_one_at_a_time() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '1h'").await?;
    // Nothing listens there.
    let body = json!({"project_id": PROJECT, "url": "http://127.0.0.1:9/"});
    let dead = scene
        .app
        .api()
        .post("/api/webhooks", body)
        .await?
        .expect(201)?;
    scene.create("first").await?;
    let answering = "SELECT answering FROM control_plane.endpoints WHERE id = $1::text::uuid";
    eventually("a try without an answer", || async {
        let answering: bool = scene.sql.one(answering, &[&dead.id()]).await.ok()?;
        (!answering).then_some(())
    })
    .await;
    scene.sql.run("BEGIN").await?;
    for name in ["second", "third", "fourth"] {
        scene.create(name).await?;
    }
    // Claimed here before any relay sees them.
    let claimed: Vec<String> = scene
        .sql
        .all(
            "SELECT webhook_id FROM control_plane.claim_deliveries(100)",
            &[],
        )
        .await?;
    assert_eq!(claimed.len(), 1);
    scene.sql.run("ROLLBACK").await?;
    Ok(())
}

#[tokio::test]
async fn retry_after_is_honoured_within_bounds_and_an_ordinary_error_slows_nothing_down() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '20s, 1h'").await?;
    for (path, status, retry_after, least, most, slowed) in [
        ("/none", 503, "", 18.0, 22.5, false),
        ("/more", 503, "100", 90.0, 101.0, false),
        ("/less", 503, "1", 18.0, 22.5, false),
        ("/far", 503, "100000", 3500.0, 3601.0, false),
        (
            "/date",
            503,
            "Fri, 31 Dec 2100 23:59:59 GMT",
            3500.0,
            3601.0,
            false,
        ),
        ("/slow", 429, "50", 48.0, 51.0, true),
        ("/gateway", 502, "", 18.0, 22.5, true),
        ("/late", 504, "", 18.0, 22.5, true),
        ("/plain", 500, "", 18.0, 22.5, false),
    ] {
        let mut reply = Reply::status(status);
        if !retry_after.is_empty() {
            reply.headers.push(("retry-after", retry_after.to_owned()));
            reply
                .headers
                .push(("date", "Fri, 01 Jan 2100 00:00:00 GMT".to_owned()));
        }
        scene.sink.answer_at(path, reply);
        let endpoint = scene.endpoint(path).await?;
        scene.create(path).await?;
        let wait = scene.wait_in_seconds(&endpoint).await;
        assert!((least..most).contains(&wait), "{path}: {wait}");
        let (slow_downs, not_before): (i32, Option<f64>) = {
            let rows = scene
                .sql
                .rows(
                    "SELECT slow_downs, extract(epoch FROM not_before - clock_timestamp())::float8
                     FROM control_plane.endpoints WHERE id = $1::text::uuid",
                    &[&endpoint],
                )
                .await?;
            (rows[0].get(0), rows[0].get(1))
        };
        assert_eq!(
            (slow_downs > 0, not_before.is_some()),
            (slowed, slowed),
            "{path}"
        );
        if path == "/slow" {
            assert!(not_before.is_some_and(|wait| wait > 40.0), "{not_before:?}");
        }
        let delete = format!("/api/webhooks/{endpoint}");
        scene.app.api().delete(&delete).await?.expect(204)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_slowed_down_gets_nothing_before_its_time() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '1s, 1s, 1s'").await?;
    let endpoint = scene.endpoint("/all").await?;
    let mut busy = Reply::status(429);
    busy.headers.push(("retry-after", "3".to_owned()));
    scene.sink.answer_at("/all", busy);
    scene.create("first").await?;
    let slowed = "SELECT slow_downs = 1 FROM control_plane.endpoints";
    eventually("the answer, stored", || async {
        scene.sql.one::<bool>(slowed, &[]).await.ok()?.then_some(())
    })
    .await;
    scene.sink.answer_at("/all", Reply::status(204));
    scene.create("second").await?;
    let received = scene.sink.wait_for("/all", 3).await;
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_millis(2900), "{waited:?}");
    scene.wait(&endpoint, "delivered", 2).await;
    let now = scene.get(&endpoint).await?;
    assert_eq!(now.body["not_before"], serde_json::Value::Null);
    assert_eq!(now.body["failing_since"], serde_json::Value::Null);
    Ok(())
}

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
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'endpoint.disabled' AND actor = 'secrets_companion'",
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
