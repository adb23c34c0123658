//! The life of one secret, over REST and by SQL.

use pg_secrets_tests::{Answer, Api, Proof, TestApp, eventually, project};
use serde_json::json;
use uuid::Uuid;

/// The members of an answer that names a version; no other may be in it.
const VERSION_MEMBERS: [&str; 18] = [
    "id",
    "chain_id",
    "project_id",
    "name",
    "version",
    "active",
    "rotated_from",
    "rotation_reason",
    "created_by",
    "created_at",
    "superseded_at",
    "expires_at",
    "warned_at",
    "destroyed_at",
    "deleted_at",
    "purge_at",
    "key_fingerprint",
    "state",
];

fn assert_version_without_value(body: &serde_json::Value) {
    let mut members: Vec<_> = body
        .as_object()
        .into_iter()
        .flat_map(|o| o.keys())
        .collect();
    members.sort();
    let mut expected = VERSION_MEMBERS.to_vec();
    expected.sort_unstable();
    assert_eq!(members, expected);
}

async fn create(api: &Api, project: &str, name: &str, value: &str) -> Proof<Answer> {
    let body = json!({"project_id": project, "name": name, "value": value});
    Ok(api.post("/api/secrets", body).await?.expect(201)?)
}

#[tokio::test]
async fn a_secret_is_created_read_rotated_listed_and_deleted_over_rest() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("life");

    let created = create(&api, &project, "db-password", "first value").await?;
    assert_version_without_value(&created.body);
    let old = created.id().to_owned();
    assert_eq!(created.header("location"), format!("/api/secrets/{old}"));
    assert_eq!(created.header("etag"), format!("\"{old}\""));
    assert_eq!(created.body["version"], 1);
    assert_eq!(created.body["state"], "active");
    assert_eq!(created.body["created_by"], "admin@local");
    assert_eq!(created.text("chain_id"), old);

    let read = api.get(&format!("/api/secrets/{old}")).await?.expect(200)?;
    assert_eq!(read.text("value"), "first value");
    assert_eq!(read.header("sunset"), "");
    assert_eq!(read.header("deprecation"), "");

    let rotation = json!({"value": "second value", "rotation_reason": "quarterly"});
    let rotated = api
        .post(&format!("/api/secrets/{old}/rotate"), rotation)
        .await?
        .expect(201)?;
    assert_version_without_value(&rotated.body);
    let new = rotated.id().to_owned();
    assert_ne!(new, old);
    assert_eq!(rotated.header("location"), format!("/api/secrets/{new}"));
    assert_eq!(rotated.body["version"], 2);
    assert_eq!(rotated.text("rotated_from"), old);
    assert_eq!(rotated.text("rotation_reason"), "quarterly");
    assert_eq!(rotated.text("chain_id"), old);

    let by_name = format!("/api/projects/{project}/secrets/db-password");
    let current = api.get(&by_name).await?.expect(200)?;
    assert_eq!(current.id(), new);
    assert_eq!(current.text("value"), "second value");
    let first = api
        .get(&format!("{by_name}?version=1"))
        .await?
        .expect(200)?;
    assert_eq!(first.text("value"), "first value");
    let many = api
        .post(
            &format!("/api/projects/{project}/read"),
            json!({"names": ["db-password"]}),
        )
        .await?
        .expect(200)?;
    assert_eq!(many.body["secrets"][0]["value"], "second value");

    let superseded = api.get(&format!("/api/secrets/{old}")).await?.expect(200)?;
    assert_eq!(superseded.text("value"), "first value");
    assert_eq!(superseded.text("state"), "grace");
    assert!(superseded.header("deprecation").starts_with('@'));
    assert!(superseded.header("sunset").ends_with(" GMT"));
    assert_eq!(
        superseded.header("link"),
        format!("</api/secrets/{new}>; rel=\"successor-version\"")
    );

    let listed = api
        .get(&format!("/api/secrets?project_id={project}"))
        .await?
        .expect(200)?;
    let secrets = listed.body["secrets"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    assert_eq!(secrets.len(), 1, "{}", listed.body);
    assert_eq!(secrets[0]["id"], *new);
    assert!(
        !listed.body.to_string().contains("value\":"),
        "{}",
        listed.body
    );
    let versions = api
        .get(&format!("/api/secrets/{new}/versions"))
        .await?
        .expect(200)?;
    let numbers: Vec<_> = versions.body["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| (version["version"].as_i64(), version["state"].as_str()))
        .collect();
    assert_eq!(
        numbers,
        [(Some(2), Some("active")), (Some(1), Some("grace"))]
    );
    let one = api
        .get(&format!("/api/secrets/{new}/versions/1"))
        .await?
        .expect(200)?;
    assert_eq!(one.text("value"), "first value");

    // Any version's id finds the secret.
    let deleted = api
        .delete(&format!("/api/secrets/{old}"))
        .await?
        .expect(200)?;
    assert_version_without_value(&deleted.body);
    assert!(!deleted.text("deleted_at").is_empty());
    assert!(deleted.text("purge_at") > deleted.text("deleted_at"));
    for path in [
        format!("/api/secrets/{old}"),
        format!("/api/secrets/{new}"),
        format!("/api/secrets/{new}/versions/1"),
        by_name.clone(),
        format!("{by_name}?version=1"),
    ] {
        api.get(&path).await?.expect(404)?;
    }
    api.delete(&format!("/api/secrets/{new}"))
        .await?
        .expect(404)?;
    api.post(
        &format!("/api/secrets/{new}/rotate"),
        json!({"value": "third"}),
    )
    .await?
    .expect(404)?;
    let listed = api
        .get(&format!("/api/secrets?project_id={project}"))
        .await?
        .expect(200)?;
    assert_eq!(listed.body["secrets"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_deleted_name_begins_anew_with_the_next_number() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("anew");
    let first = create(&api, &project, "name", "one").await?;
    api.delete(&format!("/api/secrets/{}", first.id()))
        .await?
        .expect(200)?;
    let second = create(&api, &project, "name", "two").await?;
    assert_eq!(second.body["version"], 2);
    assert!(second.body["rotated_from"].is_null());
    assert_eq!(second.text("chain_id"), second.id());
    // The first life stays out of sight of the second.
    api.get(&format!("/api/secrets/{}/versions/1", second.id()))
        .await?
        .expect(404)?;
    let taken = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "three"}),
        )
        .await?
        .expect(409)?;
    assert_eq!(taken.text("current_id"), second.id());
    Ok(())
}

