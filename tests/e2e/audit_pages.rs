//! The audit log page by page.

use crate::audit_log::{create, ids, listed, page, read, rotate};
use pg_secrets_tests::{Proof, TestApp, project};
use std::collections::BTreeSet;
use uuid::Uuid;

#[tokio::test]
async fn pages_give_each_record_once_while_new_ones_arrive() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("audit_log");
    let mut current = create(&sql, &project, "name").await?;
    for _ in 0..6 {
        read(&sql, current).await?;
        read(&sql, current).await?;
        current = rotate(&sql, current).await?;
    }
    for asked in [
        format!("project_id={project}"),
        format!("secret_id={current}"),
        format!("project_id={project}&actor=postgres"),
    ] {
        let before = ids(&page(&api, &format!("{asked}&limit=1000")).await?);
        assert!(before.len() >= 19);
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = page(&api, &format!("{asked}&limit=4{cursor}")).await?;
            assert_eq!(
                answer.body.get("denied").is_some(),
                cursor.is_empty(),
                "with the first page alone"
            );
            seen.extend(ids(&answer));
            read(&sql, current).await?;
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, before, "{asked}");
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(once.len(), seen.len(), "{asked}");
    }
    Ok(())
}

/// A log of 20,000 records of one secret, actor and project, 200 of them of refusals.
const LONG_LOG: &str = "
    INSERT INTO control_plane.audit_logs (id, at, action, outcome, actor, project_id, secret_id)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000a' || lpad(n::text, 15, '0'))::uuid,
        at, 'made', CASE WHEN n % 100 = 0 THEN 'denied' ELSE 'success' END, 'actor', 'p', s.id
    FROM generate_series(1, 20000) AS n,
        LATERAL (SELECT now() - interval '30 days' + n * interval '1 minute' AS at) AS t,
        (SELECT control_plane.secret_id('p', 'name') AS id) AS s";

/// How many rows of the log this session has fetched, or a number that grows as that does.
const READ: &str = "
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
    WHERE relid = 'control_plane.audit_logs'::regclass";

#[tokio::test]
async fn a_page_reads_what_it_holds_however_long_the_log_is() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    let id = create(&sql, "p", "name").await?;
    sql.run(LONG_LOG).await?;
    // With statistics that know of one actor and one project, and with none.
    for statistics in [
        "ANALYZE control_plane.audit_logs",
        "DELETE FROM pg_statistic WHERE starelid = 'control_plane.audit_logs'::regclass",
    ] {
        sql.run(statistics).await?;
        for (arguments, most) in [
            (String::new(), 10),
            ("'p'".to_owned(), 10),
            ("'p', actor => 'actor'".to_owned(), 10),
            ("actor => 'actor'".to_owned(), 10),
            (format!("secret_id => '{id}'"), 10),
            (
                "'p', since => now() - interval '20 days', until => now() - interval '19 days'"
                    .to_owned(),
                10,
            ),
            (
                format!(
                    "secret_id => '{id}', since => now() - interval '20 days', until => now() - interval '19 days'"
                ),
                10,
            ),
            ("outcome => 'denied'".to_owned(), 10),
            (format!("secret_id => '{id}', outcome => 'denied'"), 10),
            ("actor => 'actor', outcome => 'denied'".to_owned(), 10),
            ("'nothing'".to_owned(), 0),
            ("actor => 'nobody'".to_owned(), 0),
            (format!("secret_id => '{}'", Uuid::new_v4()), 0),
            ("actor => 'nobody', outcome => 'denied'".to_owned(), 0),
        ] {
            let comma = if arguments.is_empty() { "" } else { ", " };
            // Planned for these arguments, and once for whatever comes.
            for plan in ["force_custom_plan", "force_generic_plan"] {
                sql.run(&format!("BEGIN; SET LOCAL plan_cache_mode = {plan}"))
                    .await?;
                let before: i64 = sql.one(READ, &[]).await?;
                let found = listed(&sql, &format!("{arguments}{comma}\"limit\" => 10")).await?;
                let after: i64 = sql.one(READ, &[]).await?;
                sql.run("COMMIT").await?;
                let read = after - before;
                assert_eq!(i64::try_from(found.len()).ok(), Some(most), "{arguments}");
                // Beside the page: what the planner looks at, and the second that ids are not trusted for.
                assert!(
                    read <= most + 10,
                    "{arguments}: {read} ({statistics}, {plan})"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_audit_is_read_where_nothing_can_be_written() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("audit_log");
    create(&sql, &project, "name").await?;
    sql.run("BEGIN READ ONLY").await?;
    assert_eq!(
        listed(&sql, &format!("'{project}'")).await?,
        ["secret.created 1"]
    );
    sql.run("SELECT * FROM control_plane.denied_reads(); COMMIT")
        .await?;
    Ok(())
}
