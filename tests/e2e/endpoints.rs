//! Endpoints through their life: listed, changed, given another signing secret, tried, removed.

use axum::http::HeaderValue;
use pg_secrets_tests::{Answer, Proof, Received, Reply, Sink, TestApp, eventually, project};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::time::Duration;
use uuid::Uuid;

/// A project with a secret, and an endpoint of it.
struct Scene {
    app: &'static TestApp,
    sink: Sink,
    project: String,
    secret_id: String,
    endpoint: String,
    signing_secret: String,
}

async fn scene(of: &str) -> Proof<Scene> {
    let app = TestApp::shared().await;
    let sink = Sink::start().await;
    let project = project(of);
    let api = app.api();
    let made = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let endpoint = api
        .post(
            "/api/webhooks",
            json!({"project_id": project, "url": sink.url("/all")}),
        )
        .await?
        .expect(201)?;
    Ok(Scene {
        secret_id: made.id().to_owned(),
        endpoint: endpoint.id().to_owned(),
        signing_secret: endpoint.text("secret").to_owned(),
        app,
        sink,
        project,
    })
}

impl Scene {
    fn path(&self, verb: &str) -> String {
        format!("/api/webhooks/{}{verb}", self.endpoint)
    }

    async fn rotate(&mut self) -> Proof {
        let rotated = self
            .app
            .api()
            .post(
                &format!("/api/secrets/{}/rotate", self.secret_id),
                json!({"value": "another"}),
            )
            .await?
            .expect(201)?;
        self.secret_id = rotated.id().to_owned();
        Ok(())
    }

    /// What the audit says was done to the endpoint, in order.
    async fn recorded(&self) -> Proof<Vec<String>> {
        let sql = self.app.sql().await?;
        Ok(sql
            .all(
                "SELECT action FROM control_plane.audit_logs
                 WHERE project_id = $1 AND detail->>'endpoint_id' = $2 ORDER BY id",
                &[&self.project, &self.endpoint],
            )
            .await?)
    }
}

pub(crate) fn is_signed_with(secret: &str, webhook: &Received) -> bool {
    let verifier = Webhook::new(secret).expect("a signing secret");
    verifier.verify(&webhook.body, &webhook.headers).is_ok()
}

