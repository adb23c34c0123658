//! End to end.
use pg_secrets_tests::*;
#[tokio::test]
async fn smoke() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let made = api.post("/api/secrets", serde_json::json!({"project_id": project("smoke"), "name": "a", "value": "b"})).await?.expect(201)?;
    println!("{made:?}");
    Ok(())
}
