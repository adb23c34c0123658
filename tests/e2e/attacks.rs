//! What somebody with a SQL login, or a few grants, might try.

use pg_secrets_tests::{COMPANION_LOGIN, Proof, Session, TestApp, project};
use uuid::Uuid;

/// A login of a fresh name with one permission on a project.
async fn login(app: &TestApp, permission: &str, project: &str) -> Proof<(String, Session)> {
    let admin = app.sql().await?;
    let name = format!("login_{}", Uuid::new_v4().simple());
    admin.run(&format!("CREATE ROLE {name} LOGIN")).await?;
    give(&admin, &name, permission, project).await?;
    let session = app.cluster.connect(&name, "postgres").await?;
    Ok((name, session))
}

async fn give(admin: &Session, grantee: &str, permission: &str, project: &str) -> Proof {
    admin
        .rows(
            "SELECT control_plane.grant_project($1, $2, $3)",
            &[&grantee, &permission, &project],
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_argument_of_many_megabytes_is_refused_before_it_is_copied() -> Proof {
    let app = TestApp::shared().await;
    let project = project("size");
    let (_, sql) = login(app, "write", &project).await?;
    for (call, state) in [
        ("secret_id(repeat('x', 60000000), 'n')", "PT400"),
        (
            "get_secrets('p', array_fill('x'::text, ARRAY[3000000]))",
            "PT400",
        ),
        ("create_secret('{p}', 'n', repeat('x', 60000000))", "PT413"),
    ] {
        let call = call.replace("{p}", &project);
        let refused = sql
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, state, "{call}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_audit_trigger_cannot_be_hung_on_a_table_of_somebodys_own() -> Proof {
    // Its own: GRANT by hand fails where other tests change the same privileges at that moment.
    let app = TestApp::start("fsync = off").await;
    let (name, sql) = login(&app, "audit", &project("forgery")).await?;
    let admin = app.sql().await?;
    // Even if somebody was given it by hand.
    admin
        .run(&format!(
            "GRANT EXECUTE ON FUNCTION control_plane.audit_change() TO {name}"
        ))
        .await?;
    sql.run(
        "CREATE TEMP TABLE secrets (i int);
         CREATE TRIGGER forged AFTER INSERT ON secrets REFERENCING NEW TABLE AS changed
         FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change()",
    )
    .await?;
    let refused = sql.refused_text("INSERT INTO secrets VALUES (1)").await;
    assert_eq!(refused.state, "PT403");
    let forged: i64 = admin
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE actor = $1",
            &[&name],
        )
        .await?;
    assert_eq!(forged, 0);
    Ok(())
}

#[tokio::test]
async fn a_manager_cannot_outrun_the_revocation_of_his_own_right() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let project = project("race");
    let (name, manager) = login(app, "manage", &project).await?;
    admin.run("BEGIN").await?;
    admin
        .rows(
            "SELECT control_plane.revoke_project($1, 'manage', $2)",
            &[&name, &project],
        )
        .await?;
    let (mine, of) = (name.clone(), project.clone());
    let waiting = tokio::spawn(async move {
        manager
            .refused(
                "SELECT control_plane.grant_project($1, 'manage', $2)",
                &[&mine, &of],
            )
            .await
    });
    let other = app.sql().await?;
    pg_secrets_tests::eventually("the manager waits", || async {
        let waits: bool = other
            .one(
                "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE usename = $1 AND NOT granted)",
                &[&name],
            )
            .await
            .ok()?;
        waits.then_some(())
    })
    .await;
    admin.run("COMMIT").await?;
    assert!(["PT403", "42501"].contains(&waiting.await?.state.as_str()));
    let left: i64 = other
        .one(
            "SELECT count(*) FROM control_plane.grants WHERE grantee = $1",
            &[&name],
        )
        .await?;
    assert_eq!(left, 0);
    Ok(())
}

#[tokio::test]
async fn an_open_grant_of_one_manager_holds_up_no_grant_to_another_role() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let project = project("idle");
    let (name, manager) = login(app, "manage", &project).await?;
    let (other, _) = login(app, "list", &project).await?;
    manager.run("BEGIN").await?;
    manager
        .rows(
            "SELECT control_plane.grant_project($1, 'list', $2)",
            &[&name, &project],
        )
        .await?;
    admin.run("SET lock_timeout = '2s'").await?;
    give(&admin, &other, "read", &project).await?;
    let removed: i32 = admin
        .one(
            "SELECT control_plane.revoke_project($1, 'read', $2)",
            &[&other, &project],
        )
        .await?;
    assert_eq!(removed, 1);
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_made_anew_has_nothing_of_its_predecessor() -> Proof {
    // Its own: DROP OWNED fails where other tests change the same privileges at that moment.
    let app = TestApp::start("fsync = off").await;
    let admin = app.sql().await?;
    let (secret, elsewhere) = (project("heir"), project("elsewhere"));
    admin
        .run(&format!(
            "SELECT control_plane.create_secret('{secret}', 'n', 'a value')"
        ))
        .await?;
    let (name, session) = login(&app, "read", &secret).await?;
    let read = format!("SELECT control_plane.get_secret_by_name('{secret}', 'n')");
    session.run(&read).await?;
    drop(session);
    admin
        .run(&format!(
            "DROP OWNED BY {name}; DROP ROLE {name}; CREATE ROLE {name} LOGIN"
        ))
        .await?;
    give(&admin, &name, "list", &elsewhere).await?;
    let heir = app.cluster.connect(&name, "postgres").await?;
    assert_eq!(heir.refused_text(&read).await.state, "PT404");
    give(&admin, &name, "read", &secret).await?;
    heir.run(&read).await?;
    Ok(())
}

#[tokio::test]
async fn first_grants_and_last_revocations_of_many_roles_at_once_all_succeed() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let admin = app.sql().await?;
    let mut clients = Vec::new();
    for client in 0..8 {
        let names: Vec<String> = (0..10).map(|n| format!("many_{client}_{n}")).collect();
        for name in &names {
            admin.run(&format!("CREATE ROLE {name}")).await?;
        }
        let sql = app.sql().await?;
        clients.push(tokio::spawn(async move {
            for name in names {
                for function in ["grant_project", "revoke_project"] {
                    let statement = format!("SELECT control_plane.{function}($1, 'read', 'many')");
                    sql.rows(&statement, &[&name]).await?;
                }
            }
            Ok::<(), pg_secrets_tests::SqlError>(())
        }));
    }
    for client in clients {
        client.await??;
    }
    Ok(())
}

