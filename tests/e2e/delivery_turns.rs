//! Nobody's webhooks wait for somebody else's: projects take turns, each has a share and no more, and what
//! an old URL answers late says nothing of the new one.

use crate::delivery_scene::{PROJECT, Scene, scene};
use pg_secrets_tests::{Proof, Reply, eventually};
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Another project's.
const GREEDY: &str = "greedy";

impl Scene {
    /// So many endpoints of the other project, all at this path.
    async fn greedy(&self, path: &str, count: i32) -> Proof {
        let create =
            "SELECT control_plane.create_endpoint($1, $2) FROM generate_series(1, $3::integer)";
        let url = self.sink.url(path);
        self.sql.rows(create, &[&GREEDY, &url, &count]).await?;
        Ok(())
    }

    /// A new secret of the other project.
    async fn create_greedy(&self, name: &str) -> Proof {
        let create = "SELECT id FROM control_plane.create_secret($1, $2, 'a value')";
        self.sql.rows(create, &[&GREEDY, &name]).await?;
        Ok(())
    }
}

#[tokio::test]
async fn receivers_that_hang_use_up_their_projects_share_and_delay_no_other() -> Proof {
    let scene = scene("pg_secrets.project_concurrency = 8").await?;
    scene.sink.answer_at(
        "/hang",
        Reply {
            after: Duration::from_secs(60),
            ..Reply::status(204)
        },
    );
    scene.greedy("/hang", 40).await?;
    for number in 0..5 {
        scene.create_greedy(&number.to_string()).await?;
    }
    scene.sink.wait_for("/hang", 8).await;
    let quick = scene.endpoint("/quick").await?;
    let begun = Instant::now();
    scene.create("of another project").await?;
    scene.wait(&quick, "delivered", 1).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let under_way = "SELECT count(*) FROM control_plane.deliveries AS d
        JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id
        WHERE e.project_id = $1 AND d.leased_until > clock_timestamp()";
    assert_eq!(scene.sql.one::<i64>(under_way, &[&GREEDY]).await?, 8);
    Ok(())
}

