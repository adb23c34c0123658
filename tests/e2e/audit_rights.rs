//! Who may read the audit log, and who was refused how often.

use crate::audit_log::{create, listed, login, page, read, records};
use pg_secrets_tests::{Proof, TestApp, project};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn whoever_may_audit_one_project_sees_that_one_only() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let (own, foreign) = (project("audit_log"), project("audit_log"));
    let secret = create(&sql, &own, "name").await?;
    let hidden = create(&sql, &foreign, "name").await?;
    read(&sql, hidden).await?;
    let (name, auditor) = login(app, "audit", Some(&own)).await?;

    for arguments in [
        format!("'{own}'"),
        format!("secret_id => '{secret}'"),
        format!("'{own}', actor => 'postgres'"),
        format!("'{own}', actor => 'postgres', action => 'secret.created'"),
    ] {
        let found: Vec<String> = auditor
            .all(
                &format!("SELECT DISTINCT project_id FROM control_plane.list_audit({arguments})"),
                &[],
            )
            .await?;
        assert_eq!(found, [own.as_str()], "{arguments}");
    }
    // Nothing of another one, whatever it is asked with.
    for arguments in [
        format!("'{own}', secret_id => '{hidden}'"),
        format!("'{own}', secret_id => '{hidden}', outcome => 'denied'"),
        format!("'{own}', secret_id => '{}'", Uuid::new_v4()),
    ] {
        assert!(
            listed(&auditor, &arguments).await?.is_empty(),
            "{arguments}"
        );
    }
    let refused = |arguments: String| {
        let auditor = &auditor;
        async move {
            auditor
                .refused(
                    &format!("SELECT control_plane.list_audit({arguments})"),
                    &[],
                )
                .await
        }
    };
    assert_eq!(refused(format!("'{foreign}'")).await.state, "PT403");
    let everything = refused(String::new()).await;
    assert_eq!(everything.state, "PT403");
    assert!(everything.hint.contains("name a project"), "{everything:?}");
    assert_eq!(
        refused("actor => 'postgres'".to_owned()).await.state,
        "PT403"
    );
    let at_hidden = refused(format!("secret_id => '{hidden}'")).await;
    let at_absent = refused(format!("secret_id => '{}'", Uuid::new_v4())).await;
    assert_eq!(at_hidden.state, "PT404");
    assert_eq!(at_hidden, at_absent);
    let counts = auditor
        .refused("SELECT control_plane.denied_reads()", &[])
        .await;
    assert_eq!(counts.state, "PT403");

    // To read values is not to read the audit, and the audit gives no value.
    let (_, reader) = login(app, "read", Some(&own)).await?;
    for call in [
        format!("list_audit('{own}')"),
        format!("list_audit(secret_id => '{secret}')"),
        format!("denied_reads('{own}')"),
    ] {
        let refused = reader
            .refused(&format!("SELECT control_plane.{call}"), &[])
            .await;
        assert_eq!(refused.state, "PT403", "{call}");
    }
    let refused = auditor
        .refused("SELECT control_plane.get_secret($1)", &[&secret])
        .await;
    assert_eq!(refused.state, "PT404");

    // On all projects: every record, those of no project too, and an id that never was is no error.
    let (_, all) = login(app, "audit", None).await?;
    assert!(
        !listed(&all, &format!("secret_id => '{hidden}'"))
            .await?
            .is_empty()
    );
    assert!(
        listed(&all, &format!("secret_id => '{}'", Uuid::new_v4()))
            .await?
            .is_empty()
    );
    let of_none: i64 = all
        .one(
            "SELECT count(*) FROM control_plane.list_audit(action => 'token.created') WHERE project_id IS NULL",
            &[],
        )
        .await?;
    assert!(of_none > 0);

    // What is taken back is over, within a transaction that began before as well.
    sql.rows(
        "SELECT control_plane.grant_project($1, 'list', $2)",
        &[&name, &own],
    )
    .await?;
    auditor
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .await?;
    sql.rows(
        "SELECT control_plane.revoke_project($1, 'audit', $2)",
        &[&name, &own],
    )
    .await?;
    let revoked = auditor
        .refused("SELECT control_plane.list_audit($1)", &[&own])
        .await;
    assert_eq!(revoked.state, "PT403");
    Ok(())
}

