//! Refused attempts show, and nobody fills the audit with them.

use pg_secrets_tests::{COMPANION_LOGIN, Cluster, Key, Proof, Session, Sink, TestApp, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const SETTINGS: &str =
    "fsync = off\npg_secrets.maintenance_interval = '1s'\npg_secrets.denied_threshold = 4";

#[tokio::test]
async fn wrong_tokens_are_counted_and_recorded_together() -> Proof {
    let app = TestApp::start(SETTINGS).await;
    let sql = app.sql().await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let mut tried = 0;
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "nonsense"] {
        for _ in 0..250 {
            let refused = trusted
                .refused(
                    "SELECT control_plane.authenticate('pgs_wrong', jsonb_build_object('client_address', $1::text))",
                    &[&address],
                )
                .await;
            assert_eq!(refused.state, "PT401");
            tried += 1;
        }
    }
    for _ in 0..20 {
        app.api_as("pgs_wrong")
            .get("/api/secrets?project_id=p")
            .await?
            .expect(401)?;
        tried += 1;
    }
    let rows = eventually("the records", || async {
        let rows: Vec<Value> = sql
            .all(
                "SELECT jsonb_build_array(actor, login, outcome, client_address, detail->'attempts')
                 FROM control_plane.audit_logs WHERE action = 'token.rejected'",
                &[],
            )
            .await
            .ok()?;
        let sum: i64 = rows.iter().filter_map(|row| row[4].as_i64()).sum();
        (sum == tried).then_some(rows)
    })
    .await;
    assert!(rows.len() < 40, "{} records of {tried} tries", rows.len());
    for row in &rows {
        assert_eq!(row[0], COMPANION_LOGIN, "{row}");
        assert_eq!(row[1], COMPANION_LOGIN, "{row}");
        assert_eq!(row[2], "denied", "{row}");
    }
    for address in ["192.0.2.1", "2001:db8::1", "127.0.0.1"] {
        assert!(
            rows.iter().any(|row| row[3] == address),
            "{address}: {rows:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn tokens_from_more_places_than_are_told_apart_are_counted_all_the_same() -> Proof {
    let app = TestApp::start(SETTINGS).await;
    let sql = app.sql().await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let tried = 500;
    for number in 0..tried {
        trusted
            .refused(
                "SELECT control_plane.authenticate('pgs_wrong', jsonb_build_object('client_address', $1::text))",
                &[&format!("198.51.{}.{}", number / 250, number % 250)],
            )
            .await;
    }
    let records = eventually("the records", || async {
        let rows = sql
            .rows(
                "SELECT count(*), coalesce(sum((detail->>'attempts')::bigint), 0)::bigint
                 FROM control_plane.audit_logs WHERE action = 'token.rejected'",
                &[],
            )
            .await
            .ok()?;
        let (records, attempts): (i64, i64) = (rows[0].get(0), rows[0].get(1));
        (attempts == i64::from(tried)).then_some(records)
    })
    .await;
    assert!(records < 200, "{records}");
    Ok(())
}

#[tokio::test]
async fn what_could_not_be_recorded_of_wrong_tokens_is_not_lost() -> Proof {
    let app = TestApp::start(SETTINGS).await;
    let sql = app.sql().await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let locker = app.cluster.sql().await?;
    locker
        .run("BEGIN; LOCK TABLE control_plane.audit_unchained IN SHARE ROW EXCLUSIVE MODE")
        .await?;
    for _ in 0..50 {
        trusted
            .refused("SELECT control_plane.authenticate('pgs_wrong')", &[])
            .await;
    }
    eventually("a try that fails", || async {
        let log = app.cluster.log();
        log.contains("recording rejected tokens: canceling statement")
            .then_some(())
    })
    .await;
    locker.run("ROLLBACK").await?;
    eventually("the record", || async {
        let statement = "SELECT coalesce(sum((detail->>'attempts')::bigint), 0)::bigint
             FROM control_plane.audit_logs WHERE action = 'token.rejected'";
        let attempts: i64 = sql.one(statement, &[]).await.ok()?;
        (attempts == 50).then_some(())
    })
    .await;
    let log = app.cluster.log();
    assert!(log.contains("recording rejected tokens: works again"));
    Ok(())
}

async fn refused_reads(session: &Session, count: usize) {
    for _ in 0..count {
        let refused = session
            .refused("SELECT control_plane.get_secret_by_name('p', 'n')", &[])
            .await;
        assert!(["PT403", "PT404"].contains(&refused.state.as_str()));
    }
}

#[tokio::test]
async fn an_actor_who_is_refused_too_often_is_told_of_once() -> Proof {
    let app = TestApp::start(SETTINGS).await;
    let sql = app.sql().await?;
    let sink = Sink::start().await;
    sql.rows(
        "SELECT control_plane.create_secret('p', 'n', 'a value')",
        &[],
    )
    .await?;
    app.api()
        .post(
            "/api/webhooks",
            json!({"project_id": "p", "url": sink.url("/denied"), "event_types": ["audit.denied"]}),
        )
        .await?
        .expect(201)?;
    sql.run(
        "CREATE ROLE snoop LOGIN; CREATE ROLE clumsy LOGIN;
         GRANT USAGE ON SCHEMA control_plane TO snoop, clumsy;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO snoop, clumsy",
    )
    .await?;
    let snoop = app.cluster.connect("snoop", "postgres").await?;
    let clumsy = app.cluster.connect("clumsy", "postgres").await?;
    refused_reads(&clumsy, 3).await;
    refused_reads(&snoop, 4).await;
    let webhook = sink.wait_for("/denied", 1).await.remove(0);
    let body = webhook.json()?;
    assert_eq!(body["type"], "audit.denied");
    assert_eq!(body["data"]["actor"], "snoop");
    assert_eq!(body["data"]["project_id"], "p");
    assert_eq!(body["data"]["denied_at_least"], 4);
    // More of the same says nothing new; somebody else does.
    refused_reads(&snoop, 8).await;
    refused_reads(&clumsy, 1).await;
    let webhooks = sink.wait_for("/denied", 2).await;
    assert_eq!(webhooks[1].json()?["data"]["actor"], "clumsy");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(sink.received().len(), 2);
    let alarms: Vec<String> = sql
        .all(
            "SELECT detail->>'actor' FROM control_plane.audit_logs WHERE action = 'audit.denied' ORDER BY id",
            &[],
        )
        .await?;
    assert_eq!(alarms, ["snoop", "clumsy"]);
    assert!(app.cluster.log().contains("\"snoop\" was refused"));
    // What is refused and is no read counts for nothing here, as in denied_reads().
    for _ in 0..6 {
        let refused = sql
            .refused("DELETE FROM control_plane.audit_logs", &[])
            .await;
        assert_eq!(refused.state, "PT403");
    }
    sql.refused(
        "SELECT control_plane.get_secret_by_name('p', 'nowhere')",
        &[],
    )
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let alarms: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.denied'",
            &[],
        )
        .await?;
    assert_eq!(alarms, 2);
    Ok(())
}

#[tokio::test]
async fn a_copy_of_a_server_raises_no_alarm() -> Proof {
    let settings = format!("{SETTINGS}\npg_secrets.workers = off");
    let cluster = Cluster::start(Key::new(), &settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    for _ in 0..6 {
        sql.refused("SELECT control_plane.get_secret_by_name('p', 'n')", &[])
            .await;
    }
    // What follows the reads in the same round is done.
    sql.rows(
        "SELECT control_plane.create_secret('p', 'n', 'a value')",
        &[],
    )
    .await?;
    sql.rows(
        "SELECT control_plane.get_secret_by_name('p', 'n', service => 'svc')",
        &[],
    )
    .await?;
    eventually("a round of the bookkeeper", || async {
        let statement = "SELECT count(*) FROM control_plane.secret_consumers";
        let consumers: i64 = sql.one(statement, &[]).await.ok()?;
        (consumers == 1).then_some(())
    })
    .await;
    let alarms: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.denied'",
            &[],
        )
        .await?;
    assert_eq!(alarms, 0);
    Ok(())
}
