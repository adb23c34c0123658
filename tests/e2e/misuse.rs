//! Wrong calls by SQL and over REST get errors that say so, and break nothing.

use pg_secrets_tests::{Proof, TestApp, project};
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn a_null_where_none_may_be_is_an_error() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    for call in [
        "create_secret(NULL, 'n', 'v')",
        "create_secret('p', NULL, 'v')",
        "create_secret('p', 'n', NULL)",
        "get_secret(NULL)",
        "get_secret_by_name(NULL, 'n')",
        "get_secret_by_name('p', NULL)",
        "get_secret_version(NULL, 1)",
        "get_secret_version('00000000-0000-0000-0000-000000000000', NULL)",
        "get_secrets(NULL)",
        "get_secrets('p', ARRAY[NULL])",
        "secret_id(NULL, 'n')",
        "secret_id('p', NULL)",
        "list_secrets(NULL)",
        "secret_versions(NULL)",
        "rotate_secret(NULL, 'v')",
        "rollback_secret(NULL, 1)",
        "rollback_secret('00000000-0000-0000-0000-000000000000', NULL)",
        "extend_grace(NULL, '1 hour')",
        "extend_grace('00000000-0000-0000-0000-000000000000', NULL)",
        "end_grace(NULL)",
        "delete_secret(NULL)",
        "restore_secret(NULL)",
        "purge_secret(NULL)",
        "register_consumer(NULL, 's')",
        "register_consumer('00000000-0000-0000-0000-000000000000', NULL)",
        "unregister_consumer(NULL, 's')",
        "unregister_consumer('00000000-0000-0000-0000-000000000000', NULL)",
        "create_endpoint(NULL, 'http://127.0.0.1/')",
        "create_endpoint('p', NULL)",
        "create_endpoint('p', 'http://127.0.0.1/', event_types => ARRAY[NULL])",
        "claim_deliveries(NULL)",
        "claim_deliveries(lease => NULL)",
        "finish_delivery(NULL, 1)",
        "finish_delivery('00000000-0000-0000-0000-000000000000', NULL)",
        "grant_project(NULL, 'read')",
        "grant_project('g', NULL)",
        "revoke_project(NULL, 'read')",
        "create_token(NULL)",
        "revoke_token(NULL)",
    ] {
        let refused = sql
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, "PT400", "{call}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_function_survives_nothing_but_nulls() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let calls: Vec<String> = sql
        .all(
            "SELECT format('%s(%s)', p.oid::regproc, (SELECT string_agg('NULL::' || t::regtype, ', ') FROM unnest(p.proargtypes) AS t))
             FROM pg_proc AS p WHERE p.pronamespace = 'control_plane'::regnamespace
               AND p.prorettype <> 'trigger'::regtype AND p.proname <> 'set_execute'",
            &[],
        )
        .await?;
    assert!(calls.len() >= 20);
    for call in calls {
        if let Err(error) = sql.run(&format!("SELECT {call}")).await {
            assert!(error.state.starts_with("PT4"), "{call}: {error:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn names_that_could_fool_a_log_or_fit_no_url_are_refused() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let long = "x".repeat(256);
    for bad in [
        "",
        ".",
        "..",
        "a\nb",
        "a\tb",
        "\u{7f}",
        "a\u{85}b",
        "a\u{2028}b",
        &long,
    ] {
        let refused = sql
            .refused("SELECT control_plane.create_secret('p', $1, 'v')", &[&bad])
            .await;
        assert_eq!(refused.state, "PT400", "{bad:?}: {refused:?}");
        let refused = sql
            .refused("SELECT control_plane.create_secret($1, 'n', 'v')", &[&bad])
            .await;
        assert_eq!(refused.state, "PT400", "{bad:?}: {refused:?}");
        api.post(
            "/api/secrets",
            json!({"project_id": "p", "name": bad, "value": "v"}),
        )
        .await?
        .expect(400)?;
    }
    let project = project("names");
    let longest = "й".repeat(255);
    for good in [
        "a b",
        "...",
        "a/b",
        "%2e",
        "'; DROP SCHEMA control_plane --",
        "🗝️",
        &longest,
    ] {
        let id: Uuid = sql
            .one(
                "SELECT id FROM control_plane.create_secret($1, $2, 'v')",
                &[&project, &good],
            )
            .await?;
        let found: Uuid = sql
            .one("SELECT control_plane.secret_id($1, $2)", &[&project, &good])
            .await?;
        assert_eq!(id, found, "{good:?}");
    }
    let id: Uuid = sql
        .one("SELECT control_plane.secret_id($1, '...')", &[&project])
        .await?;
    for service in ["", "a\nb", &"x".repeat(51)] {
        let refused = sql
            .refused("SELECT control_plane.get_secret($1, $2)", &[&id, &service])
            .await;
        assert_eq!(refused.state, "PT400", "{service:?}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_value_has_from_one_byte_to_the_limit() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let project = project("size");
    let largest = "x".repeat(64 * 1024);
    let too_large = format!("{largest}x");
    for (value, sqlstate, status) in [("", "PT400", 400), (too_large.as_str(), "PT413", 413)] {
        let refused = sql
            .refused(
                "SELECT control_plane.create_secret($1, 'n', $2)",
                &[&project, &value],
            )
            .await;
        assert_eq!(refused.state, sqlstate, "{refused:?}");
        api.post(
            "/api/secrets",
            json!({"project_id": project, "name": "n", "value": value}),
        )
        .await?
        .expect(status)?;
    }
    for value in ["x", " ", "\n", largest.as_str()] {
        let name = format!("{} bytes {:?}", value.len(), value.chars().next());
        let id: Uuid = sql
            .one(
                "SELECT id FROM control_plane.create_secret($1, $2, $3)",
                &[&project, &name, &value],
            )
            .await?;
        let read: String = sql
            .one("SELECT value FROM control_plane.get_secret($1)", &[&id])
            .await?;
        assert_eq!(read, value);
        let answer = api.get(&format!("/api/secrets/{id}")).await?.expect(200)?;
        assert_eq!(answer.text("value"), value);
    }
    Ok(())
}

#[tokio::test]
async fn a_grace_or_reason_that_makes_no_sense_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let id: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'n', 'v')",
            &[&project("grace")],
        )
        .await?;
    for grace in ["-1 second", "-1 day", "11 years", "1 month -40 days"] {
        let refused = sql
            .refused(
                "SELECT control_plane.rotate_secret($1, 'v', grace => $2::text::interval)",
                &[&id, &grace],
            )
            .await;
        assert_eq!(refused.state, "PT400", "{grace}: {refused:?}");
    }
    let path = format!("/api/secrets/{id}/rotate");
    for grace in [
        json!(-1),
        json!("1 day"),
        json!("P"),
        json!(true),
        json!(1e300),
    ] {
        api.post(&path, json!({"value": "v", "grace": grace}))
            .await?
            .expect(400)?;
    }
    let refused = sql
        .refused(
            "SELECT control_plane.rotate_secret($1, 'v', repeat('x', 1001))",
            &[&id],
        )
        .await;
    assert_eq!(refused.state, "PT400", "{refused:?}");
    let version: i32 = sql
        .one("SELECT version FROM control_plane.get_secret($1)", &[&id])
        .await?;
    assert_eq!(version, 1);
    Ok(())
}

#[tokio::test]
async fn requests_of_another_form_are_refused() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"project_id": "p", "name": "n"}"#,
        r#"{"project_id": "p", "name": "n", "value": 1}"#,
        r#"{"project_id": "p", "name": "n", "value": "v", "extra": 1}"#,
        r#"{"project_id": "p", "name": "n", "value": "a\u0000b"}"#,
    ] {
        api.post_text("/api/secrets", body).await?.expect(400)?;
    }
    for (path, status) in [
        ("/api/secrets", 400),
        ("/api/secrets?project_id=p&unknown=1", 400),
        ("/api/secrets/not-a-uuid", 404),
        (
            "/api/secrets/00000000-0000-0000-0000-000000000000/versions/one",
            404,
        ),
    ] {
        api.get(path).await?.expect(status)?;
    }
    for url in [
        "",
        "ftp://h/",
        "http://",
        "http://u:p@h/",
        "http://h/ x",
        "javascript:x",
    ] {
        api.post("/api/webhooks", json!({"project_id": "p", "url": url}))
            .await?
            .expect(400)?;
    }
    api.delete("/api/secrets").await?.expect(405)?;
    Ok(())
}

