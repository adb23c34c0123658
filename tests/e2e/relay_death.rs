//! Companions that die: a webhook that is owed is delivered all the same, under one webhook-id.

use pg_secrets_tests::{Proof, Received, Sink, TestApp, eventually};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const SETTINGS: &str = "fsync = off\npg_secrets.retry_schedule = '1s, 1s, 1s, 2s'";

/// A companion, a sink, and a secret of which the sink is told.
struct Scene {
    app: TestApp,
    sink: Sink,
    id: String,
}

async fn scene() -> Proof<Scene> {
    let app = TestApp::start(SETTINGS).await;
    let sink = Sink::start().await;
    let api = app.api();
    let made = api
        .post(
            "/api/secrets",
            json!({"project_id": "relay", "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    api.post(
        "/api/webhooks",
        json!({"project_id": "relay", "url": sink.url("/all")}),
    )
    .await?
    .expect(201)?;
    Ok(Scene {
        id: made.id().to_owned(),
        app,
        sink,
    })
}

impl Scene {
    async fn rotate(&self) -> Proof {
        let api = self.app.api();
        api.post(
            &format!("/api/secrets/{}/rotate", self.id),
            json!({"value": "second"}),
        )
        .await?
        .expect(201)?;
        Ok(())
    }

    async fn status_is(&self, wanted: &str) -> Proof {
        let sql = self.app.sql().await?;
        eventually(wanted, || async {
            let status: Vec<String> = sql
                .all("SELECT status FROM control_plane.deliveries", &[])
                .await
                .ok()?;
            (status == [wanted]).then_some(())
        })
        .await;
        Ok(())
    }
}

fn assert_one_message(received: &[Received]) {
    for one in received {
        assert_eq!(one.header("webhook-id"), received[0].header("webhook-id"));
        assert!(!one.header("webhook-id").is_empty());
        assert_eq!(one.body, received[0].body);
    }
}

#[tokio::test]
async fn a_rotation_made_while_no_companion_lives_is_delivered_by_the_next_one() -> Proof {
    let mut scene = scene().await?;
    scene.app.kill_companion();
    let sql = scene.app.sql().await?;
    sql.rows(
        "SELECT control_plane.rotate_secret($1::text::uuid, 'second')",
        &[&scene.id],
    )
    .await?;
    scene.app.resume_companion();
    let received = scene.sink.wait_for("/all", 1).await;
    assert_eq!(received.len(), 1);
    scene.status_is("delivered").await
}

#[tokio::test]
async fn a_companion_killed_between_two_tries_is_followed_by_one_that_goes_on() -> Proof {
    let mut scene = scene().await?;
    scene.sink.answer(500, Duration::ZERO);
    scene.rotate().await?;
    scene.sink.wait_for("/all", 1).await;
    let sql = scene.app.sql().await?;
    eventually("the outcome of the first try", || async {
        let failed: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.deliveries WHERE last_status = 500 AND leased_until IS NULL",
                &[],
            )
            .await
            .ok()?;
        (failed == 1).then_some(())
    })
    .await;
    scene.app.kill_companion();
    scene.sink.answer(204, Duration::ZERO);
    let before = scene.sink.received().len();
    scene.app.resume_companion();
    let received = scene.sink.wait_for("/all", before + 1).await;
    assert_one_message(&received);
    scene.status_is("delivered").await
}

#[tokio::test]
async fn a_companion_killed_in_the_middle_of_a_delivery_is_followed_by_one_that_repeats_it() -> Proof
{
    let mut scene = scene().await?;
    scene.sink.answer(204, Duration::from_secs(60));
    scene.rotate().await?;
    scene.sink.wait_for("/all", 1).await;
    scene.app.kill_companion();
    scene.sink.answer(204, Duration::ZERO);
    scene.app.resume_companion();
    let sql = scene.app.sql().await?;
    if std::env::var_os("PG_SECRETS_SOAK").is_none() {
        // The dead companion's lease runs for a minute; its end is brought forward.
        sql.rows(
            "UPDATE control_plane.deliveries SET leased_until = clock_timestamp()",
            &[],
        )
        .await?;
    } else {
        tokio::time::sleep(Duration::from_secs(61)).await;
    }
    let received = scene.sink.wait_for("/all", 2).await;
    assert_eq!(received.len(), 2);
    assert_one_message(&received);
    scene.status_is("delivered").await
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_by_the_schedule_and_then_given_up() -> Proof {
    let scene = scene().await?;
    scene.sink.answer(503, Duration::ZERO);
    scene.rotate().await?;
    let received = scene.sink.wait_for("/all", 5).await;
    assert_one_message(&received);
    for pair in received.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(990), "{pause:?}");
    }
    scene.status_is("failed").await
}

#[tokio::test]
async fn a_server_killed_after_a_rotation_has_lost_neither_it_nor_its_webhook() -> Proof {
    let mut scene = scene().await?;
    scene.app.kill_companion();
    let sql = scene.app.sql().await?;
    let new: Uuid = sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1::text::uuid, 'second')",
            &[&scene.id],
        )
        .await?;
    drop(sql);
    scene.app.cluster.kill9();
    scene.app.cluster.resume();
    let sql = scene.app.sql().await?;
    let value: String = sql
        .one("SELECT value FROM control_plane.get_secret($1)", &[&new])
        .await?;
    assert_eq!(value, "second");
    scene.app.resume_companion();
    let received = scene.sink.wait_for("/all", 1).await;
    assert_eq!(received[0].json()?["data"]["secret_id"], new.to_string());
    Ok(())
}