#[tokio::test]
async fn over_rest_the_same_rights_hold() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let (own, foreign) = (project("audit_log"), project("audit_log"));
    let secret = create(&sql, &own, "name").await?;
    let hidden = create(&sql, &foreign, "name").await?;
    let subject = format!("auditor {}", Uuid::new_v4());
    let token = app.token_for(&subject, &["audit"], &own, None).await?;
    let auditor = app.api_as(&token);
    let seen = page(&auditor, &format!("secret_id={secret}")).await?;
    assert_eq!(records(&seen).len(), 1);
    assert_eq!(seen.body["denied"], json!([]));
    page(&auditor, &format!("project_id={own}")).await?;
    for (query, status) in [
        (String::new(), 403),
        (format!("project_id={foreign}"), 403),
        (format!("secret_id={hidden}"), 404),
        (format!("secret_id={}", Uuid::new_v4()), 404),
    ] {
        auditor
            .get(&format!("/api/audit?{query}"))
            .await?
            .expect(status)?;
    }
    let reader = app.token_for("reader", &["read"], &own, None).await?;
    app.api_as(&reader)
        .get(&format!("/api/audit?project_id={own}"))
        .await?
        .expect(403)?;
    app.api_as("pgs_stranger")
        .get("/api/audit")
        .await?
        .expect(401)?;
    sql.rows(
        "SELECT control_plane.revoke_project($1, 'audit', $2, kind => 'subject')",
        &[&subject, &own],
    )
    .await?;
    auditor
        .get(&format!("/api/audit?project_id={own}"))
        .await?
        .expect(403)?;
    // An administrator's view of an id that never was: no records, and nobody is counted.
    let nothing = page(&app.api(), &format!("secret_id={}", Uuid::new_v4())).await?;
    assert_eq!(nothing.body, json!({"records": [], "next_cursor": null}));
    Ok(())
}

#[tokio::test]
async fn refused_reads_are_counted_by_actor() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let (sql, api) = (app.sql().await?, app.api());
    let secret = create(&sql, "p", "name").await?;
    let elsewhere = create(&sql, "q", "name").await?;
    let prober = app.token_for("prober", &["list"], "p", None).await?;
    let (clumsy, session) = login(&app, "list", Some("p")).await?;
    for _ in 0..3 {
        app.api_as(&prober)
            .get(&format!("/api/secrets/{secret}"))
            .await?
            .expect(403)?;
    }
    for id in [secret, elsewhere] {
        session
            .refused("SELECT control_plane.get_secret($1)", &[&id])
            .await;
    }
    // One record for many attempts, one that is older than a day, what is refused and no read, and
    // a detail that somebody made up.
    sql.run(
        "INSERT INTO control_plane.audit_logs (id, at, action, outcome, actor, project_id, detail)
         SELECT ((lpad(to_hex((extract(epoch FROM now() - age) * 1000)::bigint), 12, '0') || '7' || substr(md5(actor || action), 1, 3) || 'a' || substr(md5(actor || action), 4, 15)))::uuid,
             now() - age, action, 'denied', actor, project_id, detail
         FROM (VALUES
             (interval '1 hour', 'token.rejected', 'secrets_companion', NULL, '{\"attempts\": 40}'::jsonb),
             (interval '25 hours', 'secret.access_denied', 'yesterday', 'p', NULL),
             (interval '1 hour', 'secret.deleted', 'no reader', 'p', NULL),
             (interval '2 hours', 'secret.access_denied', 'liar', 'q', '{\"attempts\": \"many\"}')
         ) AS made (age, action, actor, project_id, detail)",
    )
    .await?;
    let counted = |call: &'static str| {
        let sql = &sql;
        async move {
            let rows: Vec<Value> = sql
                .all(
                    &format!("SELECT jsonb_build_array(actor, count) FROM control_plane.{call}"),
                    &[],
                )
                .await?;
            Proof::Ok(rows)
        }
    };
    assert_eq!(
        counted("denied_reads('p')").await?,
        [json!(["prober", 3]), json!([clumsy, 1])]
    );
    assert_eq!(
        counted("denied_reads()").await?,
        [
            json!(["secrets_companion", 40]),
            json!(["prober", 3]),
            json!([clumsy, 2]),
            json!(["liar", 1]),
        ]
    );
    assert_eq!(
        counted("denied_reads('p', now() - interval '2 days')")
            .await?
            .len(),
        3
    );
    assert!(
        counted("denied_reads('p', now() + interval '1 hour')")
            .await?
            .is_empty()
    );
    let last: bool = sql
        .one(
            "SELECT bool_and(d.last_at = (SELECT max(a.at) FROM control_plane.audit_logs AS a
                                          WHERE a.actor = d.actor AND a.outcome = 'denied' AND a.project_id = 'p'))
             FROM control_plane.denied_reads('p') AS d",
            &[],
        )
        .await?;
    assert!(last);
    // For a project, and for a secret whose project nobody named.
    for query in ["project_id=p".to_owned(), format!("secret_id={secret}")] {
        let answer = page(&api, &query).await?;
        let denied = answer.body["denied"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let pairs: Vec<Value> = denied
            .iter()
            .map(|one| json!([one["actor"], one["count"]]))
            .collect();
        assert_eq!(pairs, [json!(["prober", 3]), json!([clumsy, 1])], "{query}");
        assert!(
            denied[0]["last_at"]
                .as_str()
                .is_some_and(|at| at.ends_with('Z'))
        );
    }
    let later = page(&api, "project_id=p&since=2999-01-01T00:00:00Z").await?;
    assert_eq!(
        later.body,
        json!({"records": [], "next_cursor": null, "denied": []})
    );
    Ok(())
}