#[tokio::test]
async fn the_server_survives_misuse_without_a_panic() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    let started = "SELECT pg_postmaster_start_time()::text";
    let before: String = sql.one(started, &[]).await?;
    for statement in [
        "SELECT control_plane.create_secret('p', 'n', 'v') FROM generate_series(1, 3)",
        "DO $$ BEGIN PERFORM control_plane.create_secret('p', 'n', 'v'); RAISE 'no'; END $$",
        "SELECT control_plane.get_secrets('p', array_fill('n'::text, ARRAY[2, 2]))",
        "SELECT (control_plane.create_secret('p', 'n', 'v')).no_such_column",
        "UPDATE control_plane.secrets SET value_encrypted = 'garbage'; SELECT 1/0",
        "CREATE TRIGGER t AFTER INSERT ON control_plane.tokens FOR EACH ROW EXECUTE FUNCTION control_plane.create_token()",
        "SELECT control_plane.audit_change()",
    ] {
        sql.refused_text(statement).await;
    }
    sql.run("SELECT control_plane.create_secret('p', 'n', 'v')")
        .await?;
    sql.run("UPDATE control_plane.secrets SET value_encrypted = 'garbage'")
        .await?;
    let refused = sql
        .refused_text("SELECT control_plane.get_secret_by_name('p', 'n')")
        .await;
    assert_eq!(refused.state, "PT422", "{refused:?}");
    sql.run("SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'n'), 'w')")
        .await?;
    let value: String = sql
        .one(
            "SELECT value FROM control_plane.get_secret_by_name('p', 'n')",
            &[],
        )
        .await?;
    assert_eq!(value, "w");
    let after: String = sql.one(started, &[]).await?;
    assert_eq!(before, after);
    let log = app.cluster.log();
    for sign in [
        "panicked",
        "PANIC",
        "was terminated by signal",
        "internal error",
    ] {
        assert!(!log.contains(sign), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_retry_schedule_that_cannot_be_read_is_refused_and_the_old_one_stays() -> Proof {
    let app = TestApp::start("pg_secrets.retry_schedule = '1s, 2min'").await;
    let sql = app.sql().await?;
    let refused = sql
        .refused_text("ALTER SYSTEM SET pg_secrets.retry_schedule = '1s, 2x'")
        .await;
    assert_eq!(refused.state, "22023");
    sql.run("ALTER SYSTEM SET pg_secrets.retry_schedule = '500ms, 1h, 2d'")
        .await?;
    let old: String = sql.one("SHOW pg_secrets.retry_schedule", &[]).await?;
    assert_eq!(old, "1s, 2min");
    Ok(())
}
