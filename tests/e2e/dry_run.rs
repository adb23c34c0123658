//! Whom a change would break, over REST and by SQL.

use crate::blast_radius::{by_sql, consumers, create, list, read, rotate, services};
use pg_secrets_tests::{Proof, Session, TestApp, project};
use serde_json::json;
use uuid::Uuid;

/// What a change could have left behind in a project.
async fn state(sql: &Session, project: &str) -> Proof<String> {
    let state = sql
        .one(
            "SELECT jsonb_build_array(
                 (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id) FROM control_plane.secrets AS s WHERE s.project_id = $1),
                 (SELECT jsonb_agg(to_jsonb(n)) FROM control_plane.secret_names AS n WHERE n.project_id = $1),
                 (SELECT count(*) FROM control_plane.outbox AS o WHERE o.project_id = $1),
                 (SELECT count(*) FROM control_plane.audit_logs AS a WHERE a.project_id = $1))::text",
            &[&project],
        )
        .await?;
    Ok(state)
}

#[tokio::test]
async fn a_dry_run_names_those_who_would_break_and_changes_nothing() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("dry");
    let old = create(&api, &project).await?;
    read(&api, &sql, "worker", &old).await?;
    read(&api, &sql, "edge_function", &old).await?;
    let new = rotate(&api, &old).await?;
    read(&api, &sql, "worker", &new).await?;
    api.put(&format!("/api/secrets/{new}/consumers/registered"))
        .await?
        .expect(204)?;
    let before = state(&sql, &project).await?;

    // Without a body, for there is no value to be sent yet; or with one.
    let rotation = format!("/api/secrets/{new}/rotate?dry_run=true");
    let found = api.post_nothing(&rotation).await?.expect(200)?;
    assert_eq!(services(&list(&found.body)?), ["worker"]);
    let found = api
        .post(&rotation, json!({"value": "third"}))
        .await?
        .expect(200)?;
    assert_eq!(services(&list(&found.body)?), ["worker"]);
    for id in [&old, &new] {
        let found = api
            .delete(&format!("/api/secrets/{id}?dry_run=true"))
            .await?
            .expect(200)?;
        let all = ["edge_function", "registered", "worker"];
        assert_eq!(services(&list(&found.body)?), all);
    }
    let found = by_sql(&sql, &format!("preview('{old}', 'end_grace')")).await?;
    assert_eq!(services(&found), ["edge_function"]);
    assert_eq!(found[0]["straggler"], true);
    let end = |id: &str, dry: &str| format!("/api/secrets/{id}/end-grace?dry_run={dry}");
    let asked = api.post_nothing(&end(&old, "true")).await?.expect(200)?;
    assert_eq!(services(&list(&asked.body)?), ["edge_function"]);
    let found = by_sql(&sql, &format!("preview('{new}', 'rotate')")).await?;
    assert_eq!(services(&found), ["worker"]);
    assert_eq!(state(&sql, &project).await?, before);

    // What the change itself would refuse is refused.
    for (id, action, state, what) in [
        (&old, "rotate", "PT409", "not the current one"),
        (&new, "end_grace", "PT409", "has no grace"),
        (&new, "purge", "PT400", "not known"),
    ] {
        let refused = sql
            .refused(
                "SELECT control_plane.preview($1::text::uuid, $2)",
                &[id, &action],
            )
            .await;
        assert_eq!(refused.state, state, "{action}: {refused:?}");
        assert!(refused.message.contains(what), "{refused:?}");
    }
    let superseded = api
        .post_nothing(&format!("/api/secrets/{old}/rotate?dry_run=true"))
        .await?
        .expect(409)?;
    assert_eq!(superseded.text("current_id"), new);
    let current = api.post_nothing(&end(&new, "true")).await?.expect(409)?;
    assert_eq!(current.text("current_id"), new);
    let refused = sql
        .refused(
            "SELECT control_plane.preview($1::text::uuid, NULL)",
            &[&new],
        )
        .await;
    assert_eq!(refused.state, "PT400");
    // It must be said that it is one.
    api.post_nothing(&format!("/api/secrets/{new}/rotate?dry_run=perhaps"))
        .await?
        .expect(400)?;
    assert_eq!(state(&sql, &project).await?, before);

    // Who may not do it may not ask what it would do.
    let token = app
        .token_for(&format!("lister {project}"), &["list"], &project, None)
        .await?;
    let lister = app.api_as(&token);
    lister.post_nothing(&rotation).await?.expect(403)?;
    lister.post_nothing(&end(&old, "true")).await?.expect(403)?;
    lister
        .delete(&format!("/api/secrets/{new}?dry_run=true"))
        .await?
        .expect(403)?;

    // Once it is done, both the preview and the change say that there is nothing left to end.
    api.post_nothing(&end(&old, "false")).await?.expect(200)?;
    for dry in ["true", "false"] {
        let over = api.post_nothing(&end(&old, dry)).await?.expect(410)?;
        assert_eq!(over.text("current_id"), new);
    }
    api.delete(&format!("/api/secrets/{new}?dry_run=false"))
        .await?
        .expect(200)?;
    for path in [
        format!("/api/secrets/{new}?dry_run=true"),
        format!("/api/secrets/{}?dry_run=true", Uuid::new_v4()),
    ] {
        api.delete(&path).await?.expect(404)?;
    }
    api.post_nothing(&rotation).await?.expect(404)?;
    for dry in ["true", "false"] {
        api.post_nothing(&end(&old, dry)).await?.expect(404)?;
    }
    // Its readers are still known: that is what one looks at before it is restored.
    assert_eq!(consumers(&api, &new).await?.len(), 3);
    Ok(())
}
