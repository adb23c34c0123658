//! A deletion that is taken back, or made final.

use pg_secrets_tests::{Answer, Api, Proof, Session, Sink, TestApp, project};
use serde_json::{Value, json};
use uuid::Uuid;

async fn create(api: &Api, project: &str, value: &str) -> Proof<String> {
    let body = json!({"project_id": project, "name": "name", "value": value});
    let made = api.post("/api/secrets", body).await?.expect(201)?;
    Ok(made.id().to_owned())
}

async fn rotate(api: &Api, id: &str, value: &str) -> Proof<String> {
    let path = format!("/api/secrets/{id}/rotate");
    let made = api
        .post(&path, json!({"value": value}))
        .await?
        .expect(201)?;
    Ok(made.id().to_owned())
}

async fn delete(api: &Api, id: &str) -> Proof {
    api.delete(&format!("/api/secrets/{id}"))
        .await?
        .expect(200)?;
    Ok(())
}

async fn restore(api: &Api, id: &str) -> Proof<Answer> {
    let path = format!("/api/secrets/{id}/restore");
    Ok(api.post(&path, json!({})).await?)
}

async fn purge(api: &Api, id: &str, body: Value) -> Proof<Answer> {
    Ok(api.post(&format!("/api/secrets/{id}/purge"), body).await?)
}

async fn deleted(api: &Api, project: &str) -> Proof<Vec<String>> {
    let path = format!("/api/secrets?project_id={project}&state=deleted");
    let listed = api.get(&path).await?.expect(200)?;
    let ids = listed.body["secrets"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(ids
        .iter()
        .map(|one| one["id"].as_str().unwrap_or_default().to_owned())
        .collect())
}

async fn events(sql: &Session, project: &str, kind: &str) -> Proof<Vec<Value>> {
    Ok(sql
        .all(
            "SELECT body::jsonb->'data' FROM control_plane.outbox WHERE project_id = $1 AND type = $2 ORDER BY id",
            &[&project, &kind],
        )
        .await?)
}

async fn records(sql: &Session, project: &str, action: &str) -> Proof<Vec<Value>> {
    Ok(sql
        .all(
            "SELECT jsonb_build_array(actor, secret_id, name, version, detail) FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = $2 ORDER BY id",
            &[&project, &action],
        )
        .await?)
}

#[tokio::test]
async fn a_deleted_secret_is_listed_and_comes_back_as_it_was() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("restore");
    let first = create(&api, &project, "first").await?;
    let second = rotate(&api, &first, "second").await?;
    let third = rotate(&api, &second, "third").await?;
    assert!(deleted(&api, &project).await?.is_empty());
    let reader = app.sql().await?;
    delete(&api, &third).await?;
    reader
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    let read = "SELECT value FROM control_plane.get_secret_by_name($1, 'name')";
    reader.run("SAVEPOINT s").await?;
    assert_eq!(reader.refused(read, &[&project]).await.state, "PT404");
    reader.run("ROLLBACK TO s").await?;
    assert_eq!(deleted(&api, &project).await?, [third.as_str()]);
    let token = app
        .token_for("no lister", &["read"], &project, None)
        .await?;
    app.api_as(&token)
        .get(&format!("/api/secrets?project_id={project}&state=deleted"))
        .await?
        .expect(403)?;
    api.get(&format!("/api/secrets?project_id={project}&state=else"))
        .await?
        .expect(400)?;

    // The grace of the first version ends while the secret is deleted.
    sql.rows(
        "UPDATE control_plane.secrets SET expires_at = clock_timestamp() WHERE id = $1",
        &[&Uuid::parse_str(&first)?],
    )
    .await?;
    let restored = restore(&api, &first).await?.expect(200)?;
    assert_eq!(restored.id(), third);
    assert_eq!(restored.text("state"), "active");
    assert!(restored.body["deleted_at"].is_null() && restored.body["purge_at"].is_null());
    api.get(&format!("/api/secrets/{first}"))
        .await?
        .expect(410)?;
    for (id, value) in [(&second, "second"), (&third, "third")] {
        let read = api.get(&format!("/api/secrets/{id}")).await?.expect(200)?;
        assert_eq!(read.text("value"), value);
    }
    let value: String = reader.one(read, &[&project]).await?;
    assert_eq!(value, "third", "a transaction begun before the restoration");
    reader.run("ROLLBACK").await?;
    assert!(deleted(&api, &project).await?.is_empty());
    let again = restore(&api, &first).await?.expect(409)?;
    assert_eq!(again.text("current_id"), third);

    assert_eq!(
        events(&sql, &project, "secret.restored").await?,
        [json!({"secret_id": third, "name": "name", "project_id": project, "version": 3})]
    );
    let recorded = records(&sql, &project, "secret.restored").await?;
    let administrator = json!({"administrator": true});
    assert_eq!(
        recorded,
        [json!(["admin@local", third, "name", 3, administrator])]
    );
    // And it goes on.
    rotate(&api, &third, "fourth").await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("restore");
    let first = create(&api, &project, "first").await?;
    delete(&api, &first).await?;
    let token = app
        .token_for("no deleter", &["write", "read", "list"], &project, None)
        .await?;
    restore(&app.api_as(&token), &first).await?.expect(403)?;
    // Another secret took the name.
    let second = create(&api, &project, "second").await?;
    let taken = restore(&api, &first).await?.expect(409)?;
    assert_eq!(taken.text("current_id"), second);
    delete(&api, &second).await?;
    let listed = deleted(&api, &project).await?;
    assert_eq!(listed, [second.as_str(), first.as_str()], "latest first");
    restore(&api, &first).await?.expect(200)?;
    let taken = restore(&api, &second).await?.expect(409)?;
    assert_eq!(taken.text("current_id"), first);
    // Past purge_at, although its rows are still there.
    delete(&api, &first).await?;
    sql.rows(
        "UPDATE control_plane.secrets SET purge_at = clock_timestamp() WHERE chain_id = $1",
        &[&Uuid::parse_str(&first)?],
    )
    .await?;
    restore(&api, &first).await?.expect(404)?;
    assert_eq!(deleted(&api, &project).await?, [second.as_str()]);
    restore(&api, &Uuid::new_v4().to_string())
        .await?
        .expect(404)?;
    let path = format!("/api/secrets/{second}/restore");
    api.post(&path, json!({"to": "yesterday"}))
        .await?
        .expect(400)?;
    Ok(())
}

