//! pg_dump takes everything along, and a restore brings it back unchanged.

use pg_secrets_tests::{
    COMPANION_LOGIN, Cluster, Key, Proof, Session, TestApp, chained, eventually,
};
use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;

/// The rows of every table, as JSON, by table; not those with which the audit keeps itself in order, and which
/// go on with each record.
async fn contents(sql: &Session) -> Proof<Vec<(String, Vec<Value>)>> {
    let tables: Vec<String> = sql
        .all(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'control_plane'::regnamespace AND relkind = 'r'
                 AND relname NOT IN ('audit_chain', 'audit_progress', 'audit_unchained', 'active_installations') ORDER BY 1",
            &[],
        )
        .await?;
    let mut contents = Vec::new();
    for table in tables {
        let statement = format!(
            "SELECT to_jsonb(t) FROM control_plane.{table} AS t
             WHERE to_jsonb(t)->>'action' IS DISTINCT FROM 'audit.direct_change'
             ORDER BY to_jsonb(t)::text"
        );
        contents.push((table, sql.all(&statement, &[]).await?));
    }
    Ok(contents)
}

/// The links of the chain, in a form to compare.
async fn links(sql: &Session) -> Proof<Vec<String>> {
    chained(sql).await;
    let links: Vec<String> = sql
        .all(
            "SELECT c::text FROM control_plane.audit_chain AS c ORDER BY c.segment, c.seq",
            &[],
        )
        .await?;
    Ok(links)
}

fn run(cluster: &Cluster, program: &str, arguments: &[&str], file: &Path) {
    let output = cluster
        .client(program)
        .args(arguments)
        .arg(file)
        .output()
        .expect("the client runs");
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn a_dump_restored_into_an_empty_server_with_the_same_key_is_the_same() -> Proof {
    let key = Key::new();
    let app = TestApp::start_with_key(key.clone(), "fsync = off").await;
    let api = app.api();
    for name in ["alive", "gone"] {
        let made = api
            .post(
                "/api/secrets",
                json!({"project_id": "p", "name": name, "value": format!("{name} 1")}),
            )
            .await?
            .expect(201)?;
        api.get_as("worker", &format!("/api/secrets/{}", made.id()))
            .await?
            .expect(200)?;
        api.post(
            &format!("/api/secrets/{}/rotate", made.id()),
            json!({"value": format!("{name} 2"), "grace": "P1D"}),
        )
        .await?
        .expect(201)?;
    }
    api.post(
        "/api/webhooks",
        json!({"project_id": "p", "service": "other", "url": "http://127.0.0.1:9/"}),
    )
    .await?
    .expect(201)?;
    let sql = app.sql().await?;
    sql.rows(
        "SELECT control_plane.delete_secret(control_plane.secret_id('p', 'gone'))",
        &[],
    )
    .await?;
    sql.rows(
        "SELECT control_plane.set_policy('p', '1 hour', true),
             control_plane.set_rotation(control_plane.secret_id('p', 'alive'), '30 days', 20, 'alnum')",
        &[],
    )
    .await?;
    let old: Uuid = sql
        .one(
            "SELECT id FROM control_plane.secrets WHERE name = 'alive' AND version = 1",
            &[],
        )
        .await?;
    eventually("who uses the secrets", || async {
        let consumers: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.secret_consumers WHERE last_used_at IS NOT NULL",
                &[],
            )
            .await
            .ok()?;
        (consumers == 2).then_some(())
    })
    .await;
    eventually("when the token was used", || async {
        let used: bool = sql
            .one(
                "SELECT bool_and(last_used_at IS NOT NULL) FROM control_plane.tokens",
                &[],
            )
            .await
            .ok()?;
        used.then_some(())
    })
    .await;
    let before = contents(&sql).await?;
    assert!(
        before.iter().filter(|(_, rows)| !rows.is_empty()).count() >= 9,
        "{before:?}"
    );

    let links_before = links(&sql).await?;
    let head: String = sql
        .one("SELECT control_plane.export_audit_head()", &[])
        .await?;
    let folder = tempfile::tempdir()?;
    for (format, flag) in [("custom", "--format=custom"), ("plain", "--format=plain")] {
        let file = folder.path().join(format);
        run(&app.cluster, "pg_dump", &[flag, "--file"], &file);
        let restored = Cluster::start(
            key.clone(),
            "fsync = off\npg_secrets.audit_head_interval = 0",
        );
        let sql = restored.sql().await?;
        // Roles are the cluster's, not the database's: pg_dumpall --roles-only takes them along.
        sql.run(&format!("CREATE ROLE {COMPANION_LOGIN} LOGIN"))
            .await?;
        if format == "custom" {
            run(
                &restored,
                "pg_restore",
                &["--exit-on-error", "--dbname=postgres"],
                &file,
            );
        } else {
            run(
                &restored,
                "psql",
                &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"],
                &file,
            );
        }
        let sql = restored.sql().await?;
        assert_eq!(contents(&sql).await?, before, "{format}");
        let on_top: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.direct_change'",
                &[],
            )
            .await?;
        assert!((1..20).contains(&on_top), "{on_top} records of the restore");
        // The chain came along and goes on; a head of the original's holds here too.
        let links_now = links(&sql).await?;
        assert!(links_before.iter().all(|link| links_now.contains(link)));
        assert!(links_now.len() > links_before.len());
        let verdict: (bool, Option<String>) = {
            let rows = sql
                .rows(
                    "SELECT intact, explanation FROM control_plane.verify_audit(head => $1)",
                    &[&head],
                )
                .await?;
            (rows[0].get(0), rows[0].get(1))
        };
        assert_eq!(verdict, (true, None), "{format}");
        let events: i64 = sql
            .one("SELECT count(*) FROM control_plane.outbox", &[])
            .await?;
        let rows = before.iter().find(|(table, _)| table == "outbox");
        assert_eq!(events, rows.map_or(0, |(_, rows)| rows.len() as i64));

        let failing = sql.rows("SELECT * FROM control_plane.verify_secrets()", &[]);
        assert!(failing.await?.is_empty(), "{format}");
        let value: String = sql
            .one(
                "SELECT value FROM control_plane.get_secret_by_name('p', 'alive')",
                &[],
            )
            .await?;
        assert_eq!(value, "alive 2");
        let value: String = sql
            .one("SELECT value FROM control_plane.get_secret($1)", &[&old])
            .await?;
        assert_eq!(value, "alive 1");
        let version: i32 = sql
            .one(
                "SELECT version FROM control_plane.rotate_secret(control_plane.secret_id('p', 'alive'), 'alive 3')",
                &[],
            )
            .await?;
        assert_eq!(version, 3);
        let version: i32 = sql
            .one(
                "SELECT version FROM control_plane.create_secret('p', 'gone', 'back')",
                &[],
            )
            .await?;
        assert_eq!(version, 3);
        // The companion's login and its token work as before.
        let trusted = restored.connect(COMPANION_LOGIN, "postgres").await?;
        let subject: String = trusted
            .one("SELECT control_plane.authenticate($1)", &[&app.token])
            .await?;
        assert_eq!(subject, "admin@local");
    }
    Ok(())
}

