//! Who reads a secret and who was told, over REST and by SQL.

use pg_secrets_tests::{Api, Proof, Session, Sink, TestApp, eventually, project};
use serde_json::{Value, json};

pub(crate) async fn create(api: &Api, project: &str) -> Proof<String> {
    let body = json!({"project_id": project, "name": "name", "value": "first"});
    let made = api.post("/api/secrets", body).await?.expect(201)?;
    Ok(made.id().to_owned())
}

pub(crate) async fn rotate(api: &Api, id: &str) -> Proof<String> {
    let body = json!({"value": "another"});
    let made = api
        .post(&format!("/api/secrets/{id}/rotate"), body)
        .await?
        .expect(201)?;
    Ok(made.id().to_owned())
}

/// Reads a version as a service, and waits until that is known.
pub(crate) async fn read(api: &Api, sql: &Session, service: &str, id: &str) -> Proof {
    api.get_as(service, &format!("/api/secrets/{id}"))
        .await?
        .expect(200)?;
    eventually("the use", || async {
        let found: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.secret_consumers
                 WHERE secret_id = $1::text::uuid AND service = $2 AND last_used_at IS NOT NULL",
                &[&id, &service],
            )
            .await
            .ok()?;
        (found == 1).then_some(())
    })
    .await;
    Ok(())
}

pub(crate) async fn consumers(api: &Api, id: &str) -> Proof<Vec<Value>> {
    let answer = api
        .get(&format!("/api/secrets/{id}/consumers"))
        .await?
        .expect(200)?;
    list(&answer.body)
}

pub(crate) fn list(body: &Value) -> Proof<Vec<Value>> {
    let members = body.as_object().map(|body| body.keys().collect::<Vec<_>>());
    assert_eq!(members, Some(vec![&"consumers".to_owned()]));
    Ok(body["consumers"].as_array().cloned().unwrap_or_default())
}

pub(crate) fn services(consumers: &[Value]) -> Vec<&str> {
    consumers
        .iter()
        .filter_map(|one| one["service"].as_str())
        .collect()
}

/// The same by SQL, each row as JSON.
pub(crate) async fn by_sql(sql: &Session, call: &str) -> Proof<Vec<Value>> {
    let rows: Vec<Value> = sql
        .all(
            &format!("SELECT to_jsonb(c) FROM control_plane.{call} AS c"),
            &[],
        )
        .await?;
    Ok(rows)
}

#[tokio::test]
async fn who_has_not_read_the_new_version_is_the_straggler_and_nobody_else() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("radius");
    let old = create(&api, &project).await?;
    assert!(consumers(&api, &old).await?.is_empty());
    read(&api, &sql, "worker", &old).await?;
    read(&api, &sql, "edge_function", &old).await?;
    let before = consumers(&api, &old).await?;
    assert_eq!(services(&before), ["edge_function", "worker"]);
    assert!(before.iter().all(|one| one["straggler"] == false));

    let new = rotate(&api, &old).await?;
    let rotated = consumers(&api, &new).await?;
    assert!(rotated.iter().all(|one| one["straggler"] == true));
    read(&api, &sql, "worker", &new).await?;

    // Any version's id finds the secret.
    for id in [&old, &new] {
        let found = consumers(&api, id).await?;
        assert_eq!(services(&found), ["edge_function", "worker"]);
        let (edge, worker) = (&found[0], &found[1]);
        assert_eq!(edge["straggler"], true);
        assert_eq!(edge["last_version"], 1);
        assert_eq!(edge["last_state"], "grace");
        assert_eq!(worker["straggler"], false);
        assert_eq!(worker["last_version"], 2);
        assert_eq!(worker["last_state"], "active");
        for one in [edge, worker] {
            assert_eq!(one["verified"], false);
            assert!(one["last_used_at"].is_string());
            assert_eq!(one["endpoints"], 0);
            assert!(one["told_at"].is_null());
            // Not known, and said so.
            assert_eq!(one.get("sessions"), Some(&Value::Null));
        }
        let found = by_sql(&sql, &format!("blast_radius('{id}')")).await?;
        assert_eq!(services(&found), ["edge_function", "worker"]);
        let stragglers: Vec<_> = found
            .into_iter()
            .filter(|one| one["straggler"] == true)
            .collect();
        assert_eq!(services(&stragglers), ["edge_function"]);
    }
    let summary: i64 = sql
        .one(
            "SELECT stragglers FROM control_plane.list_secrets($1)",
            &[&project],
        )
        .await?;
    assert_eq!(summary, 1);
    // A worker that goes back to the old version has read the new one all the same; but the end of the old
    // one would break it. That is known at once, although its last use of the old one is not a minute ago.
    api.get_as("worker", &format!("/api/secrets/{old}"))
        .await?
        .expect(200)?;
    let found = eventually("the use of the old version", || async {
        let found = consumers(&api, &new).await.ok()?;
        (found[1]["last_version"] == 1).then_some(found)
    })
    .await;
    assert_eq!(found[1]["last_state"], "grace");
    assert_eq!(found[1]["straggler"], false);
    let broken = by_sql(&sql, &format!("preview('{old}', 'end_grace')")).await?;
    assert_eq!(services(&broken), ["edge_function", "worker"]);
    Ok(())
}

