//! When a webhook is sent, and when not: order, limits, retries, what receivers ask for.

use crate::delivery_scene::{PROJECT, scene};
use pg_secrets_tests::{Proof, Received, Reply, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

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