#[tokio::test]
async fn an_endpoint_is_listed_and_read_without_its_secret() -> Proof {
    let scene = scene("listed").await?;
    let api = scene.app.api();
    let listed = api
        .get(&format!("/api/webhooks?project_id={}", scene.project))
        .await?
        .expect(200)?;
    let one = api.get(&scene.path("")).await?.expect(200)?;
    assert_eq!(listed.body["webhooks"], json!([one.body]));
    assert_eq!(one.id(), scene.endpoint);
    assert_eq!(one.text("url"), scene.sink.url("/all"));
    assert_eq!(one.body["enabled"], true);
    assert_eq!(one.body["event_types"], Value::Null);
    assert!(one.body.get("secret").is_none(), "{}", one.body);
    let sql = scene.app.sql().await?;
    let secret: Option<String> = sql
        .one(
            "SELECT secret FROM control_plane.get_endpoint($1::text::uuid)",
            &[&scene.endpoint],
        )
        .await?;
    assert_eq!(secret, None);
    for path in ["", "/deliveries"] {
        let unknown = format!("/api/webhooks/{}{path}", Uuid::new_v4());
        assert_eq!(api.get(&unknown).await?.status, 404, "{unknown}");
        let no_id = format!("/api/webhooks/x{path}");
        let answer = api.get(&no_id).await?.expect(404)?;
        assert_eq!(answer.text("detail"), "no such endpoint");
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_changes_what_is_given_and_keeps_the_rest() -> Proof {
    let mut scene = scene("changed").await?;
    let api = scene.app.api();
    let changed = api
        .patch(
            &scene.path(""),
            json!({"url": scene.sink.url("/moved"), "event_types": ["secret.rotated"]}),
        )
        .await?
        .expect(200)?;
    assert_eq!(changed.text("url"), scene.sink.url("/moved"));
    assert_eq!(changed.body["event_types"], json!(["secret.rotated"]));
    assert!(changed.body.get("secret").is_none());
    scene.rotate().await?;
    let told = scene.sink.wait_for("/moved", 1).await;
    assert!(is_signed_with(&scene.signing_secret, &told[0]));

    let off = api
        .patch(&scene.path(""), json!({"enabled": false}))
        .await?;
    assert_eq!(
        off.expect(200)?.body["event_types"],
        json!(["secret.rotated"])
    );
    scene.rotate().await?;
    let ping = api.post(&scene.path("/ping"), json!({})).await?;
    assert_eq!(ping.status, 409, "{}", ping.body);
    let all = api
        .patch(
            &scene.path(""),
            json!({"enabled": true, "event_types": null}),
        )
        .await?
        .expect(200)?;
    assert_eq!(all.body["event_types"], Value::Null);
    assert_eq!(all.text("url"), scene.sink.url("/moved"));
    // What happened while it was off is not for it.
    let sql = scene.app.sql().await?;
    let deliveries: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.deliveries WHERE endpoint_id = $1::text::uuid",
            &[&scene.endpoint],
        )
        .await?;
    assert_eq!(deliveries, 1);
    for body in [
        json!({}),
        json!({"url": "ftp://example.com/"}),
        json!({"event_types": ["secret.unknown"]}),
        json!({"service": "other"}),
    ] {
        let refused = api.patch(&scene.path(""), body.clone()).await?;
        assert_eq!(refused.status, 400, "{body}");
    }
    assert_eq!(
        scene.recorded().await?,
        [
            "endpoint.created",
            "endpoint.updated",
            "endpoint.updated",
            "endpoint.updated"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_new_signing_secret_signs_beside_the_old_one_until_the_overlap_ends() -> Proof {
    let mut scene = scene("overlap").await?;
    let api = scene.app.api();
    let rotated = api
        .post(&scene.path("/rotate-secret"), json!({"overlap": 3600}))
        .await?
        .expect(200)?;
    let new = rotated.text("secret").to_owned();
    assert!(new.starts_with("whsec_") && new != scene.signing_secret);
    assert_ne!(rotated.body["previous_secret_until"], Value::Null);
    scene.rotate().await?;
    let both = scene.sink.wait_for("/all", 1).await.remove(0);
    assert_eq!(both.header("webhook-signature").split(' ').count(), 2);
    assert!(is_signed_with(&new, &both));
    assert!(is_signed_with(&scene.signing_secret, &both));
    let mut forged = both.clone();
    forged
        .headers
        .insert("webhook-timestamp", HeaderValue::from_static("1"));
    assert!(!is_signed_with(&new, &forged));

    // Without an overlap the old one is over at once, and one that was overlapping before too.
    let last = api
        .post(&scene.path("/rotate-secret"), json!({"overlap": 0}))
        .await?
        .expect(200)?;
    assert_eq!(last.body["previous_secret_until"], Value::Null);
    scene.rotate().await?;
    let one = scene.sink.wait_for("/all", 2).await.remove(1);
    assert_eq!(one.header("webhook-signature").split(' ').count(), 1);
    assert!(is_signed_with(last.text("secret"), &one));
    assert!(!is_signed_with(&new, &one));

    // What is not said is a day; and a webhook that is sent after its end bears one signature.
    let default = api.post_text(&scene.path("/rotate-secret"), "").await?;
    assert_ne!(
        default.expect(200)?.body["previous_secret_until"],
        Value::Null
    );
    let sql = scene.app.sql().await?;
    let hours: f64 = sql
        .one(
            "SELECT extract(epoch FROM previous_until - clock_timestamp())::float8 / 3600
             FROM control_plane.endpoints WHERE id = $1::text::uuid",
            &[&scene.endpoint],
        )
        .await?;
    assert!((23.9..=24.0).contains(&hours), "{hours}");
    for overlap in [json!(-1), json!("P31D"), json!("soon")] {
        let refused = api
            .post(&scene.path("/rotate-secret"), json!({"overlap": overlap}))
            .await?;
        assert_eq!(refused.status, 400, "{overlap}");
    }
    let short =
        "SELECT secret FROM control_plane.rotate_endpoint_secret($1::text::uuid, '1 millisecond')";
    let newest: String = sql.one(short, &[&scene.endpoint]).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    scene.rotate().await?;
    let after = scene.sink.wait_for("/all", 3).await.remove(2);
    assert_eq!(after.header("webhook-signature").split(' ').count(), 1);
    assert!(is_signed_with(&newest, &after));
    // The sweep forgets it.
    sql.rows("SELECT control_plane.sweep_deliveries()", &[])
        .await?;
    let kept: bool = sql
        .one(
            "SELECT previous_secret_encrypted IS NOT NULL FROM control_plane.endpoints WHERE id = $1::text::uuid",
            &[&scene.endpoint],
        )
        .await?;
    assert!(!kept);
    let recorded = scene.recorded().await?;
    assert_eq!(recorded[1..], ["endpoint.secret_rotated"; 4]);
    Ok(())
}

#[tokio::test]
async fn a_ping_reaches_its_endpoint_alone_whatever_that_asked_for() -> Proof {
    let scene = scene("ping").await?;
    let api = scene.app.api();
    let picky = api
        .post(
            "/api/webhooks",
            json!({"project_id": scene.project, "url": scene.sink.url("/picky"), "event_types": ["secret.purged"]}),
        )
        .await?
        .expect(201)?;
    let pinged = api
        .post_text(&format!("/api/webhooks/{}/ping", picky.id()), "")
        .await?
        .expect(202)?;
    let told = scene.sink.wait_for("/picky", 1).await;
    let body = told[0].json()?;
    assert_eq!(body["type"], "endpoint.ping");
    assert_eq!(
        body["data"],
        json!({"project_id": scene.project, "endpoint_id": picky.id()})
    );
    assert!(is_signed_with(picky.text("secret"), &told[0]));
    assert_eq!(scene.sink.count(), 1);
    let sql = scene.app.sql().await?;
    let deliveries: Vec<String> = sql
        .all(
            "SELECT d.id::text FROM control_plane.deliveries AS d JOIN control_plane.outbox AS o ON o.id = d.event_id
             WHERE o.project_id = $1 AND o.type = 'endpoint.ping'",
            &[&scene.project],
        )
        .await?;
    assert_eq!(deliveries, [pinged.text("delivery_id")]);
    Ok(())
}

#[tokio::test]
async fn a_deleted_endpoint_is_gone_with_what_waits_for_it() -> Proof {
    let mut scene = scene("deleted").await?;
    let api = scene.app.api();
    scene.rotate().await?;
    scene.sink.wait_for("/all", 1).await;
    scene.sink.answer(500, Duration::ZERO);
    scene.rotate().await?;
    scene.sink.wait_for("/all", 2).await;
    let sql = scene.app.sql().await?;
    // Its end is stored: one that is being stored is left to the sweep.
    let failed =
        "SELECT failing_since IS NOT NULL FROM control_plane.endpoints WHERE id = $1::text::uuid";
    eventually("a failure", || async {
        let failed: bool = sql.one(failed, &[&scene.endpoint]).await.ok()?;
        failed.then_some(())
    })
    .await;
    api.delete(&scene.path("")).await?.expect(204)?;
    let gone: Answer = api.get(&scene.path("")).await?;
    assert_eq!(gone.status, 404);
    assert_eq!(api.delete(&scene.path("")).await?.status, 404);
    let left: Vec<String> = sql
        .all(
            "SELECT status FROM control_plane.deliveries WHERE endpoint_id = $1::text::uuid",
            &[&scene.endpoint],
        )
        .await?;
    assert_eq!(left, ["delivered"]);
    assert_eq!(
        scene.recorded().await?,
        ["endpoint.created", "endpoint.deleted"]
    );
    Ok(())
}

#[tokio::test]
async fn the_list_of_deliveries_says_what_the_receiver_answered_and_no_secret_of_it() -> Proof {
    let mut scene = scene("tries").await?;
    let api = scene.app.api();
    let long = "x ".repeat(3000);
    scene.sink.answer_at(
        "/all",
        Reply {
            body: format!("{{\"error\": \"no order\", \"password\": \"hunter2\", \"k\": \"sk_live_4eC39HqLyjWDarjtT1zdp7dc\"}} {long}"),
            ..Reply::status(200)
        },
    );
    for _ in 0..3 {
        scene.rotate().await?;
    }
    scene.sink.wait_for("/all", 3).await;
    let path = scene.path("/deliveries?status=delivered");
    let page = eventually("three deliveries", || async {
        let page = api.get(&path).await.ok()?;
        (page.body["deliveries"].as_array()?.len() == 3).then_some(page)
    })
    .await;
    let newest = &page.body["deliveries"][0];
    assert_eq!(newest["secret_id"], json!(scene.secret_id));
    assert_eq!(newest["type"], "secret.rotated");
    assert_eq!(newest["status"], "delivered");
    assert_eq!(newest["last_status"], 200);
    let sent = scene.sink.received();
    assert_eq!(newest["webhook_id"], json!(sent[2].header("webhook-id")));
    let tries = newest["tries"].as_array().expect("tries");
    assert_eq!(tries.len(), 1);
    assert_eq!(tries[0]["attempt"], 1);
    assert_eq!(tries[0]["status"], 200);
    assert!(tries[0]["duration_ms"].as_i64().is_some_and(|ms| ms >= 0));
    let answer = tries[0]["answer"].as_str().expect("an answer");
    assert!(answer.contains("no order"), "{answer}");
    assert!(
        !answer.contains("hunter2") && !answer.contains("4eC39"),
        "{answer}"
    );
    assert!((900..=1024).contains(&answer.len()), "{}", answer.len());

    // Page by page the same.
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for expected in [2, 1] {
        let page = api
            .get(&scene.path(&format!("/deliveries?limit=2{cursor}")))
            .await?
            .expect(200)?;
        let deliveries = page.body["deliveries"].as_array().expect("a page").clone();
        assert_eq!(deliveries.len(), expected);
        cursor = format!("&cursor={}", page.text("next_cursor"));
        seen.extend(deliveries);
    }
    assert_eq!(Value::from(seen), page.body["deliveries"]);
    for query in ["?status=lost", "?limit=0", "?limit=201", "?cursor=x"] {
        let refused = api.get(&scene.path(&format!("/deliveries{query}"))).await?;
        assert_eq!(refused.status, 400, "{query}");
    }
    Ok(())
}
