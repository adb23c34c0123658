//! Every access and every change leaves its record.

use pg_secrets_tests::{Proof, Session, TestApp, project};
use serde_json::{Value, json};
use uuid::Uuid;

async fn records(sql: &Session, project: &str) -> Proof<Vec<Value>> {
    Ok(sql
        .all(
            "SELECT to_jsonb(a) FROM control_plane.audit_logs AS a WHERE project_id = $1 ORDER BY id",
            &[&project],
        )
        .await?)
}

#[tokio::test]
async fn every_step_of_a_secrets_life_is_recorded_once() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("audit");
    let old = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let old = old.id();
    api.get_as("worker", &format!("/api/secrets/{old}"))
        .await?
        .expect(200)?;
    let new = api
        .post(
            &format!("/api/secrets/{old}/rotate"),
            json!({"value": "second", "rotation_reason": "a reason"}),
        )
        .await?
        .expect(201)?;
    let new = new.id();
    let read: i32 = sql
        .one(
            "SELECT version FROM control_plane.get_secret_by_name($1, 'name')",
            &[&project],
        )
        .await?;
    assert_eq!(read, 2);
    let many = format!("/api/projects/{project}/read");
    api.post(&many, json!({})).await?.expect(200)?;
    api.delete(&format!("/api/secrets/{old}?reason=done"))
        .await?
        .expect(200)?;

    let found: Vec<Value> = records(&sql, &project)
        .await?
        .iter()
        .map(|record| {
            json!([
                record["action"],
                record["outcome"],
                record["actor"],
                record["login"],
                record["secret_id"],
                record["name"],
                record["version"],
                record["service"]
            ])
        })
        .collect();
    let rest = ("admin@local", pg_secrets_tests::COMPANION_LOGIN);
    let row = |action, (actor, login): (&str, &str), id: &str, version, service: Option<&str>| {
        json!([
            action, "success", actor, login, id, "name", version, service
        ])
    };
    assert_eq!(
        found,
        [
            row("secret.created", rest, old, 1, None),
            row("secret.accessed", rest, old, 1, Some("worker")),
            row("secret.rotated", rest, new, 2, None),
            row("secret.accessed", ("postgres", "postgres"), new, 2, None),
            row("secret.accessed", rest, new, 2, None),
            row("secret.deleted", rest, new, 2, None),
        ]
    );
    let over_rest = &records(&sql, &project).await?[0];
    assert!(
        over_rest["client_address"]
            .as_str()
            .is_some_and(|address| address.starts_with("127.0.0.1"))
    );
    assert!(over_rest["request_id"].is_string());
    assert_eq!(over_rest["application_name"], "pg-secrets");
    Ok(())
}

#[tokio::test]
async fn a_read_that_is_refused_is_not_recorded_as_an_access() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("audit");
    let id: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    let token = app
        .token_for("no reader", &["list"], &project, None)
        .await?;
    app.api_as(&token)
        .get(&format!("/api/secrets/{id}"))
        .await?
        .expect(403)?;
    let accessed = records(&sql, &project)
        .await?
        .iter()
        .filter(|record| record["action"] == "secret.accessed")
        .count();
    assert_eq!(accessed, 0);
    Ok(())
}

/// The records of changes past the functions since `since`.
async fn direct_changes(sql: &Session, since: Uuid) -> Proof<Vec<Value>> {
    Ok(sql
        .all(
            "SELECT jsonb_build_array(actor, detail->'table', detail->'operation', detail->'rows')
             FROM control_plane.audit_logs WHERE action = 'audit.direct_change' AND id > $1 ORDER BY id",
            &[&since],
        )
        .await?)
}

#[tokio::test]
async fn a_change_past_the_functions_is_recorded_whatever_the_session_sets() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    sql.run(
        "SELECT control_plane.create_secret('p', n::text, 'a value') FROM generate_series(1, 3) AS n",
    )
    .await?;
    let events = "SELECT count(*) FROM control_plane.outbox";
    let told: i64 = sql.one(events, &[]).await?;
    for setting in [
        "SET session_replication_role = origin",
        "SET session_replication_role = replica",
        "SET session_replication_role = local",
    ] {
        let since: Uuid = sql
            .one(
                "SELECT max(id::text)::uuid FROM control_plane.audit_logs",
                &[],
            )
            .await?;
        sql.run(setting).await?;
        sql.run("UPDATE control_plane.secrets SET rotation_reason = 'by hand'")
            .await?;
        sql.run("UPDATE control_plane.secrets SET rotation_reason = 'by hand' WHERE false")
            .await?;
        sql.run("DELETE FROM control_plane.secrets WHERE name = '3' AND false")
            .await?;
        sql.run("INSERT INTO control_plane.secret_names VALUES ('q', 'n', 1)")
            .await?;
        sql.run("DELETE FROM control_plane.secret_names WHERE project_id = 'q'")
            .await?;
        sql.run("TRUNCATE control_plane.secret_consumers").await?;
        assert_eq!(
            direct_changes(&sql, since).await?,
            [
                json!(["postgres", "secrets", "UPDATE", 3]),
                json!(["postgres", "secret_names", "INSERT", 1]),
                json!(["postgres", "secret_names", "DELETE", 1]),
                json!(["postgres", "secret_consumers", "TRUNCATE", null]),
            ],
            "{setting}"
        );
    }
    let told_since: i64 = sql.one(events, &[]).await?;
    assert_eq!(told_since, told, "a change by hand tells nobody");
    // What a function of ours does in the same transaction stays what it is.
    let since: Uuid = sql
        .one(
            "SELECT max(id::text)::uuid FROM control_plane.audit_logs",
            &[],
        )
        .await?;
    sql.run(
        "BEGIN;
         SELECT control_plane.rotate_secret(control_plane.secret_id('p', '1'), 'another value');
         UPDATE control_plane.grants SET granted_by = granted_by;
         COMMIT",
    )
    .await?;
    assert_eq!(
        direct_changes(&sql, since).await?,
        [json!(["postgres", "grants", "UPDATE", 1])]
    );
    Ok(())
}

#[tokio::test]
async fn a_record_says_which_role_somebody_had_taken() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let project = project("audit");
    let id: Uuid = admin
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    let role = format!("role_{}", Uuid::new_v4().simple());
    admin.run(&format!("CREATE ROLE {role}")).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'read', $2)",
            &[&role, &project],
        )
        .await?;
    let sql = app.sql().await?;
    sql.run(&format!("SET ROLE {role}")).await?;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    let refused = sql
        .refused("SELECT control_plane.delete_secret($1)", &[&id])
        .await;
    assert_eq!(
        refused.state, "PT403",
        "SET ROLE gives a superuser's rights up"
    );
    let last = records(&admin, &project).await?.pop().unwrap_or_default();
    assert_eq!(last["actor"], "postgres");
    assert_eq!(last["detail"]["role"], *role);
    Ok(())
}