#[tokio::test]
async fn a_grant_that_is_inherited_does_not_stand_for_the_roles_own() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let project = project("team");
    let (team, _) = login(app, "list", &project).await?;
    let member = format!("login_{}", Uuid::new_v4().simple());
    admin
        .run(&format!(
            "CREATE ROLE {member} LOGIN; GRANT {team} TO {member}"
        ))
        .await?;
    give(&admin, &member, "list", &project).await?;
    admin
        .rows(
            "SELECT control_plane.revoke_project($1, 'list', $2)",
            &[&team, &project],
        )
        .await?;
    let session = app.cluster.connect(&member, "postgres").await?;
    session
        .rows("SELECT * FROM control_plane.list_secrets($1)", &[&project])
        .await?;
    Ok(())
}

#[tokio::test]
async fn old_snapshots_read_and_rotate_what_is_newer() -> Proof {
    let app = TestApp::shared().await;
    let (admin, old) = (app.sql().await?, app.sql().await?);
    let project = project("snapshot");
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        old.run(&format!(
            "BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM control_plane.secrets"
        ))
        .await?;
        let id: Uuid = admin
            .one(
                "SELECT id FROM control_plane.create_secret($1, $2, 'newer')",
                &[&project, &level],
            )
            .await?;
        admin
            .rows(
                "SELECT control_plane.create_endpoint($1, 'http://127.0.0.1:9/')",
                &[&project],
            )
            .await?;
        let value: String = old
            .one(
                "SELECT value FROM control_plane.get_secret($1, 'service')",
                &[&id],
            )
            .await?;
        assert_eq!(value, "newer", "{level}");
        let version: i32 = old
            .one(
                "SELECT version FROM control_plane.rotate_secret($1, 'newest')",
                &[&id],
            )
            .await?;
        assert_eq!(version, 2, "{level}");
        old.run("COMMIT").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_bindings_of_a_token_and_of_a_grant_both_hold() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let project = project("binding");
    let subject = format!("subject of {project}");
    let id: Uuid = admin
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'n', 'a value')",
            &[&project],
        )
        .await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, 'read', $2, 'billing', 'subject')",
            &[&subject, &project],
        )
        .await?;
    let path = format!("/api/secrets/{id}");
    for (service, status) in [(Some("worker"), 403), (Some("billing"), 200), (None, 200)] {
        let token: String = admin
            .one(
                "SELECT control_plane.create_token($1, $2)",
                &[&subject, &service],
            )
            .await?;
        let api = app.api_as(&token);
        api.get(&path).await?.expect(status)?;
        api.get_as("worker", &path).await?.expect(403)?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_reads_through_somebody_elses_maintenance() -> Proof {
    let app = TestApp::shared().await;
    let admin = app.sql().await?;
    let project = project("analyse");
    admin
        .run(&format!(
            "SELECT control_plane.create_secret('{project}', 'n', 'a value')"
        ))
        .await?;
    let (name, session) = login(app, "read", &project).await?;
    admin
        .run(&format!("CREATE SCHEMA {name} AUTHORIZATION {name}"))
        .await?;
    session
        .run(&format!(
            "CREATE TABLE {name}.bait (i int);
             CREATE FUNCTION {name}.f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
             BEGIN
                 PERFORM control_plane.get_secret_by_name('{project}', 'n');
                 RETURN i;
             END $$;
             CREATE INDEX ON {name}.bait ({name}.f(i));
             INSERT INTO {name}.bait VALUES (1)"
        ))
        .await?;
    let refused = admin.refused_text(&format!("ANALYZE {name}.bait")).await;
    assert!(!refused.state.is_empty());
    let by_another: i64 = admin
        .one(
            "SELECT count(*) FROM control_plane.audit_logs
             WHERE action = 'secret.accessed' AND project_id = $1 AND actor <> $2",
            &[&project, &name],
        )
        .await?;
    assert_eq!(by_another, 0);
    Ok(())
}

#[tokio::test]
async fn odd_requests_of_a_trusted_login_are_refused_in_order() -> Proof {
    let app = TestApp::shared().await;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let nested = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    for request in [r#"{"a": 1e400}"#, nested.as_str()] {
        let refused = trusted
            .refused_text(&format!(
                "SELECT control_plane.authenticate('x', '{request}')"
            ))
            .await;
        assert_eq!(refused.state, "PT400", "{refused:?}");
    }
    for lease in ["10 years", "1 day", "0 seconds", "-1 second", "11 minutes"] {
        let refused = trusted
            .refused_text(&format!(
                "SELECT control_plane.claim_deliveries(1, '{lease}')"
            ))
            .await;
        assert_eq!(refused.state, "PT400", "{lease}");
    }
    Ok(())
}
