//! Grants for the names that begin with something, and grants that expire.

use crate::access::login;
use pg_secrets_tests::{Answer, Proof, Session, TestApp, project};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A project with secrets of these names, each with the value `v`.
async fn secrets(sql: &Session, names: &[&str]) -> Proof<String> {
    let project = project("prefixes");
    for name in names {
        sql.rows(
            "SELECT control_plane.create_secret($1, $2, 'v')",
            &[&project, name],
        )
        .await?;
    }
    Ok(project)
}

async fn grant(sql: &Session, login: &str, permission: &str, project: &str, prefix: &str) -> Proof {
    sql.rows(
        "SELECT control_plane.grant_project($1, $2, $3, name_prefix => $4)",
        &[&login, &permission, &project, &prefix],
    )
    .await?;
    Ok(())
}

async fn id_of(sql: &Session, project: &str, name: &str) -> Proof<Uuid> {
    Ok(sql
        .one("SELECT control_plane.secret_id($1, $2)", &[&project, &name])
        .await?)
}

#[tokio::test]
async fn a_prefix_is_compared_byte_for_byte() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    // Of each pair the first name begins with the prefix, and a looser comparison would find the second.
    for (prefix, inside, outside) in [
        ("app/", "app/db", "App/db"),
        ("app/", "app/", "app"),
        ("%", "%a", "aa"),
        ("a_c", "a_c", "abc"),
        ("*", "*", "x"),
        ("a.b", "a.b", "axb"),
        ("\\", "\\x", "x"),
        ("é", "été", "e\u{301}te\u{301}"),
        ("stra\u{df}e", "straße 1", "strasse 1"),
        ("I", "I", "ı"),
        (" ", " a", "a"),
        ("\u{202e}", "\u{202e}x", "x"),
    ] {
        let project = secrets(&sql, &[inside, outside]).await?;
        let name = login(&sql).await?;
        grant(&sql, &name, "read", &project, prefix).await?;
        grant(&sql, &name, "list", &project, prefix).await?;
        let reader = app.cluster.connect(&name, "postgres").await?;
        let read = "SELECT value FROM control_plane.get_secret_by_name($1, $2)";
        let value: String = reader.one(read, &[&project, &inside]).await?;
        assert_eq!(value, "v", "{prefix}: {inside}");
        let hidden = reader.refused(read, &[&project, &outside]).await;
        let absent = reader.refused(read, &[&project, &"nowhere"]).await;
        assert_eq!(hidden, absent, "{prefix}: {outside}");
        let listed: Vec<String> = reader
            .all(
                "SELECT name FROM control_plane.list_secrets($1)",
                &[&project],
            )
            .await?;
        assert_eq!(listed, [inside], "{prefix}");
        let loaded: Vec<String> = reader
            .all(
                "SELECT name FROM control_plane.get_secrets($1)",
                &[&project],
            )
            .await?;
        assert_eq!(loaded, [inside], "{prefix}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_outside_the_prefix_answers_as_what_is_not_there() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["app/one", "ops/two"]).await?;
    let hidden = id_of(&sql, &project, "ops/two").await?.to_string();
    let absent = Uuid::new_v4().to_string();
    let name = login(&sql).await?;
    for permission in ["list", "read", "write", "delete", "manage", "audit"] {
        grant(&sql, &name, permission, &project, "app/").await?;
    }
    let holder = app.cluster.connect(&name, "postgres").await?;
    for call in [
        "get_secret('{id}')",
        "get_secret_by_name('{p}', '{name}')",
        "get_secret_version('{id}', 1)",
        "get_secrets('{p}', ARRAY['app/one', '{name}'])",
        "secret_id('{p}', '{name}')",
        "secret_versions('{id}')",
        "rotate_secret('{id}', 'x')",
        "rollback_secret('{id}', 1)",
        "extend_grace('{id}', '1 hour')",
        "end_grace('{id}')",
        "delete_secret('{id}')",
        "restore_secret('{id}')",
        "purge_secret('{id}')",
        "register_consumer('{id}', 'svc')",
        "unregister_consumer('{id}', 'svc')",
        "blast_radius('{id}')",
        "preview('{id}', 'delete')",
        "set_rotation('{id}', '1 day')",
        "list_audit(secret_id => '{id}')",
    ] {
        let with = |id: &str, name: &str| {
            let call = call.replace("{p}", &project).replace("{id}", id);
            format!("SELECT control_plane.{}", call.replace("{name}", name))
        };
        let at_hidden = holder.refused_text(&with(&hidden, "ops/two")).await;
        let at_absent = holder.refused_text(&with(&absent, "ops/three")).await;
        assert_eq!(at_hidden.state, "PT404", "{call}: {at_hidden:?}");
        assert_eq!(at_hidden, at_absent, "{call}");
    }
    // A name cannot be made there either, whether or not it is taken.
    for taken in ["ops/two", "ops/three"] {
        let create = "SELECT control_plane.create_secret($1, $2, 'x')";
        let refused = holder.refused(create, &[&project, &taken]).await;
        assert_eq!(refused.state, "PT403", "{refused:?}");
        assert!(refused.detail.is_empty(), "{refused:?}");
    }
    // Within the prefix everything works, and what is about the project as a whole nowhere.
    let own: Uuid = holder
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'app/new', 'x')",
            &[&project],
        )
        .await?;
    holder
        .run(&format!(
            "SELECT control_plane.rotate_secret('{own}', 'y');
             SELECT control_plane.set_rotation(control_plane.secret_id('{project}', 'app/new'), '1 day')"
        ))
        .await?;
    for call in [
        "set_policy('{p}')",
        "project_policy('{p}')",
        "create_endpoint('{p}', 'http://127.0.0.1/')",
        "run_maintenance()",
    ] {
        let call = format!("SELECT control_plane.{}", call.replace("{p}", &project));
        assert_eq!(holder.refused_text(&call).await.state, "PT403", "{call}");
    }
    Ok(())
}

