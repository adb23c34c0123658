//! Whoever may not manage an endpoint learns nothing of it, not even that it is there.

use pg_secrets_tests::{Api, Proof, TestApp, project};
use serde_json::{Value, json};
use uuid::Uuid;

/// Status and body of everything that can be asked of an endpoint, without what names it.
async fn asked(api: &Api, id: &str) -> Proof<Vec<(u16, String)>> {
    let path = format!("/api/webhooks/{id}");
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    let one = json!({"delivery_id": Uuid::nil()});
    let empty = json!({});
    let answers = [
        api.get(&path).await?,
        api.get(&format!("{path}/deliveries")).await?,
        api.patch(&path, json!({"enabled": false})).await?,
        api.post(&format!("{path}/rotate-secret"), empty.clone())
            .await?,
        api.post(&format!("{path}/ping"), empty).await?,
        api.post(&format!("{path}/redeliver"), since).await?,
        api.post(&format!("{path}/redeliver"), one).await?,
        api.delete(&path).await?,
    ];
    let plain = |mut body: Value| {
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
            members.remove("instance");
        }
        body.to_string().replace(id, "ID")
    };
    Ok(answers
        .into_iter()
        .map(|answer| (answer.status, plain(answer.body)))
        .collect())
}

#[tokio::test]
async fn another_projects_endpoint_answers_as_one_that_does_not_exist() -> Proof {
    let app = TestApp::shared().await;
    let (project, other) = (project("own"), project("other"));
    let url = "https://hooks.example/token-in-the-path";
    let made = app
        .api()
        .post("/api/webhooks", json!({"project_id": project, "url": url}))
        .await?
        .expect(201)?;
    let stranger = format!("stranger of {other}");
    let token = app.token_for(&stranger, &["manage"], &other, None).await?;
    let stranger = app.api_as(&token);
    let existing = asked(&stranger, made.id()).await?;
    let unknown = asked(&stranger, &Uuid::new_v4().to_string()).await?;
    assert_eq!(existing, unknown);
    for (status, body) in &existing {
        assert_eq!(*status, 404, "{body}");
    }
    let listed = stranger
        .get(&format!("/api/webhooks?project_id={project}"))
        .await?;
    assert_eq!(listed.status, 403);

    // Who may read the project's secrets may know that it is there, and no more.
    let reader = format!("reader of {project}");
    let token = app
        .token_for(&reader, &["list", "read", "write"], &project, None)
        .await?;
    for (status, body) in asked(&app.api_as(&token), made.id()).await? {
        assert_eq!(status, 403, "{body}");
        assert!(!body.contains("hooks.example"), "{body}");
    }
    let sql = app.sql().await?;
    let (enabled, deliveries): (bool, i64) = {
        let rows = sql
            .rows(
                "SELECT e.enabled, (SELECT count(*) FROM control_plane.deliveries WHERE endpoint_id = e.id)
                 FROM control_plane.endpoints AS e WHERE id = $1::text::uuid",
                &[&made.id()],
            )
            .await?;
        (rows[0].get(0), rows[0].get(1))
    };
    assert_eq!((enabled, deliveries), (true, 0));
    let recorded: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE audit_logs::text LIKE '%token-in-the-path%'",
            &[],
        )
        .await?;
    assert_eq!(recorded, 0);
    Ok(())
}

#[tokio::test]
async fn a_delivery_of_another_endpoint_cannot_be_asked_for_through_ones_own() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let mut endpoints = Vec::new();
    for of in ["mine", "theirs"] {
        // Nothing listens there.
        let body = json!({"project_id": project(of), "url": "http://127.0.0.1:9/"});
        let made = api.post("/api/webhooks", body).await?.expect(201)?;
        endpoints.push(made.id().to_owned());
    }
    let theirs = api
        .post(&format!("/api/webhooks/{}/ping", endpoints[1]), json!({}))
        .await?
        .expect(202)?;
    let asked = api
        .post(
            &format!("/api/webhooks/{}/redeliver", endpoints[0]),
            json!({"delivery_id": theirs.text("delivery_id")}),
        )
        .await?;
    assert_eq!(asked.status, 404, "{}", asked.body);
    Ok(())
}
