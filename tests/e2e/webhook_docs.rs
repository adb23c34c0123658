//! The page for receivers knows every event.

use pg_secrets_tests::{Proof, TestApp, repository};

#[tokio::test]
async fn every_event_stands_on_the_page_for_receivers() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let create =
        "SELECT control_plane.create_endpoint('p', 'https://hooks.example/', NULL, '{no.such}')";
    let refused = sql.refused(create, &[]).await;
    let known = refused.hint.strip_prefix("The events are: ");
    let known = known.expect("the events").trim_end_matches('.');
    let page = std::fs::read_to_string(repository().join("docs/webhooks.md"))?;
    assert!(known.split(", ").count() > 10, "{known}");
    for event in known.split(", ") {
        let row = page
            .lines()
            .find(|line| line.starts_with("| `") && line.contains(&format!("`{event}`")));
        assert!(row.is_some(), "{event}");
    }
    Ok(())
}
