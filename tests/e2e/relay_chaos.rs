//! Two companions that are killed again and again, and receivers that fail: every event arrives at every
//! endpoint, and what is known to be delivered is not sent again.

use pg_secrets_tests::{Companion, Proof, Session, Sink, TestApp};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How much is tried: `make soak` runs it in full.
struct Extent {
    events: usize,
    endpoints: usize,
    kills: usize,
    patience: Duration,
}

fn extent() -> Extent {
    match std::env::var_os("PG_SECRETS_SOAK") {
        Some(_) => Extent {
            events: 5000,
            endpoints: 10,
            kills: 10,
            patience: Duration::from_secs(1800),
        },
        None => Extent {
            events: 100,
            endpoints: 4,
            kills: 3,
            patience: Duration::from_secs(180),
        },
    }
}

/// Of how many secrets the events are: each waits for the one before it of the same.
const SECRETS: usize = 50;

const SETTINGS: &str = "fsync = off\npg_secrets.audit_head_interval = 0\npg_secrets.retry_schedule = '50ms, 100ms, 200ms, 400ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s'";

#[tokio::test]
async fn every_event_arrives_at_every_endpoint_whoever_is_killed() -> Proof {
    let Extent {
        events,
        endpoints,
        kills,
        patience,
    } = extent();
    let mut app = TestApp::start(SETTINGS).await;
    let mut other = Companion::start_another(&app.cluster, "200ms", 2);
    let sink = Sink::start().await;
    sink.fail_one_in(5);
    let sql = app.sql().await?;
    for number in 0..endpoints {
        sql.rows(
            "SELECT control_plane.create_endpoint('chaos', $1)",
            &[&sink.url(&format!("/{number}"))],
        )
        .await?;
    }
    let writer = tokio::spawn(write(app.sql().await?, events));
    let all = events * endpoints;
    let begun = Instant::now();
    for round in 0..2 * kills {
        // At a time when much is under way: each time that another share has arrived.
        let share = all * (round + 1) / (2 * kills + 2);
        while sink.count() < share && begun.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if round % 2 == 0 {
            app.kill_companion();
            app.resume_companion();
        } else {
            other.kill9();
            other.resume(app.cluster.home());
        }
        // What the dead one had claimed is free after a minute; that is brought forward.
        free_leases(&sql).await?;
    }
    writer.await.expect("the writer ends")?;
    let status = "SELECT count(*) FROM control_plane.deliveries WHERE status = $1";
    loop {
        let delivered: i64 = sql.one(status, &[&"delivered"]).await?;
        if delivered == all as i64 {
            break;
        }
        assert!(begun.elapsed() < patience, "{delivered} of {all}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let mut accepted: HashMap<String, HashSet<String>> = HashMap::new();
    let mut bodies: HashMap<String, Vec<u8>> = HashMap::new();
    for one in sink.received() {
        let id = one.header("webhook-id").to_owned();
        let body = bodies.entry(id.clone()).or_insert_with(|| one.body.clone());
        assert_eq!(*body, one.body, "{id}");
        if one.answered < 300 {
            accepted.entry(one.path.clone()).or_default().insert(id);
        }
    }
    assert_eq!(bodies.len(), events);
    assert_eq!(accepted.len(), endpoints);
    for (path, ids) in &accepted {
        assert_eq!(ids.len(), events, "{path}");
    }
    // A success that a companion lived to record is the last try.
    let repeated: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.delivery_attempts AS a
             JOIN control_plane.deliveries AS d ON d.id = a.delivery_id
             WHERE a.status BETWEEN 200 AND 299 AND a.attempt < d.attempts",
            &[],
        )
        .await?;
    assert_eq!(repeated, 0);
    // Nobody who stored how tries ended had to wait for somebody who waited in turn.
    let log = app.cluster.log();
    for waited in ["deadlock detected", "lock timeout"] {
        assert!(!log.contains(waited), "{waited}");
    }
    Ok(())
}

/// Makes the events: new secrets first, then rotations of each in turn.
async fn write(sql: Session, events: usize) -> Proof {
    let mut current: Vec<uuid::Uuid> = Vec::new();
    for number in 0..events {
        let place = number % SECRETS;
        let made = match current.get(place) {
            None => {
                let create = "SELECT id FROM control_plane.create_secret('chaos', $1, 'a value')";
                sql.one(create, &[&number.to_string()]).await?
            }
            Some(id) => {
                let rotate = "SELECT id FROM control_plane.rotate_secret($1, 'another')";
                sql.one(rotate, &[id]).await?
            }
        };
        match current.get_mut(place) {
            None => current.push(made),
            Some(id) => *id = made,
        }
    }
    Ok(())
}

async fn free_leases(sql: &Session) -> Proof {
    sql.rows(
        "UPDATE control_plane.deliveries SET leased_until = clock_timestamp() WHERE id IN (
             SELECT id FROM control_plane.deliveries
             WHERE status = 'pending' AND leased_until IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED)",
        &[],
    )
    .await?;
    Ok(())
}
