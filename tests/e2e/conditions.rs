//! If-None-Match and If-Match.

use pg_secrets_tests::{Answer, Api, Proof, Session, TestApp, project};
use serde_json::{Value, json};

async fn create(api: &Api, project: &str, value: &str) -> Proof<Answer> {
    let body = json!({"project_id": project, "name": "name", "value": value});
    Ok(api.post("/api/secrets", body).await?.expect(201)?)
}

async fn get(api: &Api, path: &str, known: &str) -> Proof<Answer> {
    let headers = [("if-none-match", known), ("x-service-name", "svc")];
    Ok(api.send("GET", path, None, &headers).await?)
}

async fn recorded(sql: &Session, project: &str) -> Proof<Vec<Value>> {
    let statement = "SELECT jsonb_build_array(action, outcome, service, request_id IS NOT NULL)
        FROM control_plane.audit_logs WHERE project_id = $1 AND action IN ('secret.accessed', 'secret.checked', 'secret.access_denied') ORDER BY id";
    Ok(sql.all(statement, &[&project]).await?)
}

#[tokio::test]
async fn a_reader_who_has_the_version_is_told_so_and_recorded() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("unchanged");
    let id = create(&api, &project, "one").await?.id().to_owned();
    let paths = [
        format!("/api/secrets/{id}"),
        format!("/api/secrets/{id}/versions/1"),
        format!("/api/projects/{project}/secrets/name"),
        format!("/api/projects/{project}/secrets/name?version=1"),
    ];
    let tag = format!("\"{id}\"");
    let mut expected = Vec::new();
    for path in &paths {
        let read = get(&api, path, "\"x\"").await?.expect(200)?;
        assert_eq!(read.header("etag"), tag);
        expected.push(json!(["secret.accessed", "success", "svc", true]));
        let forms = [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".to_owned(),
        ];
        for known in forms {
            let unchanged = get(&api, path, &known).await?.expect(304)?;
            assert_eq!(unchanged.header("etag"), tag, "{path} {known}");
            assert_eq!(unchanged.body, Value::Null);
            expected.push(json!(["secret.checked", "success", "svc", true]));
        }
    }
    assert_eq!(recorded(&sql, &project).await?, expected);
    for bad in [id.as_str(), "\"", "x,y"] {
        get(&api, &paths[0], bad).await?.expect(400)?;
    }

    // Another version is another tag, also where the number is asked for.
    let body = json!({"value": "two"});
    let rotated = api
        .post(&format!("/api/secrets/{id}/rotate"), body)
        .await?
        .expect(201)?;
    let read = get(&api, &paths[2], &tag).await?.expect(200)?;
    assert_eq!((read.text("value"), read.id()), ("two", rotated.id()));
    // What is in grace is unchanged, and says that it has a successor.
    let unchanged = get(&api, &paths[0], &tag).await?.expect(304)?;
    assert!(unchanged.header("link").contains(rotated.id()));
    assert!(!unchanged.header("sunset").is_empty());
    api.post_nothing(&format!("/api/secrets/{id}/end-grace"))
        .await?
        .expect(200)?;
    let gone = get(&api, &paths[0], &tag).await?.expect(410)?;
    assert_eq!(gone.text("current_id"), rotated.id());
    Ok(())
}

#[tokio::test]
async fn a_check_opens_no_value() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("unopened");
    let id = create(&api, &project, "one").await?.id().to_owned();
    // A message that nothing opens.
    sql.rows(
        "UPDATE control_plane.secrets SET value_encrypted = '\\x00' WHERE project_id = $1",
        &[&project],
    )
    .await?;
    let path = format!("/api/secrets/{id}");
    api.get(&path).await?.expect(422)?;
    get(&api, &path, &format!("\"{id}\"")).await?.expect(304)?;
    Ok(())
}

#[tokio::test]
async fn who_may_not_read_may_not_check() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("unreadable");
    let id = create(&api, &project, "one").await?.id().to_owned();
    let (tag, path) = (format!("\"{id}\""), format!("/api/secrets/{id}"));
    let stranger = app.token_for(&project, &["list"], &project, None).await?;
    let stranger = app.api_as(&stranger);
    get(&stranger, &path, &tag).await?.expect(403)?;
    get(&stranger, &path, "*").await?.expect(403)?;
    let elsewhere = crate::access::secret(&sql).await?;
    let hidden = get(&stranger, &format!("/api/secrets/{}", elsewhere.id), "*").await?;
    hidden.expect(404)?;
    let denied = json!(["secret.access_denied", "denied", "svc", true]);
    assert_eq!(recorded(&sql, &project).await?, [denied.clone(), denied]);
    // A service that the token is not bound to.
    let other = format!("{project}-bound");
    let bound = app
        .token_for(&other, &["read"], &project, Some("app"))
        .await?;
    get(&app.api_as(&bound), &path, &tag).await?.expect(403)?;
    Ok(())
}

#[tokio::test]
async fn a_check_that_cannot_be_recorded_is_not_answered() -> Proof {
    let app = TestApp::start("fsync = off\npg_secrets.audit_timeout = '300ms'").await;
    let (sql, api) = (app.sql().await?, app.api());
    let id = create(&api, "p", "one").await?.id().to_owned();
    let (tag, path) = (format!("\"{id}\""), format!("/api/secrets/{id}"));
    get(&api, &path, &tag).await?.expect(304)?;
    sql.run("BEGIN; LOCK TABLE control_plane.audit_logs IN SHARE ROW EXCLUSIVE MODE")
        .await?;
    let refused = get(&api, &path, &tag).await?.expect(503)?;
    assert!(!refused.header("retry-after").is_empty());
    sql.run("ROLLBACK").await?;
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_checks_counts_as_one_that_reads() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("checks");
    let id = create(&api, &project, "one").await?.id().to_owned();
    get(&api, &format!("/api/secrets/{id}"), "*")
        .await?
        .expect(304)?;
    pg_secrets_tests::eventually("the use", || async {
        let statement =
            "SELECT service FROM control_plane.secret_consumers WHERE secret_id = $1::text::uuid";
        let services: Vec<String> = sql.all(statement, &[&id]).await.ok()?;
        (services == ["svc"]).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_rotation_with_a_condition_is_refused_where_that_is_not_met() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("if-match");
    let first = create(&api, &project, "one").await?;
    let rotate = async |id: &str, tag: &str| -> Proof<Answer> {
        let path = format!("/api/secrets/{id}/rotate");
        let body = json!({"value": "two"}).to_string();
        Ok(api
            .send("POST", &path, Some(&body), &[("if-match", tag)])
            .await?)
    };
    let (old, tag) = (first.id(), format!("\"{}\"", first.id()));
    let weak = format!("W/{tag}");
    for other in ["\"x\"", "\"00000000-0000-7000-8000-000000000000\"", &weak] {
        rotate(old, other).await?.expect(412)?;
    }
    rotate(old, first.id()).await?.expect(400)?;
    let second = rotate(old, &format!("\"x\", {tag}")).await?.expect(201)?;
    // Whoever comes second, with a condition and without one.
    let failed = rotate(old, &tag).await?.expect(412)?;
    assert_eq!(failed.text("current_id"), second.id());
    let failed = rotate(old, "*").await?.expect(412)?;
    assert_eq!(failed.text("current_id"), second.id());
    let path = format!("/api/secrets/{old}/rotate");
    let failed = api
        .post(&path, json!({"value": "two"}))
        .await?
        .expect(409)?;
    assert_eq!(failed.text("current_id"), second.id());
    rotate(second.id(), second.header("etag"))
        .await?
        .expect(201)?;
    Ok(())
}
