//! What is recorded stays: nobody changes or removes it with the triggers in place, and who tries is
//! recorded.

use crate::verdict::{Verdict, fill, server, verify};
use pg_secrets_tests::{Cluster, Proof, Session, chained, eventually};
use uuid::Uuid;

const TABLES: [&str; 5] = [
    "audit_logs",
    "audit_chain",
    "audit_unchained",
    "audit_heads",
    "audit_progress",
];

/// Every way to change a row or to remove one, by its operation.
fn attempts(table: &str) -> Vec<(&'static str, String)> {
    let key = match table {
        "audit_logs" => "id",
        "audit_unchained" => "record_id",
        _ => "segment",
    };
    let table = format!("control_plane.{table}");
    vec![
        ("UPDATE", format!("UPDATE {table} SET {key} = {key}")),
        (
            "UPDATE",
            format!("UPDATE {table} SET {key} = {key} WHERE false"),
        ),
        ("DELETE", format!("DELETE FROM {table}")),
        ("TRUNCATE", format!("TRUNCATE {table}")),
        ("TRUNCATE", format!("TRUNCATE {table} CASCADE")),
        (
            "DELETE",
            format!("WITH gone AS (DELETE FROM {table} RETURNING *) SELECT * FROM gone"),
        ),
        (
            "UPDATE",
            format!(
                "WITH changed AS (UPDATE {table} SET {key} = {key} RETURNING 1) SELECT FROM changed"
            ),
        ),
        (
            "DELETE",
            format!(
                "MERGE INTO {table} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE"
            ),
        ),
        (
            "UPDATE",
            format!(
                "MERGE INTO {table} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN UPDATE SET {key} = t.{key}"
            ),
        ),
        (
            "UPDATE",
            format!(
                "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT {} DO UPDATE SET {key} = excluded.{key}",
                match table.rsplit('.').next() {
                    Some("audit_logs") => "(id)",
                    Some("audit_unchained") => "(record_id)",
                    Some("audit_heads") => "(segment, seq, kind)",
                    Some("audit_progress") => "(segment, purpose)",
                    _ => "(segment, seq)",
                }
            ),
        ),
    ]
}

/// How often it was recorded that somebody tried this.
async fn recorded(sql: &Session, table: &str, operation: &str, actor: &str) -> Proof<i64> {
    let count: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs
             WHERE action = 'audit.change_refused' AND outcome = 'denied'
                 AND detail->>'table' = $1 AND detail->>'operation' = $2 AND actor = $3",
            &[&table, &operation, &actor],
        )
        .await?;
    Ok(count)
}

/// Tries everything with a setting in place, and finds it refused and recorded.
async fn nothing_helps(cluster: &Cluster, login: &str, setting: &str) -> Proof {
    let witness = cluster.sql().await?;
    let session = cluster.connect(login, "postgres").await?;
    for table in TABLES {
        for (operation, statement) in attempts(table) {
            let before = recorded(&witness, table, operation, login).await?;
            session.run(&format!("BEGIN; {setting}")).await?;
            let refused = session.refused_text(&statement).await;
            session.run("ROLLBACK").await?;
            assert_eq!(refused.state, "PT403", "{statement}: {refused:?}");
            assert!(refused.hint.contains("pg_secrets.audit_retention"));
            // While the audit's own table is locked for a TRUNCATE nobody can write to it.
            if (table, operation) == ("audit_logs", "TRUNCATE") {
                eventually("the record", || async {
                    let after = recorded(&witness, table, operation, login).await.ok()?;
                    (after > before).then_some(())
                })
                .await;
            }
            let after = recorded(&witness, table, operation, login).await?;
            assert_eq!(after, before + 1, "{setting} {statement}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn nobody_changes_what_is_recorded_and_who_tries_is_recorded() -> Proof {
    let (cluster, sql) = server("").await?;
    fill(&sql).await?;
    sql.run(
        "CREATE ROLE keeper LOGIN;
         GRANT ALL ON SCHEMA control_plane TO keeper;
         GRANT ALL ON ALL TABLES IN SCHEMA control_plane TO keeper;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO keeper",
    )
    .await?;
    let rows = "SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM control_plane.audit_logs AS a WHERE id <= $1";
    let last: Uuid = sql
        .one(
            "SELECT id FROM control_plane.audit_logs ORDER BY id DESC LIMIT 1",
            &[],
        )
        .await?;
    let before: String = sql.one(rows, &[&last]).await?;
    nothing_helps(&cluster, "postgres", "SELECT 1").await?;
    nothing_helps(
        &cluster,
        "postgres",
        "SET LOCAL session_replication_role = replica",
    )
    .await?;
    // Of a role that has every right on the tables, and of one that owns them.
    nothing_helps(&cluster, "keeper", "SELECT 1").await?;
    for table in TABLES {
        sql.run(&format!(
            "ALTER TABLE control_plane.{table} OWNER TO keeper"
        ))
        .await?;
    }
    nothing_helps(&cluster, "keeper", "SELECT 1").await?;
    for table in TABLES {
        sql.run(&format!(
            "ALTER TABLE control_plane.{table} OWNER TO postgres"
        ))
        .await?;
    }
    let after: String = sql.one(rows, &[&last]).await?;
    assert_eq!(before, after);
    chained(&sql).await;
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    Ok(())
}
