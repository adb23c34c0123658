//! What holds for a whole project.

use pg_secrets_tests::{Proof, Session, TestApp, project};
use serde_json::json;

/// How long the version before the current one stays readable, in seconds, after a rotation of a fresh
/// secret of the project.
async fn grace(sql: &Session, project: &str, said: &str) -> Proof<i64> {
    let seconds: i64 = sql
        .one(
            &format!(
                "WITH made AS MATERIALIZED (SELECT id FROM control_plane.create_secret($1, gen_random_uuid()::text, 'v')),
                     rotated AS MATERIALIZED (SELECT r.rotated_from FROM made, control_plane.rotate_secret(made.id, 'w'{said}) AS r)
                 SELECT extract(epoch FROM v.expires_at - v.superseded_at)::bigint
                 FROM rotated, control_plane.secret_versions(rotated.rotated_from) AS v WHERE v.id = rotated.rotated_from"
            ),
            &[&project],
        )
        .await?;
    Ok(seconds)
}

#[tokio::test]
async fn a_rotation_without_a_grace_has_the_projects_and_else_the_servers() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("grace");
    assert_eq!(grace(&sql, &project, "").await?, 24 * 60 * 60);
    sql.rows(
        "SELECT control_plane.set_policy($1, grace => '90 minutes')",
        &[&project],
    )
    .await?;
    assert_eq!(grace(&sql, &project, "").await?, 90 * 60);
    assert_eq!(grace(&sql, &project, ", grace => '5s'").await?, 5);
    let elsewhere = format!("{project} elsewhere");
    assert_eq!(grace(&sql, &elsewhere, "").await?, 24 * 60 * 60);
    // Zero is a grace too, and not the lack of one.
    sql.rows("SELECT control_plane.set_policy($1, '0')", &[&project])
        .await?;
    assert_eq!(grace(&sql, &project, "").await?, 0);
    sql.rows("SELECT control_plane.set_policy($1)", &[&project])
        .await?;
    assert_eq!(grace(&sql, &project, "").await?, 24 * 60 * 60);
    Ok(())
}

#[tokio::test]
async fn a_server_without_grace_erases_the_old_version_with_the_rotation() -> Proof {
    let app = TestApp::start("fsync = off\npg_secrets.grace_period = 0").await;
    let sql = app.sql().await?;
    assert_eq!(grace(&sql, "p", "").await?, 0);
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.secrets WHERE NOT active AND value_encrypted IS NOT NULL",
            &[],
        )
        .await?;
    assert_eq!(left, 0);
    // A project, and a rotation, can have one all the same.
    sql.rows("SELECT control_plane.set_policy('p', '1 hour')", &[])
        .await?;
    assert_eq!(grace(&sql, "p", "").await?, 60 * 60);
    assert_eq!(grace(&sql, "q", ", grace => '5s'").await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_policy_is_set_as_a_whole_and_read_as_it_was_set() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("policy");
    let path = format!("/api/projects/{project}/policy");
    let untouched = json!({
        "project_id": *project, "grace": null, "hold_for_stragglers": false, "hold_limit": 604_800
    });
    assert_eq!(api.get(&path).await?.expect(200)?.body, untouched);
    let body = json!({"grace": "PT1H", "hold_for_stragglers": true, "hold_limit": 3600.5});
    let set = json!({
        "project_id": *project, "grace": 3600, "hold_for_stragglers": true, "hold_limit": 3600.5
    });
    assert_eq!(api.put_json(&path, body).await?.expect(200)?.body, set);
    assert_eq!(api.get(&path).await?.expect(200)?.body, set);
    for (wrong, what) in [
        (json!({"grace": "1 day"}), "grace"),
        (json!({"grace": -1}), "grace"),
        (json!({"grace": "P11Y"}), "grace"),
        (json!({"hold_limit": 0}), "hold_limit"),
        (json!({"hold_limit": true}), "hold_limit"),
        (json!({"hold_limit": "P11Y"}), "hold_limit"),
        (json!({"hold": true}), "hold_for_stragglers"),
    ] {
        let refused = api.put_json(&path, wrong).await?.expect(400)?;
        assert!(refused.text("detail").contains(what), "{}", refused.body);
    }
    assert_eq!(api.get(&path).await?.expect(200)?.body, set);
    // What is not said goes back to its default.
    let back = api.put_json(&path, json!({})).await?.expect(200)?;
    assert_eq!(back.body, untouched);

    let sql = app.sql().await?;
    let details: Vec<serde_json::Value> = sql
        .all(
            "SELECT detail - 'administrator' FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = 'policy.changed' ORDER BY id",
            &[&project],
        )
        .await?;
    assert_eq!(
        details,
        [
            json!({"grace_seconds": 3600, "hold_for_stragglers": true, "hold_limit_seconds": 3600}),
            json!({"grace_seconds": null, "hold_for_stragglers": false, "hold_limit_seconds": 604_800}),
        ]
    );
    // A change past the function is seen.
    sql.run(&format!(
        "BEGIN; DELETE FROM control_plane.policies WHERE project_id = '{project}'"
    ))
    .await?;
    let table: String = sql
        .one(
            "SELECT detail ->> 'table' FROM control_plane.audit_logs WHERE action = 'audit.direct_change' ORDER BY id DESC LIMIT 1",
            &[],
        )
        .await?;
    assert_eq!(table, "policies");
    sql.run("ROLLBACK").await?;
    for (permission, status) in [("write", 403), ("list", 403), ("manage", 200)] {
        let subject = format!("{permission} of {project}");
        let token = app
            .token_for(&subject, &[permission], &project, None)
            .await?;
        let api = app.api_as(&token);
        api.get(&path).await?.expect(status)?;
        api.put_json(&path, json!({})).await?.expect(status)?;
    }
    Ok(())
}