#[tokio::test]
async fn an_auditor_of_some_names_sees_their_records_alone() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["app/one", "ops/two"]).await?;
    let name = login(&sql).await?;
    grant(&sql, &name, "audit", &project, "app/").await?;
    sql.rows("SELECT control_plane.set_policy($1)", &[&project])
        .await?;
    let stranger = login(&sql).await?;
    grant(&sql, &stranger, "list", &project, "app/").await?;
    let session = app.cluster.connect(&stranger, "postgres").await?;
    for secret in ["app/one", "ops/two"] {
        let read = "SELECT control_plane.get_secret_by_name($1, $2)";
        session.refused(read, &[&project, &secret]).await;
    }
    let auditor = app.cluster.connect(&name, "postgres").await?;
    for (filter, at_least) in [
        ("", 2),
        (", outcome => 'denied'", 1),
        (", actor => 'postgres'", 1),
    ] {
        let records: Vec<Option<String>> = auditor
            .all(
                &format!("SELECT name FROM control_plane.list_audit($1{filter})"),
                &[&project],
            )
            .await?;
        assert!(records.len() >= at_least, "{filter}: {records:?}");
        let names: BTreeSet<_> = records.iter().map(Option::as_deref).collect();
        assert_eq!(names, BTreeSet::from([Some("app/one")]), "{filter}");
    }
    let elsewhere = id_of(&sql, &project, "ops/two").await?;
    for (secret, expected) in [
        (id_of(&sql, &project, "app/one").await?, true),
        (elsewhere, false),
    ] {
        let records: Vec<String> = auditor
            .all(
                "SELECT action FROM control_plane.list_audit($1, secret_id => $2)",
                &[&project, &secret],
            )
            .await?;
        assert_eq!(!records.is_empty(), expected, "{records:?}");
    }
    let denied: Vec<i64> = auditor
        .all(
            "SELECT count FROM control_plane.denied_reads($1)",
            &[&project],
        )
        .await?;
    assert_eq!(denied, [1]);
    Ok(())
}

