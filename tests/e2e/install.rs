//! Where the extension may be installed, and that it refuses elsewhere and says what to do.

use pg_secrets_tests::{
    Cluster, Key, Preload, Proof, Session, SqlError, extension_library, postgres_binary, repository,
};
use std::process::Command;

/// The error of CREATE EXTENSION, having made sure that it left nothing behind.
async fn refused(sql: &Session) -> Proof<SqlError> {
    let error = sql.refused_text("CREATE EXTENSION pg_secrets").await;
    let installed: i64 = sql
        .one(
            "SELECT count(*) FROM pg_extension WHERE extname = 'pg_secrets'",
            &[],
        )
        .await?;
    assert_eq!(installed, 0);
    assert!(!error.hint.is_empty(), "no hint: {error:?}");
    Ok(error)
}

async fn schema_exists(sql: &Session) -> Proof<bool> {
    let schema: Option<u32> = sql
        .one("SELECT to_regnamespace('control_plane')::oid", &[])
        .await?;
    Ok(schema.is_some())
}

#[test]
fn what_is_installed_is_what_was_built() {
    let folder = |flag: &str| {
        let output = Command::new(postgres_binary("pg_config"))
            .arg(flag)
            .output();
        let output = output.expect("pg_config runs").stdout;
        std::path::PathBuf::from(String::from_utf8_lossy(&output).trim())
    };
    let read = |path: std::path::PathBuf| {
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let installed = read(folder("--pkglibdir").join("pg_secrets.so"));
    assert!(installed == read(extension_library()), "run make install");
    let extensions = folder("--sharedir").join("extension");
    let mut files: Vec<_> = std::fs::read_dir(repository().join("sql"))
        .expect("sql/ can be read")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let script: Vec<u8> = files.into_iter().flat_map(read).collect();
    assert!(
        script == read(extensions.join("pg_secrets--0.1.0.sql")),
        "run make install"
    );
}

#[tokio::test]
async fn a_server_without_the_preload_is_refused() -> Proof {
    let cluster = Cluster::start_with(Preload::No, Key::None, "");
    let sql = cluster.sql().await?;
    let error = refused(&sql).await?;
    assert_eq!(error.state, "PT503");
    assert!(error.hint.contains("shared_preload_libraries"), "{error:?}");
    assert!(!schema_exists(&sql).await?);
    Ok(())
}

#[tokio::test]
async fn a_schema_that_somebody_planted_is_refused_and_left_alone() -> Proof {
    let cluster = Cluster::start(Key::new(), "");
    let sql = cluster.sql().await?;
    sql.run(
        "CREATE ROLE planter;
         CREATE SCHEMA control_plane AUTHORIZATION planter;
         CREATE TABLE control_plane.secrets (mine text);
         INSERT INTO control_plane.secrets VALUES ('still here')",
    )
    .await?;
    let error = refused(&sql).await?;
    assert_eq!(error.state, "PT409");
    assert!(error.message.contains("control_plane"), "{error:?}");
    let owner: String = sql
        .one(
            "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'control_plane'",
            &[],
        )
        .await?;
    let row: String = sql
        .one("SELECT mine FROM control_plane.secrets", &[])
        .await?;
    assert_eq!((owner.as_str(), row.as_str()), ("planter", "still here"));
    sql.run("DROP SCHEMA control_plane CASCADE; CREATE EXTENSION pg_secrets")
        .await?;
    Ok(())
}

/// pgspot's findings in a script.
fn findings(script: &str) -> Proof<String> {
    let python =
        std::env::var("PG_SECRETS_TEST_PYTHON").expect("make test sets PG_SECRETS_TEST_PYTHON");
    let program = std::path::Path::new(&python).with_file_name("pgspot");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script)?;
    let output = Command::new(program)
        .arg("--summary-only")
        .arg(&file)
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn the_install_script_has_no_hole_that_pgspot_knows() -> Proof {
    let mut files: Vec<_> = std::fs::read_dir(repository().join("sql"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let texts: Result<Vec<String>, _> = files.iter().map(std::fs::read_to_string).collect();
    let script = texts?.concat();
    let none = "Errors: 0 Warnings: 0 Unknown: 0";
    assert_eq!(findings(&script)?, none);
    // And it would see one.
    let planted = format!("{script}\nCREATE TABLE IF NOT EXISTS x (y integer);");
    assert_ne!(findings(&planted)?, none);
    Ok(())
}

/// What somebody without rights can leave behind in a database for the script to trip over: everything of
/// ours that he can make, and things of the system's names before the system's in the search path.
const PLANTED: &str = "
    CREATE SCHEMA planted;
    CREATE TABLE planted.secrets (id integer);
    CREATE TABLE public.secrets (id integer);
    CREATE TABLE public.grants (id integer);
    CREATE TYPE public.secret_version AS (mine text);
    CREATE FUNCTION public.create_secret(text, text, text) RETURNS text LANGUAGE sql AS $$SELECT 'planted'$$;
    CREATE FUNCTION public.raise_(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
        EXECUTE 'ALTER ROLE planter SUPERUSER'; RETURN true; END$$;
    CREATE FUNCTION public.char_length(text) RETURNS integer LANGUAGE sql AS $$SELECT CASE WHEN public.raise_($1) THEN 1 END$$;
    CREATE FUNCTION public.char_length(varchar) RETURNS integer LANGUAGE sql AS $$SELECT CASE WHEN public.raise_($1) THEN 1 END$$;
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT CASE WHEN public.raise_('') THEN now() END$$;
    CREATE FUNCTION public.pg_control_system() RETURNS TABLE (system_identifier bigint) LANGUAGE sql AS $$SELECT 1::bigint WHERE public.raise_('')$$;
    CREATE FUNCTION public.same(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT public.raise_($1)$$;
    CREATE FUNCTION public.same(name, text) RETURNS boolean LANGUAGE sql AS $$SELECT public.raise_($2)$$;
    CREATE FUNCTION public.same(varchar, text) RETURNS boolean LANGUAGE sql AS $$SELECT public.raise_($2)$$;
    CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.same);
    CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same);
    CREATE OPERATOR public.<> (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same);
    CREATE OPERATOR public.!~ (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same)";

#[tokio::test]
async fn what_somebody_without_rights_planted_does_not_touch_the_install() -> Proof {
    let clean = Cluster::start(Key::new(), "");
    let sql = clean.sql().await?;
    sql.run("CREATE EXTENSION pg_secrets").await?;
    let members = "SELECT string_agg(pg_describe_object(classid, objid, 0), E'\\n' ORDER BY 1)
        FROM pg_depend WHERE refclassid = 'pg_extension'::regclass
            AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_secrets')";
    let members = members.replace(
        "ORDER BY 1",
        "ORDER BY pg_describe_object(classid, objid, 0)",
    );
    let expected: String = sql.one(&members, &[]).await?;

    let cluster = Cluster::start(Key::new(), "");
    let admin = cluster.sql().await?;
    admin
        .run("CREATE ROLE planter LOGIN; GRANT CREATE ON DATABASE postgres TO planter; GRANT CREATE ON SCHEMA public TO planter")
        .await?;
    let planter = cluster.connect("planter", "postgres").await?;
    planter.run(PLANTED).await?;
    for path in ["public, planted, pg_catalog", "\"$user\", public"] {
        admin
            .run(&format!(
                "SET search_path = {path}; CREATE EXTENSION pg_secrets; RESET search_path"
            ))
            .await?;
        let found: String = admin.one(&members, &[]).await?;
        assert_eq!(found, expected, "{path}");
        admin
            .run(&format!(
                "SET search_path = {path};
                 SELECT control_plane.create_secret('p', 'n', 'a value');
                 SELECT control_plane.grant_project('planter', 'list', 'p', name_prefix => 'other');
                 SELECT control_plane.get_secret_by_name('p', 'n');
                 SELECT control_plane.run_maintenance();
                 RESET search_path"
            ))
            .await?;
        let refused = planter
            .refused_text(&format!(
                "SET search_path = {path}; SELECT control_plane.get_secret_by_name('p', 'n')"
            ))
            .await;
        assert_eq!(refused.state, "PT404", "{refused:?}");
        let raised: bool = admin
            .one(
                "SELECT rolsuper FROM pg_roles WHERE rolname = 'planter'",
                &[],
            )
            .await?;
        assert!(!raised, "{path}");
        admin
            .run("SELECT control_plane.revoke_project('planter', 'list', 'p', name_prefix => 'other'); DROP EXTENSION pg_secrets")
            .await?;
    }
    // Of its own schema the planter could make more; that is refused as a whole.
    planter.run("CREATE SCHEMA control_plane").await?;
    assert_eq!(refused(&admin).await?.state, "PT409");
    Ok(())
}

#[tokio::test]
async fn another_database_than_the_configured_one_is_refused() -> Proof {
    let cluster = Cluster::start(Key::new(), "pg_secrets.database = 'app'");
    let sql = cluster.sql().await?;
    sql.run("CREATE DATABASE app").await?;
    let error = refused(&sql).await?;
    assert_eq!(error.state, "PT422");
    assert!(error.hint.contains("pg_secrets.database"), "{error:?}");
    assert!(!schema_exists(&sql).await?);
    let app = cluster.connect("postgres", "app").await?;
    app.run("CREATE EXTENSION pg_secrets").await?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused() -> Proof {
    let cluster = Cluster::start(Key::new(), "pg_secrets.database = 'app'");
    let sql = cluster.sql().await?;
    sql.run("CREATE DATABASE app ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        .await?;
    let app = cluster.connect("postgres", "app").await?;
    let error = refused(&app).await?;
    assert_eq!(error.state, "PT422");
    assert!(error.message.contains("UTF8"), "{error:?}");
    assert!(!schema_exists(&app).await?);
    Ok(())
}

#[tokio::test]
async fn the_extension_can_be_dropped_and_made_again() -> Proof {
    let cluster = Cluster::start(Key::new(), "");
    let sql = cluster.sql().await?;
    for _ in 0..2 {
        sql.run("CREATE EXTENSION pg_secrets").await?;
        sql.run("SELECT control_plane.create_secret('p', 'n', 'a value')")
            .await?;
        sql.run("DROP EXTENSION pg_secrets").await?;
        assert!(!schema_exists(&sql).await?);
    }
    Ok(())
}