#[tokio::test]
async fn it_needs_list_and_writes_nothing() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("readonly");
    let id = create(&api, &project).await?;
    api.put(&format!("/api/secrets/{id}/consumers/worker"))
        .await?
        .expect(204)?;
    for (permission, status) in [("list", 200), ("read", 403), ("manage", 403)] {
        let token = app
            .token_for(
                &format!("{permission} of {project}"),
                &[permission],
                &project,
                None,
            )
            .await?;
        app.api_as(&token)
            .get(&format!("/api/secrets/{id}/consumers"))
            .await?
            .expect(status)?;
    }
    let stranger = app.token_for(&project, &[], &project, None).await?;
    app.api_as(&stranger)
        .get(&format!("/api/secrets/{id}/consumers"))
        .await?
        .expect(404)?;
    let sql = app.sql().await?;
    sql.run("SET default_transaction_read_only = on").await?;
    for call in [
        format!("blast_radius('{id}')"),
        format!("preview('{id}', 'delete')"),
    ] {
        let found = by_sql(&sql, &call).await?;
        assert_eq!(services(&found), ["worker"]);
        // It is expected, and has read nothing.
        assert!(found[0]["last_version"].is_null());
        assert_eq!(found[0]["straggler"], false);
    }
    Ok(())
}

#[tokio::test]
async fn a_read_that_is_bound_to_its_service_counts_as_verified() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("verified");
    let old = create(&api, &project).await?;
    let token = app
        .token_for(
            &format!("bound {project}"),
            &["read"],
            &project,
            Some("bound"),
        )
        .await?;
    read(&app.api_as(&token), &sql, "bound", &old).await?;
    assert_eq!(consumers(&api, &old).await?[0]["verified"], true);
    // Somebody says that it has moved; whether it has is not certain.
    let new = rotate(&api, &old).await?;
    read(&api, &sql, "bound", &new).await?;
    let found = consumers(&api, &new).await?;
    assert_eq!(found[0]["straggler"], false);
    assert_eq!(found[0]["verified"], false);
    Ok(())
}

#[tokio::test]
async fn a_read_by_a_grant_that_is_bound_to_a_service_counts_as_verified() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("verified");
    let id = create(&api, &project).await?;
    let role = format!("bound_{}", uuid::Uuid::new_v4().simple());
    sql.run(&format!("CREATE ROLE {role} LOGIN")).await?;
    sql.rows(
        "SELECT control_plane.grant_project($1, 'read', $2, service => 'web')",
        &[&role, &project],
    )
    .await?;
    let reader = app.cluster.connect(&role, "postgres").await?;
    // It need not name itself, and cannot be anybody else.
    reader
        .rows("SELECT control_plane.get_secret($1::text::uuid)", &[&id])
        .await?;
    let refused = reader
        .refused(
            "SELECT control_plane.get_secret($1::text::uuid, 'other')",
            &[&id],
        )
        .await;
    assert_eq!(refused.state, "PT403", "{refused:?}");
    let found = eventually("the use", || async {
        let found = consumers(&api, &id).await.ok()?;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(services(&found), ["web"]);
    assert_eq!(found[0]["verified"], true);
    Ok(())
}

#[tokio::test]
async fn it_says_how_many_endpoints_would_tell_a_consumer_and_when_it_was_told() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let sink = Sink::start().await;
    let project = project("told");
    let old = create(&api, &project).await?;
    for service in ["own", "none"] {
        api.put(&format!("/api/secrets/{old}/consumers/{service}"))
            .await?
            .expect(204)?;
    }
    for (service, path, kinds) in [
        (Some("own"), "/own", json!(null)),
        // Of these none would tell it of a rotation.
        (Some("own"), "/deleted", json!(["secret.deleted"])),
        (Some("else"), "/else", json!(null)),
        (None, "/project", json!(null)),
    ] {
        let body = json!({"project_id": project, "service": service, "url": sink.url(path), "event_types": kinds});
        api.post("/api/webhooks", body).await?.expect(201)?;
    }
    let body = json!({"project_id": project, "service": "none", "url": sink.url("/off")});
    let off = api.post("/api/webhooks", body).await?.expect(201)?;
    sql.run(&format!(
        "UPDATE control_plane.endpoints SET enabled = false WHERE id = '{}'",
        off.id()
    ))
    .await?;
    let found = consumers(&api, &old).await?;
    assert_eq!(services(&found), ["none", "own"]);
    assert_eq!(found[0]["endpoints"], 1);
    assert_eq!(found[1]["endpoints"], 2);
    assert!(found[1]["told_at"].is_null());

    let new = rotate(&api, &old).await?;
    sink.wait_for("/own", 1).await;
    sink.wait_for("/project", 1).await;
    let found = eventually("the end of the delivery", || async {
        let found = consumers(&api, &new).await.ok()?;
        found[1]["told_at"].is_string().then_some(found)
    })
    .await;
    // The project was told, and that is not the service.
    assert!(found[0]["told_at"].is_null());
    // What the next rotation tells is another matter.
    sql.run(&format!(
        "UPDATE control_plane.endpoints SET enabled = false WHERE project_id = '{project}'"
    ))
    .await?;
    let newest = rotate(&api, &new).await?;
    let found = consumers(&api, &newest).await?;
    assert!(found.iter().all(|one| one["told_at"].is_null()));
    assert!(found.iter().all(|one| one["endpoints"] == 0));
    Ok(())
}