#[tokio::test]
async fn a_manager_of_some_names_gives_nothing_beyond_them() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["app/one"]).await?;
    let name = login(&sql).await?;
    grant(&sql, &name, "manage", &project, "app/").await?;
    sql.rows(
        "SELECT control_plane.grant_project('somebody', 'read', $1, kind => 'subject')",
        &[&project],
    )
    .await?;
    let manager = app.cluster.connect(&name, "postgres").await?;
    let change = |verb: &str, prefix: Option<&str>| {
        let prefix = prefix.map_or("NULL".to_owned(), |prefix| format!("'{prefix}'"));
        format!(
            "SELECT control_plane.{verb}_project('somebody', 'read', '{project}', name_prefix => {prefix})"
        )
    };
    for prefix in [None, Some("ap"), Some("app"), Some("ops/"), Some("App/")] {
        for verb in ["grant", "revoke"] {
            let refused = manager.refused_text(&change(verb, prefix)).await;
            assert_eq!(refused.state, "PT403", "{verb} {prefix:?}: {refused:?}");
        }
    }
    for prefix in ["app/", "app/o"] {
        manager.run(&change("grant", Some(prefix))).await?;
    }
    let shown: Vec<String> = manager
        .all(
            "SELECT name_prefix FROM control_plane.project_grants($1) WHERE grantee = 'somebody'",
            &[&project],
        )
        .await?;
    assert_eq!(shown, ["app/", "app/o"]);
    let removed: i32 = manager.one(&change("revoke", Some("app/o")), &[]).await?;
    assert_eq!(removed, 1);
    let admin = "SELECT control_plane.grant_project('somebody', 'admin')";
    assert_eq!(manager.refused_text(admin).await.state, "PT403");
    // Nobody else's grant was touched.
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.project_grants($1) WHERE grantee = 'somebody'",
            &[&project],
        )
        .await?;
    assert_eq!(left, 2);
    Ok(())
}

/// The body but for the request's own id.
fn without_request(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    body["request_id"].take();
    body
}

#[tokio::test]
async fn a_token_reaches_as_far_as_its_subjects_prefix() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["app/one", "ops/two"]).await?;
    sql.rows(
        "SELECT control_plane.grant_project($1, permission, $1, kind => 'subject', name_prefix => 'app/')
         FROM unnest(ARRAY['read', 'list', 'write']) AS permission",
        &[&project],
    )
    .await?;
    let token = app.token_for(&project, &[], &project, None).await?;
    let api = app.api_as(&token);
    let listed = api
        .get(&format!("/api/secrets?project_id={project}"))
        .await?
        .expect(200)?;
    let names: Vec<_> = listed.body["secrets"]
        .as_array()
        .map(|secrets| {
            secrets
                .iter()
                .map(|secret| secret["name"].clone())
                .collect()
        })
        .unwrap_or_default();
    assert_eq!(names, [json!("app/one")]);
    let by_name = |name: &str| format!("/api/projects/{project}/secrets/{name}");
    api.get(&by_name("app%2Fone")).await?.expect(200)?;
    let hidden = api.get(&by_name("ops%2Ftwo")).await?.expect(404)?;
    let absent = api.get(&by_name("ops%2Fthree")).await?.expect(404)?;
    assert_eq!(without_request(&hidden), without_request(&absent));
    let id = id_of(&sql, &project, "ops/two").await?;
    for path in ["", "/versions", "/consumers"] {
        let hidden = api
            .get(&format!("/api/secrets/{id}{path}"))
            .await?
            .expect(404)?;
        let absent = api
            .get(&format!("/api/secrets/{}{path}", Uuid::new_v4()))
            .await?
            .expect(404)?;
        assert_eq!(without_request(&hidden), without_request(&absent), "{path}");
    }
    let read = api
        .post(&format!("/api/projects/{project}/read"), json!({}))
        .await?
        .expect(200)?;
    assert_eq!(read.body["secrets"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn each_name_is_read_under_the_service_that_its_grant_is_bound_to() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["a/1", "b/1", "c/1"]).await?;
    let name = login(&sql).await?;
    for (service, prefix) in [(Some("one"), "a/"), (Some("two"), "b/"), (None, "c/")] {
        sql.rows(
            "SELECT control_plane.grant_project($1, 'read', $2, $3, name_prefix => $4)",
            &[&name, &project, &service, &prefix],
        )
        .await?;
    }
    let reader = app.cluster.connect(&name, "postgres").await?;
    reader
        .run(&format!("SELECT control_plane.get_secrets('{project}')"))
        .await?;
    let services: Vec<String> = sql
        .all(
            "SELECT concat(name, ' ', service, ' ', detail->'verified') FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = 'secret.accessed' ORDER BY name",
            &[&project],
        )
        .await?;
    assert_eq!(services, ["a/1 one true", "b/1 two true", "c/1  "]);
    let refused = reader
        .refused(
            "SELECT control_plane.get_secrets($1, service => 'two')",
            &[&project],
        )
        .await;
    assert_eq!(refused.state, "PT403", "{refused:?}");
    Ok(())
}