#[tokio::test]
async fn a_purged_secret_is_gone_but_for_its_name_and_its_records() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let sql = app.sql().await?;
    let project = project("purge");
    let sink = Sink::start().await;
    let endpoint = json!({"project_id": project, "url": sink.url("/worker"), "service": "worker"});
    api.post("/api/webhooks", endpoint).await?.expect(201)?;
    let first = create(&api, &project, "first").await?;
    api.put(&format!("/api/secrets/{first}/consumers/worker"))
        .await?
        .expect(204)?;
    let second = rotate(&api, &first, "second").await?;

    let early = purge(&api, &first, json!({})).await?.expect(409)?;
    assert_eq!(early.text("current_id"), second);
    delete(&api, &second).await?;
    let everything = ["list", "read", "write", "delete", "manage"];
    let token = app.token_for("owner", &everything, &project, None).await?;
    purge(&app.api_as(&token), &first, json!({}))
        .await?
        .expect(403)?;
    let purged = purge(&api, &first, json!({"reason": "at last"}))
        .await?
        .expect(200)?;
    assert_eq!(purged.body, json!({"purged": 2}));

    for table in ["secrets", "secret_consumers"] {
        let left: i64 = sql
            .one(
                &format!("SELECT count(*) FROM control_plane.{table} AS t WHERE to_jsonb(t)->>'id' = ANY ($1) OR to_jsonb(t)->>'secret_id' = ANY ($1)"),
                &[&vec![&first, &second]],
            )
            .await?;
        assert_eq!(left, 0, "{table}");
    }
    assert!(deleted(&api, &project).await?.is_empty());
    restore(&api, &first).await?.expect(404)?;
    purge(&api, &first, json!({})).await?.expect(404)?;
    assert_eq!(
        events(&sql, &project, "secret.purged").await?,
        [
            json!({"secret_id": second, "name": "name", "project_id": project, "version": 2, "versions": 2, "reason": "at last"})
        ]
    );
    let detail = json!({"versions": 2, "reason": "at last", "administrator": true});
    assert_eq!(
        records(&sql, &project, "secret.purged").await?,
        [json!(["admin@local", second, "name", 2, detail])]
    );
    // Its consumers are told although nothing knows of them any more.
    let told = sink.wait_for("/worker", 3).await;
    let kinds = told
        .iter()
        .map(|one| Ok(one.json()?["type"].as_str().unwrap_or_default().to_owned()))
        .collect::<Proof<Vec<String>>>()?;
    assert!(kinds.contains(&"secret.purged".to_owned()), "{kinds:?}");
    let third = create(&api, &project, "third").await?;
    let read = api
        .get(&format!("/api/secrets/{third}"))
        .await?
        .expect(200)?;
    assert_eq!(read.body["version"], 3, "no number is used twice");
    Ok(())
}