#[tokio::test]
async fn a_dump_restored_with_a_wrong_key_fails_clearly_and_loses_nothing() -> Proof {
    let key = Key::new();
    // A head signed between the look at it and the dump would be a difference.
    let original = Cluster::start(
        key.clone(),
        "fsync = off\npg_secrets.audit_head_interval = 0",
    );
    original.install().await?;
    let sql = original.sql().await?;
    sql.run(
        "SELECT control_plane.create_secret('p', 'n' || i, 'value ' || i) FROM generate_series(1, 3) AS i;
         SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'n1'), 'value 1 anew');
         SELECT control_plane.create_endpoint('p', 'http://127.0.0.1:9/')",
    )
    .await?;
    let fingerprint: String = sql
        .one(
            "SELECT DISTINCT key_fingerprint FROM control_plane.secrets",
            &[],
        )
        .await?;
    let before = contents(&sql).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("dump");
    run(&original, "pg_dump", &["--format=custom", "--file"], &file);

    let mut restored = Cluster::start(
        Key::new(),
        "fsync = off\npg_secrets.audit_head_interval = 0",
    );
    let sql = restored.sql().await?;
    sql.run(&format!("CREATE ROLE {COMPANION_LOGIN} LOGIN"))
        .await?;
    run(
        &restored,
        "pg_restore",
        &["--exit-on-error", "--dbname=postgres"],
        &file,
    );
    let sql = restored.sql().await?;
    let failing: Vec<String> = sql
        .all(
            "SELECT kind || ' ' || key_fingerprint || ' ' || problem FROM control_plane.verify_secrets()",
            &[],
        )
        .await?;
    assert_eq!(failing.len(), 5, "{failing:?}");
    for failure in &failing {
        assert!(
            failure.contains(&fingerprint) && failure.contains("no key"),
            "{failure}"
        );
    }
    for call in [
        "get_secret_by_name('p', 'n1')",
        "get_secret_by_name('p', 'n1', 1)",
        "get_secrets('p')",
    ] {
        let refused = sql
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, "PT503", "{call}");
        assert!(
            refused.message.contains(&fingerprint),
            "{call}: {refused:?}"
        );
        assert!(
            refused.hint.contains("pg_secrets.key_file"),
            "{call}: {refused:?}"
        );
    }
    let missing: i64 = sql
        .one(
            "SELECT versions FROM control_plane.pgp_keys() WHERE NOT available AND fingerprint = $1",
            &[&fingerprint],
        )
        .await?;
    assert_eq!(missing, 4);
    let left: i64 = sql
        .one("SELECT control_plane.reencrypt_secrets(100)", &[])
        .await?;
    assert_eq!(left, 5);
    let now = contents(&sql).await?;
    for ((table, before), (_, now)) in before.iter().zip(&now) {
        if table != "audit_logs" {
            assert_eq!(before, now, "{table}");
        }
    }
    drop(sql);
    restored.stop();
    restored.give_key(key);
    restored.resume();
    let sql = restored.sql().await?;
    let failing = sql.rows("SELECT * FROM control_plane.verify_secrets()", &[]);
    assert!(failing.await?.is_empty());
    let value: String = sql
        .one(
            "SELECT value FROM control_plane.get_secret_by_name('p', 'n1')",
            &[],
        )
        .await?;
    assert_eq!(value, "value 1 anew");
    Ok(())
}
