//! Grants that end, and grants that are none from the beginning.

use crate::access::login;
use pg_secrets_tests::{Proof, TestApp, project};

#[tokio::test]
async fn a_grant_that_expired_or_was_revoked_is_none_in_open_transactions_too() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("ends");
    sql.rows(
        "SELECT control_plane.create_secret($1, 'n', 'v')",
        &[&project],
    )
    .await?;
    let name = login(&sql).await?;
    let give = |until: &str| {
        format!(
            "SELECT control_plane.grant_project('{name}', 'read', '{project}', expires_at => {until})"
        )
    };
    let keep = format!("SELECT control_plane.grant_project('{name}', 'list', '{project}')");
    sql.run(&keep).await?;
    let reader = app.cluster.connect(&name, "postgres").await?;
    let read = format!("SELECT control_plane.get_secret_by_name('{project}', 'n')");
    for end in ["revoked", "expired", "shortened"] {
        sql.run(&give("NULL")).await?;
        reader
            .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            .await?;
        reader.run(&read).await?;
        match end {
            "revoked" => {
                let revoke = "SELECT control_plane.revoke_project($1, 'read', $2)";
                let removed: i32 = sql.one(revoke, &[&name, &project]).await?;
                assert_eq!(removed, 1);
            }
            _ => {
                sql.run(&give("clock_timestamp() + interval '300 ms'"))
                    .await?;
                reader.run(&read).await?;
                tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            }
        }
        let refused = reader.refused_text(&read).await;
        assert_eq!(refused.state, "PT403", "{end}: {refused:?}");
        reader.run("ROLLBACK").await?;
        assert_eq!(reader.refused_text(&read).await.state, "PT403", "{end}");
    }
    // It is one grant all the time, with its last end, until it is revoked.
    let ends: Vec<bool> = sql
        .all(
            "SELECT expires_at < clock_timestamp() FROM control_plane.project_grants($1)
             WHERE permission = 'read'",
            &[&project],
        )
        .await?;
    assert_eq!(ends, [true]);
    Ok(())
}

#[tokio::test]
async fn a_grant_that_makes_no_sense_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let long = "x".repeat(256);
    let wide = "\u{10ffff}".repeat(255);
    for arguments in [
        "'a', 'read', name_prefix => 'x'".to_owned(),
        "'a', 'admin', name_prefix => 'x'".to_owned(),
        "'a', 'admin', 'p', name_prefix => 'x'".to_owned(),
        "'a', 'read', 'p', name_prefix => ''".to_owned(),
        "'a', 'read', 'p', name_prefix => E'x\\n'".to_owned(),
        format!("'a', 'read', 'p', name_prefix => '{long}'"),
        format!("'{wide}', 'read', '{wide}', name_prefix => '{wide}'"),
        "'a', 'read', 'p', expires_at => clock_timestamp()".to_owned(),
        "'a', 'read', 'p', expires_at => '-infinity'".to_owned(),
    ] {
        let refused = sql
            .refused_text(&format!("SELECT control_plane.grant_project({arguments})"))
            .await;
        assert_eq!(refused.state, "PT400", "{arguments}: {refused:?}");
    }
    // The longest that there is still fits into the index.
    sql.run(&format!(
        "SELECT control_plane.grant_project('{wide}', 'read', '{wide}', name_prefix => '{}', kind => 'subject')",
        "y".repeat(255)
    ))
    .await?;
    Ok(())
}
