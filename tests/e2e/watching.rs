//! What whoever watches the service is told: readiness and numbers.

use pg_secrets_tests::{Api, Cluster, Companion, Key, Proof, TestApp, eventually};
use regex::Regex;
use serde_json::{Value, json};

async fn metrics(url: &str) -> Proof<String> {
    let answer = reqwest::get(format!("{url}/metrics")).await?;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let form = answer.headers()["content-type"]
        .to_str()
        .unwrap_or_default();
    assert!(form.starts_with("text/plain; version=0.0.4"), "{form}");
    Ok(answer.text().await?)
}

/// The sample of this name and these labels.
fn sample(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn numbers_follow_what_happens_and_name_nothing() -> Proof {
    let app = TestApp::start("fsync = off\npg_secrets.retry_schedule = '1h'").await;
    let (api, sql) = (app.api(), app.sql().await?);
    let url = app.companion.url();
    let new = json!({"project_id": "a-project", "name": "a-name", "value": "a-value"});
    let made = api.post("/api/secrets", new.clone()).await?.expect(201)?;
    api.post("/api/secrets", new).await?.expect(409)?;
    let hook = json!({"project_id": "a-project", "url": "http://127.0.0.1:9/a-path", "event_types": ["secret.rotated"]});
    api.post("/api/webhooks", hook).await?.expect(201)?;
    let path = format!("/api/secrets/{}", made.id());
    api.get_as("a-service", &path).await?.expect(200)?;
    eventually("the use", || async {
        let statement =
            "SELECT count(*) FROM control_plane.secret_consumers WHERE last_used_at IS NOT NULL";
        let count: i64 = sql.one(statement, &[]).await.ok()?;
        (count == 1).then_some(())
    })
    .await;
    let body = json!({"value": "another", "grace": 3600});
    api.post(&format!("{path}/rotate"), body)
        .await?
        .expect(201)?;
    let stranger = app
        .token_for("a-subject", &["list"], "a-project", None)
        .await?;
    for _ in 0..3 {
        app.api_as(&stranger).get(&path).await?.expect(403)?;
    }
    api.get("/nothing/a-path").await?.expect(404)?;

    let text = eventually("the figures", || async {
        let text = metrics(&url).await.ok()?;
        let told = sample(&text, "pg_secrets_stragglers")? == 1.0
            && sample(&text, "pg_secrets_outbox_pending")? == 1.0
            && sample(&text, "pg_secrets_audit_unchained_records")? == 0.0
            && sample(&text, "pg_secrets_worker_running{worker=\"maintenance\"}")? == 1.0;
        told.then_some(text)
    })
    .await;
    for (name, expected) in [
        (
            r#"pg_secrets_http_requests_total{method="POST",route="/api/secrets",status="201"}"#,
            1.0,
        ),
        (
            r#"pg_secrets_http_requests_total{method="POST",route="/api/secrets",status="409"}"#,
            1.0,
        ),
        (
            r#"pg_secrets_http_requests_total{method="GET",route="/api/secrets/{id}",status="403"}"#,
            3.0,
        ),
        (
            r#"pg_secrets_http_requests_total{method="GET",route="none",status="404"}"#,
            1.0,
        ),
        (
            r#"pg_secrets_http_request_duration_seconds_count{route="/api/secrets/{id}"}"#,
            4.0,
        ),
        (
            r#"pg_secrets_http_request_duration_seconds_bucket{route="/api/secrets/{id}",le="+Inf"}"#,
            4.0,
        ),
        ("pg_secrets_pool_connections_max", 16.0),
        ("pg_secrets_database_up", 1.0),
        ("pg_secrets_key_available", 1.0),
        (r#"pg_secrets_worker_running{worker="auditor"}"#, 1.0),
        ("pg_secrets_denied_reads_last_hour", 3.0),
        ("pg_secrets_versions_in_grace", 1.0),
        ("pg_secrets_audit_lag_seconds", 0.0),
    ] {
        assert_eq!(sample(&text, name), Some(expected), "{name}\n{text}");
    }
    assert!(sample(&text, "pg_secrets_outbox_oldest_seconds").is_some_and(|age| age > 0.0));
    assert!(
        sample(&text, r#"pg_secrets_pool_connections{state="idle"}"#)
            .is_some_and(|idle| idle > 0.0)
    );
    for name in [
        "a-project",
        "a-name",
        "a-service",
        "a-path",
        "a-subject",
        "admin@local",
        "pgs_",
        made.id(),
        &app.token,
    ] {
        assert!(!text.contains(name), "{name}");
    }
    // Each line is of the format, and each sample has been announced.
    let line = Regex::new(
        r#"^([a-z_]+?)(_bucket|_sum|_count)?(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e-]+$"#,
    )?;
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let parts = line.captures(sample);
        let parts = parts.unwrap_or_else(|| panic!("no sample: {sample}"));
        let family = match text.contains(&format!("# TYPE {} histogram\n", &parts[1])) {
            true => parts[1].to_owned(),
            false => format!("{}{}", &parts[1], parts.get(2).map_or("", |m| m.as_str())),
        };
        assert!(text.contains(&format!("# TYPE {family} ")), "{sample}");
        assert!(text.contains(&format!("# HELP {family} ")), "{sample}");
    }
    // The same numbers as the functions that they are about.
    let grace: i64 = sql
        .one(
            "SELECT versions_in_grace FROM control_plane.service_figures()",
            &[],
        )
        .await?;
    assert_eq!(grace, 1);
    Ok(())
}

async fn readiness(url: &str, expected: u16, check: &str, word: &str) -> Value {
    let api = Api::new(url, None);
    eventually(check, || async {
        // It is no problem document: who asks wants to see every check.
        let answer = reqwest::get(format!("{url}/readyz")).await.ok()?;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
        let alive = api.get("/healthz").await.ok()?;
        assert_eq!(alive.status, 200);
        (status == expected && body["checks"][check] == word).then_some(body)
    })
    .await
}

#[tokio::test]
async fn readiness_says_what_is_missing() -> Proof {
    let mut app = TestApp::start("fsync = off").await;
    let url = app.companion.url();
    let ready = readiness(&url, 200, "workers", "ok").await;
    let all = json!({"database": "ok", "extension": "ok", "key": "ok", "workers": "ok"});
    assert_eq!(ready, json!({"status": "ok", "checks": all}));

    app.cluster.stop();
    let down = readiness(&url, 503, "database", "failed").await;
    assert_eq!(down["checks"]["key"], "unknown");
    assert_eq!(
        sample(&metrics(&url).await?, "pg_secrets_database_up"),
        Some(0.0)
    );
    app.cluster.give_key(Key::None);
    app.cluster.resume();
    let keyless = readiness(&url, 503, "key", "failed").await;
    assert_eq!(keyless["checks"]["database"], "ok");

    let sql = app.sql().await?;
    let login = pg_secrets_tests::COMPANION_LOGIN;
    sql.run(&format!(
        "REVOKE USAGE ON SCHEMA control_plane FROM {login}"
    ))
    .await?;
    readiness(&url, 503, "extension", "failed").await;
    Ok(())
}

#[tokio::test]
async fn a_server_without_room_for_its_workers_is_not_ready() -> Proof {
    let cluster = Cluster::start(Key::new(), "fsync = off\nmax_worker_processes = 2");
    cluster.install().await?;
    let companion = Companion::start(&cluster, "1h");
    let report = readiness(&companion.url(), 503, "workers", "failed").await;
    assert_eq!(report["checks"]["key"], "ok");
    Ok(())
}

#[tokio::test]
async fn a_token_may_be_used_as_often_as_the_limit_says() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let mut limited =
        Companion::start_in(&app.cluster, &[("PG_SECRETS_RATE_LIMIT", "5".to_owned())]);
    let api = Api::new(&limited.url(), Some(&app.token));
    let path = "/api/secrets?project_id=p";
    let mut refused = 0;
    for _ in 0..20 {
        let answer = api.get(path).await?;
        if answer.status == 429 {
            refused += 1;
            assert_eq!(answer.header("retry-after"), "1");
            assert_eq!(
                answer.text("type"),
                "urn:pg-secrets:problem:too-many-requests"
            );
        } else {
            answer.expect(200)?;
        }
    }
    assert!((5..=15).contains(&refused), "{refused}");
    // Others, and who watches, are not concerned.
    let other = app.token_for("other", &["list"], "p", None).await?;
    let other = Api::new(&limited.url(), Some(&other));
    other.get(path).await?.expect(200)?;
    for _ in 0..20 {
        api.get("/healthz").await?;
    }
    api.get(path).await?.expect(429)?;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    api.get(path).await?.expect(200)?;
    limited.stop();
    Ok(())
}
