//! Many at once: one wins, and the others learn who.

use pg_secrets_tests::{Answer, Proof, TestApp, project};
use serde_json::json;
use tokio::task::JoinSet;

#[tokio::test]
async fn of_fifty_rotations_of_one_version_one_wins() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("race");
    let old = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let mut racers = JoinSet::new();
    for number in 0..50 {
        let api = api.clone();
        let path = format!("/api/secrets/{}/rotate", old.id());
        racers.spawn(async move {
            api.post(&path, json!({"value": format!("by {number}")}))
                .await
        });
    }
    let mut won: Vec<Answer> = Vec::new();
    let mut lost = Vec::new();
    while let Some(answer) = racers.join_next().await {
        let answer = answer??;
        match answer.status {
            201 => won.push(answer),
            _ => lost.push(answer.expect(409)?),
        }
    }
    assert_eq!((won.len(), lost.len()), (1, 49));
    for answer in &lost {
        assert_eq!(answer.text("current_id"), won[0].id());
    }
    let sql = app.sql().await?;
    let versions: Vec<i32> = sql
        .all(
            "SELECT version FROM control_plane.secrets WHERE project_id = $1 ORDER BY version",
            &[&project],
        )
        .await?;
    assert_eq!(versions, [1, 2]);
    Ok(())
}

#[tokio::test]
async fn of_many_creations_of_one_name_one_wins() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("race");
    let mut racers = JoinSet::new();
    for number in 0..20 {
        let api = api.clone();
        let body = json!({"project_id": project, "name": "name", "value": format!("by {number}")});
        racers.spawn(async move { api.post("/api/secrets", body).await });
    }
    let answers: Vec<Answer> = racers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    let won: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.status, 409, "{}", answer.body);
        assert_eq!(answer.text("current_id"), won[0].id());
    }
    Ok(())
}
