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