#[tokio::test]
async fn what_is_under_way_to_a_deleted_endpoint_counts_until_it_ends() -> Proof {
    let scene = scene("pg_secrets.project_concurrency = 4").await?;
    scene.sink.answer_at(
        "/hang",
        Reply {
            after: Duration::from_secs(60),
            ..Reply::status(204)
        },
    );
    scene.greedy("/hang", 4).await?;
    scene.create_greedy("first").await?;
    scene.sink.wait_for("/hang", 4).await;
    let delete = "SELECT control_plane.delete_endpoint(id) FROM control_plane.list_endpoints($1)";
    scene.sql.rows(delete, &[&GREEDY]).await?;
    scene.greedy("/hang", 4).await?;
    scene.create_greedy("second").await?;
    // Long enough for a relay that thinks that there is room.
    let quick = scene.endpoint("/quick").await?;
    scene.create("of another project").await?;
    scene.wait(&quick, "delivered", 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut received = scene.sink.received();
    received.retain(|one| one.path == "/hang");
    assert_eq!(received.len(), 4);
    Ok(())
}

/// Also where there are no statistics yet, as in the sessions of a companion that began on empty tables.
#[tokio::test]
async fn a_claim_reads_little_beside_what_waits() -> Proof {
    let mut scene = scene("autovacuum = off").await?;
    scene.app.kill_companion();
    scene.greedy("/greedy", 10).await?;
    let create = "SELECT count(control_plane.create_secret($1, i::text, 'a value')) FROM generate_series(1, 400) AS i";
    scene.sql.rows(create, &[&GREEDY]).await?;
    let fetched = "SELECT pg_stat_get_xact_tuples_fetched('control_plane.deliveries'::regclass)";
    let session = scene.app.sql().await?;
    session.run("BEGIN").await?;
    let before: i64 = session.one(fetched, &[]).await?;
    let claimed = session
        .rows("SELECT * FROM control_plane.claim_deliveries(64)", &[])
        .await?;
    let read = session.one::<i64>(fetched, &[]).await? - before;
    session.run("ROLLBACK").await?;
    assert_eq!(claimed.len(), 64);
    // Of 4,000: 32 of each endpoint are looked at, and a few rows for each that is taken.
    assert!(read < 1_000, "{read} rows");
    Ok(())
}

#[tokio::test]
async fn projects_take_turns_however_much_waits_for_one() -> Proof {
    let scene = scene("").await?;
    scene.greedy("/greedy", 30).await?;
    scene.endpoint("/modest").await?;
    scene.sql.run("BEGIN").await?;
    for number in 0..4 {
        scene.create_greedy(&number.to_string()).await?;
    }
    // The last of all to be due.
    for number in 0..4 {
        scene.create(&number.to_string()).await?;
    }
    // Claimed here before any relay sees them.
    let claimed: Vec<String> = scene
        .sql
        .all("SELECT url FROM control_plane.claim_deliveries(8)", &[])
        .await?;
    let modest = claimed
        .iter()
        .filter(|url| url.ends_with("/modest"))
        .count();
    assert_eq!((claimed.len(), modest), (8, 4), "{claimed:?}");
    scene.sql.run("ROLLBACK").await?;
    Ok(())
}

#[tokio::test]
async fn a_project_has_as_many_endpoints_as_it_may_and_no_race_gives_it_more() -> Proof {
    let scene = scene("pg_secrets.endpoints_per_project = 5").await?;
    let create = "SELECT (control_plane.create_endpoint($1, 'https://receiver.example/')).id";
    // One is under way while the others begin.
    scene.sql.run("BEGIN").await?;
    let first: Uuid = scene.sql.one(create, &[&PROJECT]).await?;
    let mut others = Vec::new();
    for _ in 0..8 {
        let session = scene.app.sql().await?;
        others.push(tokio::spawn(async move {
            session.one::<Uuid>(create, &[&PROJECT]).await
        }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.sql.run("COMMIT").await?;
    let mut made = 1;
    for other in others {
        match other.await.expect("a session ends") {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.state, "PT409", "{error:?}"),
        }
    }
    let kept = "SELECT count(*) FROM control_plane.endpoints WHERE project_id = $1";
    assert_eq!(
        (made, scene.sql.one::<i64>(kept, &[&PROJECT]).await?),
        (5, 5)
    );
    // Another project's count is its own, and what was deleted makes room.
    scene.sql.one::<Uuid>(create, &[&GREEDY]).await?;
    let refused = scene.sql.refused(create, &[&PROJECT]).await;
    assert_eq!(refused.state, "PT409");
    let delete = "SELECT control_plane.delete_endpoint($1)";
    scene.sql.rows(delete, &[&first]).await?;
    scene.sql.one::<Uuid>(create, &[&PROJECT]).await?;
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_answers_late_gets_one_at_a_time_until_it_answers_soon() -> Proof {
    let scene = scene("").await?;
    let mut late = Reply::status(204);
    late.after = Duration::from_millis(5300);
    scene.sink.answer_at("/all", late);
    let endpoint = scene.endpoint("/all").await?;
    scene.create("late").await?;
    scene.wait(&endpoint, "delivered", 1).await;
    let answering = "SELECT answering FROM control_plane.endpoints WHERE id = $1::text::uuid";
    assert!(!scene.sql.one::<bool>(answering, &[&endpoint]).await?);
    scene.sink.answer_at("/all", Reply::status(204));
    scene.create("soon").await?;
    scene.wait(&endpoint, "delivered", 2).await;
    assert!(scene.sql.one::<bool>(answering, &[&endpoint]).await?);
    Ok(())
}

#[tokio::test]
async fn what_the_old_url_answers_late_rules_over_nothing() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '1h'").await?;
    let mut gone = Reply::status(410);
    gone.after = Duration::from_millis(1500);
    scene.sink.answer_at("/old", gone);
    let endpoint = scene.endpoint("/old").await?;
    scene.create("name").await?;
    scene.sink.wait_for("/old", 1).await;
    let url = json!({"url": scene.sink.url("/new")});
    let path = format!("/api/webhooks/{endpoint}");
    scene.app.api().patch(&path, url).await?.expect(200)?;
    scene.wait(&endpoint, "delivered", 1).await;
    scene.sink.wait_for("/new", 1).await;
    let now = scene.get(&endpoint).await?;
    assert_eq!(now.body["enabled"], true);
    assert_eq!(now.body["failing_since"], serde_json::Value::Null);
    Ok(())
}

#[tokio::test]
async fn of_a_delivery_that_is_asked_for_again_and_again_the_last_tries_are_kept() -> Proof {
    let scene = scene("pg_secrets.retry_schedule = '1h'").await?;
    scene.sink.answer(500, Duration::ZERO);
    let endpoint = scene.endpoint("/all").await?;
    scene.create("name").await?;
    let tried =
        "SELECT id FROM control_plane.deliveries WHERE attempts = 1 AND leased_until IS NULL";
    let delivery: Uuid = eventually("the first try", || async {
        scene.sql.one(tried, &[]).await.ok()
    })
    .await;
    scene.sql.run("BEGIN").await?;
    for _ in 0..54 {
        // Claimed here before any relay sees it.
        let again = "SELECT control_plane.redeliver($1::text::uuid, $2)";
        scene.sql.rows(again, &[&endpoint, &delivery]).await?;
        let end = "SELECT control_plane.finish_delivery(delivery_id, attempt, 500)
            FROM control_plane.claim_deliveries(1)";
        assert!(scene.sql.one::<bool>(end, &[]).await?);
    }
    scene.sql.run("COMMIT").await?;
    let kept = "SELECT count(*), min(attempt), max(attempt) FROM control_plane.delivery_attempts";
    let rows = scene.sql.rows(kept, &[]).await?;
    let kept: (i64, i32, i32) = (rows[0].get(0), rows[0].get(1), rows[0].get(2));
    assert_eq!(kept, (50, 6, 55));
    Ok(())
}