#[tokio::test]
async fn no_route_of_the_api_answers_without_a_valid_token() -> Proof {
    let app = TestApp::shared().await;
    let project = project("token");
    let made = create(&app.api(), &project, "name", "a value").await?;
    let id = made.id();
    let strangers = [
        Api::new(&app.companion.url(), None),
        app.api_as("pgs_0123456789012345678901234567890123456789012"),
        app.api_as(&format!("{}x", app.token)),
        app.api_as("not-a-token"),
    ];
    for api in &strangers {
        let answers = [
            api.get(&format!("/api/secrets/{id}")).await?,
            api.get(&format!("/api/secrets/{}", Uuid::new_v4())).await?,
            api.get(&format!("/api/secrets?project_id={project}"))
                .await?,
            api.get(&format!("/api/secrets/{id}/versions")).await?,
            api.get(&format!("/api/secrets/{id}/versions/1")).await?,
            api.get(&format!("/api/projects/{project}/secrets/name"))
                .await?,
            api.post(&format!("/api/projects/{project}/read"), json!({}))
                .await?,
            api.post(&format!("/api/secrets/{id}/rotate"), json!({"value": "x"}))
                .await?,
            api.delete(&format!("/api/secrets/{id}")).await?,
            api.put(&format!("/api/secrets/{id}/consumers/worker"))
                .await?,
            api.post(
                "/api/webhooks",
                json!({"project_id": project, "url": "http://127.0.0.1/"}),
            )
            .await?,
            api.post(
                "/api/secrets",
                json!({"project_id": project, "name": "n", "value": "x"}),
            )
            .await?,
        ];
        for answer in answers {
            let answer = answer.expect(401)?;
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        for (verb, body) in [
            ("rollback", json!({"to_version": 1})),
            ("extend-grace", json!({"by": 60})),
            ("end-grace", json!({})),
            ("restore", json!({})),
            ("purge", json!({})),
        ] {
            let path = format!("/api/secrets/{id}/{verb}");
            api.post(&path, body).await?.expect(401)?;
        }
        api.delete(&format!("/api/secrets/{id}/consumers/worker"))
            .await?
            .expect(401)?;
    }
    let read = app
        .api()
        .get(&format!("/api/secrets/{id}"))
        .await?
        .expect(200)?;
    assert_eq!(read.text("value"), "a value");
    Ok(())
}

#[tokio::test]
async fn health_and_readiness_need_no_token() -> Proof {
    let app = TestApp::shared().await;
    let api = Api::new(&app.companion.url(), None);
    api.get("/healthz").await?.expect(200)?;
    api.get("/readyz").await?.expect(200)?;
    api.get("/api/nothing-here").await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_version_whose_grace_is_over_is_gone_and_names_its_successor() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("grace");
    for grace in [json!(0), json!("PT0S"), json!(1), json!("PT1S")] {
        let name = format!("grace {grace}").replace('"', "");
        let old = create(&api, &project, &name, "old value").await?;
        let new = api
            .post(
                &format!("/api/secrets/{}/rotate", old.id()),
                json!({"value": "new value", "grace": grace}),
            )
            .await?
            .expect(201)?;
        let path = format!("/api/secrets/{}", old.id());
        let gone = eventually("the end of grace", || async {
            let answer = api.get(&path).await.ok()?;
            (answer.status == 410).then_some(answer)
        })
        .await;
        assert_eq!(gone.text("current_id"), new.id(), "{name}");
        let gone = api.get(&format!("{path}/versions/1")).await?.expect(410)?;
        assert_eq!(gone.text("current_id"), new.id(), "{name}");
        let states = api.get(&format!("{path}/versions")).await?.expect(200)?;
        assert_eq!(states.body["versions"][1]["state"], "destroyed", "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_begun_earlier_cannot_read_what_was_destroyed_since() -> Proof {
    let app = TestApp::shared().await;
    let project = project("snapshot");
    let old_fashioned = app.sql().await?;
    let other = app.sql().await?;
    for grace in ["0", "300 milliseconds"] {
        let id: Uuid = other
            .one(
                "SELECT id FROM control_plane.create_secret($1, $2, 'old value')",
                &[&project, &grace],
            )
            .await?;
        old_fashioned
            .run(
                "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets",
            )
            .await?;
        let value: String = old_fashioned
            .one("SELECT value FROM control_plane.get_secret($1)", &[&id])
            .await?;
        assert_eq!(value, "old value");
        let new: Uuid = other
            .one(
                "SELECT id FROM control_plane.rotate_secret($1, 'new value', grace => $2::text::interval)",
                &[&id, &grace],
            )
            .await?;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        let refused = old_fashioned
            .refused("SELECT value FROM control_plane.get_secret($1)", &[&id])
            .await;
        assert_eq!(refused.state, "PT410", "grace {grace}: {refused:?}");
        assert_eq!(refused.member("current_id"), Some(new.to_string()));
        old_fashioned.run("ROLLBACK").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_begun_earlier_cannot_read_what_was_deleted_since() -> Proof {
    let app = TestApp::shared().await;
    let project = project("deleted");
    let old_fashioned = app.sql().await?;
    let other = app.sql().await?;
    let id: Uuid = other
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'a value')",
            &[&project],
        )
        .await?;
    old_fashioned
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.secrets")
        .await?;
    other
        .rows("SELECT control_plane.delete_secret($1)", &[&id])
        .await?;
    let refused = old_fashioned
        .refused("SELECT value FROM control_plane.get_secret($1)", &[&id])
        .await;
    assert_eq!(refused.state, "PT404", "{refused:?}");
    old_fashioned.run("ROLLBACK").await?;
    Ok(())
}
