//! SQL as psql shows it, messages with DETAIL and HINT, compared with what the repository holds.
//! `UPDATE_EXPECT=1` writes it anew.

use pg_secrets_tests::{Proof, TestApp, postgres_binary, repository};
use regex::Regex;
use std::process::{Command, Stdio};

async fn compare(name: &str) -> Proof {
    let app = TestApp::start("pg_secrets.expiry_warning = 0").await;
    let folder = repository().join("tests/regress");
    let psql = Command::new(postgres_binary("psql"))
        .args([
            "--no-psqlrc",
            "--echo-all",
            "--quiet",
            "--username",
            "postgres",
        ])
        .args([
            "--set",
            "VERBOSITY=verbose",
            "--dbname",
            "postgres",
            "--host",
        ])
        .arg(app.cluster.sockets())
        .arg("--file")
        .arg(folder.join("sql").join(format!("{name}.sql")))
        .env("PGOPTIONS", "-c timezone=UTC -c intervalstyle=postgres")
        .stdin(Stdio::null())
        // One stream, so that each error stands behind its statement.
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output()?;
    assert!(psql.status.success(), "{psql:?}");
    let mut printed = String::from_utf8(psql.stdout)?;
    printed.push_str("\n-- errors\n");
    printed.push_str(&String::from_utf8(psql.stderr)?);
    for (pattern, with) in [
        ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"psql:[^ ]*/", "psql:"),
        // The place in the server's own source, which differs from release to release.
        (r"(?m)^LOCATION:.*\n", ""),
        (r"(?m)[ \t]+$", ""),
    ] {
        printed = Regex::new(pattern)?
            .replace_all(&printed, with)
            .into_owned();
    }
    let expected = folder.join("expected").join(format!("{name}.out"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&expected, &printed)?;
    }
    let expected = std::fs::read_to_string(expected)?;
    assert_eq!(printed, expected, "{name}.sql prints something else");
    Ok(())
}

#[tokio::test]
async fn the_life_of_a_secret_by_sql_alone_is_as_the_repository_shows_it() -> Proof {
    compare("life").await
}

#[tokio::test]
async fn every_error_says_what_happened_and_what_to_do() -> Proof {
    compare("errors").await
}