#[tokio::test]
async fn a_transaction_begun_earlier_purges_what_came_since() -> Proof {
    let app = TestApp::shared().await;
    let project = project("purge");
    let (earlier, other) = (app.sql().await?, app.sql().await?);
    earlier
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    let first: Uuid = other
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    for statement in [
        "SELECT control_plane.register_consumer($1, 'worker')",
        "SELECT control_plane.set_rotation($1, '1 day', 8, 'hex')",
        "SELECT control_plane.rotate_secret($1, 'another value')",
        "SELECT control_plane.delete_secret($1)",
    ] {
        other.rows(statement, &[&first]).await?;
    }
    let purged: i32 = earlier
        .one("SELECT control_plane.purge_secret($1)", &[&first])
        .await?;
    assert_eq!(purged, 2);
    earlier.run("COMMIT").await?;
    for left in [
        "SELECT count(*) FROM control_plane.secrets WHERE chain_id = $1",
        "SELECT count(*) FROM control_plane.rotations WHERE chain_id = $1",
    ] {
        let left: i64 = other.one(left, &[&first]).await?;
        assert_eq!(left, 0);
    }
    // One record of the purge, and none of the rows that went with it.
    let records: Vec<String> = other
        .all(
            "SELECT action FROM control_plane.audit_logs WHERE secret_id = $1 OR project_id = $2 ORDER BY id DESC LIMIT 2",
            &[&first, &project],
        )
        .await?;
    assert_eq!(records, ["secret.purged", "secret.deleted"]);
    Ok(())
}

#[tokio::test]
async fn a_name_made_anew_has_its_projects_policy_and_nothing_of_the_secret_before() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("anew");
    sql.rows(
        "SELECT control_plane.set_policy($1, '90 minutes')",
        &[&project],
    )
    .await?;
    let old = create(&api, &project, "first").await?;
    api.put(&format!("/api/secrets/{old}/consumers/worker"))
        .await?
        .expect(204)?;
    api.put_json(
        &format!("/api/secrets/{old}/rotation"),
        json!({"rotate_every": "P1D", "length": 8, "alphabet": "hex"}),
    )
    .await?
    .expect(200)?;
    delete(&api, &old).await?;
    let anew = create(&api, &project, "second").await?;
    let consumers = |id: &str| format!("/api/secrets/{id}/consumers");
    let found = api.get(&consumers(&anew)).await?.expect(200)?;
    assert_eq!(found.body, json!({"consumers": []}));
    // The generator was the other secret's.
    let path = format!("/api/secrets/{anew}/rotate");
    api.post(&path, json!({})).await?.expect(400)?;
    rotate(&api, &anew, "third").await?;
    let grace = "SELECT (expires_at - superseded_at)::text FROM control_plane.secrets WHERE id = $1::text::uuid";
    let seconds: String = sql.one(grace, &[&anew]).await?;
    assert_eq!(seconds, "01:30:00");
    // That one comes back with all that it had.
    delete(&api, &anew).await?;
    restore(&api, &old).await?.expect(200)?;
    let found = api.get(&consumers(&old)).await?.expect(200)?;
    assert_eq!(found.body["consumers"][0]["service"], "worker");
    let path = format!("/api/secrets/{old}/rotate");
    let made = api.post(&path, json!({})).await?.expect(201)?;
    assert_eq!(made.body["version"], 4);
    let seconds: String = sql.one(grace, &[&old]).await?;
    assert_eq!(seconds, "01:30:00");
    Ok(())
}