/// The services that have a row for a version, and whether they have used it.
async fn expected(sql: &Session, id: &str) -> Proof<Vec<String>> {
    let rows = sql
        .all(
            "SELECT service || CASE WHEN last_used_at IS NULL THEN ' expected' ELSE ' used' END
             FROM control_plane.secret_consumers WHERE secret_id = $1::text::uuid ORDER BY service",
            &[&id],
        )
        .await?;
    Ok(rows)
}

#[tokio::test]
async fn consumers_of_the_old_version_are_expected_at_the_new_one() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("expected");
    let first = create(&api, &project).await?;
    api.put(&format!("/api/secrets/{first}/consumers/registered"))
        .await?
        .expect(204)?;
    read(&api, &sql, "worker", &first).await?;
    let second = rotate(&api, &first).await?;
    // Who only was expected at the old one is not any more.
    assert_eq!(expected(&sql, &first).await?, ["worker used"]);
    assert_eq!(
        expected(&sql, &second).await?,
        ["registered expected", "worker expected"]
    );
    // One that reads the old version after its rotation is expected at the new one as well.
    read(&api, &sql, "late", &first).await?;
    let third = rotate(&api, &second).await?;
    assert_eq!(
        expected(&sql, &third).await?,
        ["late expected", "registered expected", "worker expected"]
    );
    let found = consumers(&api, &third).await?;
    assert_eq!(services(&found), ["late", "worker", "registered"]);
    assert_eq!(found[2]["straggler"], false);
    let summary = sql
        .rows(
            "SELECT consumers, stragglers FROM control_plane.list_secrets($1)",
            &[&project],
        )
        .await?;
    assert_eq!(
        (summary[0].get::<_, i64>(0), summary[0].get::<_, i64>(1)),
        (3, 2)
    );
    // Once it reads, the row is a use like any other.
    read(&api, &sql, "worker", &third).await?;
    assert_eq!(
        expected(&sql, &third).await?,
        ["late expected", "registered expected", "worker used"]
    );
    // One record for each rotation, and none for the rows.
    let actions: Vec<String> = sql
        .all(
            "SELECT action FROM control_plane.audit_logs
             WHERE secret_id IN ($1::text::uuid, $2::text::uuid) AND action <> 'secret.accessed' ORDER BY id",
            &[&second, &third],
        )
        .await?;
    assert_eq!(actions, ["secret.rotated", "secret.rotated"]);
    let direct: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.direct_change'
             AND detail ->> 'table' = 'secret_consumers' AND actor <> 'postgres'",
            &[],
        )
        .await?;
    assert_eq!(direct, 0);
    // A rotation that is rolled back leaves every expectation where it was.
    sql.run(&format!(
        "BEGIN; SELECT control_plane.rotate_secret('{third}', 'undone'); ROLLBACK"
    ))
    .await?;
    assert_eq!(
        expected(&sql, &third).await?,
        ["late expected", "registered expected", "worker used"]
    );
    assert_eq!(expected(&sql, &second).await?, Vec::<String>::new());
    assert_eq!(expected(&sql, &first).await?, ["late used", "worker used"]);
    Ok(())
}
