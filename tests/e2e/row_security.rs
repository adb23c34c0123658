//! What a role sees that selects from the tables: the metadata of what it may list, and nothing else.

use crate::access::login;
use pg_secrets_tests::{
    COMPANION_LOGIN, Cluster, Key, Proof, Session, TestApp, eventually, project,
};

const NAMES: &str = "SELECT name FROM control_plane.secrets WHERE project_id = $1 ORDER BY name";

async fn secrets(sql: &Session, names: &[&str]) -> Proof<String> {
    let project = project("rows");
    for name in names {
        sql.rows(
            "SELECT control_plane.register_consumer(s.id, 'svc ' || s.name)
             FROM control_plane.create_secret($1, $2, 'v') AS s",
            &[&project, name],
        )
        .await?;
    }
    Ok(project)
}

async fn grant(
    sql: &Session,
    name: &str,
    permission: &str,
    project: &str,
    prefix: Option<&str>,
) -> Proof {
    sql.rows(
        "SELECT control_plane.grant_project($1, $2, $3, name_prefix => $4)",
        &[&name, &permission, &project, &prefix],
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_role_selects_what_it_may_list() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["app/one", "ops/two"]).await?;
    let hidden = secrets(&sql, &["app/three"]).await?;
    for (permission, prefix, expected) in [
        ("list", None, vec!["app/one", "ops/two"]),
        ("list", Some("app/"), vec!["app/one"]),
        ("read", None, vec![]),
        ("manage", None, vec![]),
        ("audit", None, vec![]),
    ] {
        let name = login(&sql).await?;
        grant(&sql, &name, permission, &project, prefix).await?;
        let session = app.cluster.connect(&name, "postgres").await?;
        let seen: Vec<String> = session.all(NAMES, &[&project]).await?;
        assert_eq!(seen, expected, "{permission} {prefix:?}");
        let everywhere: Vec<String> = session
            .all("SELECT name FROM control_plane.secrets ORDER BY name", &[])
            .await?;
        assert_eq!(everywhere, expected, "{permission} {prefix:?}");
        let consumers: Vec<String> = session
            .all(
                "SELECT service::text FROM control_plane.secret_consumers ORDER BY service",
                &[],
            )
            .await?;
        let of_these: Vec<String> = expected.iter().map(|name| format!("svc {name}")).collect();
        assert_eq!(consumers, of_these, "{permission} {prefix:?}");
        let others: Vec<String> = session.all(NAMES, &[&hidden]).await?;
        assert!(others.is_empty(), "{others:?}");
        // A condition of the role's own sees no row that the policy hides.
        session
            .run(
                "CREATE FUNCTION pg_temp.tell(name text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
                 AS $$BEGIN RAISE 'saw %', name; END$$",
            )
            .await?;
        if expected.is_empty() {
            session
                .run("SELECT FROM control_plane.secrets WHERE pg_temp.tell(name)")
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_role_touches_what_is_not_metadata_nor_changes_anything() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["one"]).await?;
    let name = login(&sql).await?;
    for permission in ["list", "read", "write", "delete", "manage", "audit"] {
        grant(&sql, &name, permission, &project, None).await?;
    }
    let administrator = login(&sql).await?;
    sql.rows(
        "SELECT control_plane.grant_project($1, 'admin')",
        &[&administrator],
    )
    .await?;
    let tables: Vec<String> = sql
        .all(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'control_plane'::regnamespace AND relkind IN ('r', 'v')",
            &[],
        )
        .await?;
    for login in [&name, &administrator] {
        let session = app.cluster.connect(login, "postgres").await?;
        for statement in [
            "SELECT value_encrypted FROM control_plane.secrets",
            "SELECT * FROM control_plane.secrets",
            "SELECT s FROM control_plane.secrets AS s",
            "SELECT xmin FROM control_plane.secrets",
            "COPY control_plane.secrets TO STDOUT",
            "SELECT name FROM control_plane.secrets FOR UPDATE",
            "UPDATE control_plane.secrets SET name = name",
            "DELETE FROM control_plane.secrets",
            "INSERT INTO control_plane.secrets (name) VALUES ('x')",
            "BEGIN; LOCK control_plane.secrets",
            "ALTER TABLE control_plane.secrets DISABLE ROW LEVEL SECURITY",
            "DROP POLICY listed ON control_plane.secrets",
            "CREATE POLICY mine ON control_plane.secrets USING (true)",
            "CREATE TABLE pg_temp.x (id uuid REFERENCES control_plane.secrets)",
            "SET row_security = off; SELECT name FROM control_plane.secrets",
        ] {
            let refused = session.refused_text(statement).await;
            assert_eq!(refused.state, "42501", "{statement}: {refused:?}");
            session.run("ROLLBACK; RESET row_security").await?;
        }
        for table in &tables {
            let whole = format!("SELECT count(*) FROM control_plane.{table}");
            let listable = ["secrets", "secret_consumers"].contains(&table.as_str());
            match session.run(&whole).await {
                Ok(()) => assert!(listable, "{table}"),
                Err(refused) => assert_eq!(
                    (refused.state.as_str(), listable),
                    ("42501", false),
                    "{table}"
                ),
            }
        }
    }
    let session = app.cluster.connect(&administrator, "postgres").await?;
    let seen: Vec<String> = session.all(NAMES, &[&project]).await?;
    assert_eq!(seen, ["one"], "an administrator sees every project");
    Ok(())
}

#[tokio::test]
async fn a_grant_that_is_over_hides_the_rows_at_once() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["one", "two"]).await?;
    let name = login(&sql).await?;
    grant(&sql, &name, "read", &project, None).await?;
    grant(&sql, &name, "list", &project, None).await?;
    let session = app.cluster.connect(&name, "postgres").await?;
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let seen: Vec<String> = session.all(NAMES, &[&project]).await?;
    assert_eq!(seen.len(), 2);
    session
        .run(&format!(
            "DECLARE c CURSOR FOR SELECT name FROM control_plane.secrets WHERE project_id = '{project}'"
        ))
        .await?;
    let fetched: Vec<String> = session.all("FETCH 1 FROM c", &[]).await?;
    assert_eq!(fetched.len(), 1);
    sql.rows(
        "SELECT control_plane.revoke_project($1, 'list', $2)",
        &[&name, &project],
    )
    .await?;
    let rest: Vec<String> = session.all("FETCH ALL FROM c", &[]).await?;
    assert!(rest.is_empty(), "{rest:?}");
    let seen: Vec<String> = session.all(NAMES, &[&project]).await?;
    assert!(seen.is_empty(), "{seen:?}");
    session.run("COMMIT").await?;
    // With the last grant goes the right to look at all.
    sql.rows(
        "SELECT control_plane.revoke_project($1, 'read', $2)",
        &[&name, &project],
    )
    .await?;
    for table in ["secrets", "secret_consumers"] {
        let refused = session
            .refused_text(&format!("SELECT count(*) FROM control_plane.{table}"))
            .await;
        assert_eq!(refused.state, "42501", "{table}: {refused:?}");
        let left: i64 = sql
            .one(
                "SELECT count(*) FROM pg_attribute AS a, aclexplode(a.attacl) AS held
                 WHERE held.grantee = $1::text::regrole",
                &[&name],
            )
            .await?;
        assert_eq!(left, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_trusted_login_sees_the_rows_of_the_subject_that_it_authenticated() -> Proof {
    // Its own: the companion's login is given more here.
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["app/one", "ops/two"]).await?;
    // What a role has does not count in a login that acts for others.
    grant(&sql, COMPANION_LOGIN, "list", &project, None).await?;
    let token = app
        .token_for("a reader of rows", &[], &project, None)
        .await?;
    sql.rows(
        "SELECT control_plane.grant_project('a reader of rows', 'list', $1, kind => 'subject', name_prefix => 'app/')",
        &[&project],
    )
    .await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let seen: Vec<String> = trusted.all(NAMES, &[&project]).await?;
    assert!(seen.is_empty(), "before authentication: {seen:?}");
    trusted.run("BEGIN").await?;
    trusted
        .rows("SELECT control_plane.authenticate($1)", &[&token])
        .await?;
    let seen: Vec<String> = trusted.all(NAMES, &[&project]).await?;
    assert_eq!(seen, ["app/one"]);
    trusted.run("COMMIT").await?;
    let seen: Vec<String> = trusted.all(NAMES, &[&project]).await?;
    assert!(seen.is_empty(), "the next transaction: {seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_definers_function_selects_with_its_owners_rights() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &["one"]).await?;
    let owner = login(&sql).await?;
    let user = login(&sql).await?;
    grant(&sql, &owner, "list", &project, None).await?;
    let function = format!("public.names_{owner}");
    sql.run(&format!(
        "CREATE FUNCTION {function}(project text) RETURNS bigint LANGUAGE sql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp
             AS 'SELECT count(*) FROM control_plane.secrets WHERE project_id = project';
         ALTER FUNCTION {function}(text) OWNER TO {owner}"
    ))
    .await?;
    let session = app.cluster.connect(&user, "postgres").await?;
    let seen: i64 = session
        .one(&format!("SELECT {function}($1)"), &[&project])
        .await?;
    assert_eq!(seen, 1);
    Ok(())
}

#[tokio::test]
async fn a_tokens_last_use_is_stored_once_and_is_no_change_of_it() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = secrets(&sql, &[]).await?;
    let token = app.token_for(&project, &[], &project, None).await?;
    let trusted = app.cluster.connect(COMPANION_LOGIN, "postgres").await?;
    let id: uuid::Uuid = sql
        .one("SELECT control_plane.token_id($1)", &[&token])
        .await?;
    let used = "SELECT last_used_at::text FROM control_plane.list_tokens($1)";
    let before: Option<String> = sql.one(used, &[&project]).await?;
    assert_eq!(before, None);
    // Somebody who revokes it, and does not end, holds up nobody who authenticates with it.
    let revoking = app.cluster.sql().await?;
    revoking
        .run(&format!("BEGIN; SELECT control_plane.revoke_token('{id}')"))
        .await?;
    trusted
        .run(&format!(
            "SET lock_timeout = '1s'; BEGIN; SELECT control_plane.authenticate('{token}'); ROLLBACK"
        ))
        .await?;
    revoking.run("ROLLBACK").await?;
    let at = eventually("the use", || async {
        trusted
            .run(&format!(
                "BEGIN; SELECT control_plane.authenticate('{token}'); ROLLBACK"
            ))
            .await
            .ok()?;
        let at: Option<String> = sql.one(used, &[&project]).await.ok()?;
        at
    })
    .await;
    for _ in 0..20 {
        trusted
            .rows("SELECT control_plane.authenticate($1)", &[&token])
            .await?;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let after: Option<String> = sql.one(used, &[&project]).await?;
    assert_eq!(after, Some(at));
    let direct: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs
             WHERE action = 'audit.direct_change' AND detail->>'table' = 'tokens'
                 AND detail->>'operation' = 'UPDATE'",
            &[],
        )
        .await?;
    assert_eq!(direct, 0);
    Ok(())
}

#[tokio::test]
async fn a_restored_database_shows_a_role_what_it_saw_before() -> Proof {
    let key = Key::new();
    let original = Cluster::start(key.clone(), "fsync = off");
    original.install().await?;
    let sql = original.sql().await?;
    let project = secrets(&sql, &["app/one", "ops/two"]).await?;
    sql.run("CREATE ROLE lister LOGIN").await?;
    grant(&sql, "lister", "list", &project, Some("app/")).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("dump.sql");
    let dumped = original
        .client("pg_dump")
        .arg("--file")
        .arg(&file)
        .output()?;
    assert!(dumped.status.success(), "{dumped:?}");

    let copy = Cluster::start(key, "fsync = off");
    let sql = copy.sql().await?;
    sql.run(&format!(
        "CREATE ROLE lister LOGIN; CREATE ROLE {COMPANION_LOGIN} LOGIN"
    ))
    .await?;
    let restored = copy
        .client("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--file",
        ])
        .arg(&file)
        .output()?;
    assert!(restored.status.success(), "{restored:?}");
    let session = copy.connect("lister", "postgres").await?;
    let seen: Vec<String> = session.all(NAMES, &[&project]).await?;
    assert_eq!(seen, ["app/one"]);
    let refused = session
        .refused_text("SELECT value_encrypted FROM control_plane.secrets")
        .await;
    assert_eq!(refused.state, "42501");
    Ok(())
}
