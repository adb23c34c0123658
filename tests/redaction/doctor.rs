//! `pg-secrets doctor` tells what is wrong: each thing that it looks at is broken once.

use pg_secrets_tests::{
    Cluster, Home, Key, Preload, Proof, SqlError, companion_binary, eventually,
};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// What it printed, and its exit code.
struct Told {
    code: i32,
    text: String,
}

fn doctor(cluster: &Cluster, login: &str, arguments: &[&str]) -> Told {
    let host: String = cluster
        .sockets()
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let output: Output = Command::new(companion_binary())
        .arg("doctor")
        .args(arguments)
        .env(
            "DATABASE_URL",
            format!("postgresql://{login}@{host}:5432/postgres"),
        )
        .env_remove("PGPASSWORD")
        .output()
        .expect("the companion runs");
    Told {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}

/// As README.md installs it.
async fn install(cluster: &Cluster) -> Result<(), SqlError> {
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("REVOKE EXECUTE ON FUNCTION control_plane.set_execute, control_plane.store_usage, control_plane.audit_change, control_plane.protect_audit FROM secrets_companion").await
}

impl Told {
    fn says(&self, code: i32, what: &[&str]) {
        assert_eq!(self.code, code, "{}", self.text);
        for part in what {
            assert!(self.text.contains(part), "{part}: {}", self.text);
        }
    }
}

const COLLECTED: &str =
    "fsync = off\nlogging_collector = on\nlog_directory = log\nlog_destination = 'stderr,csvlog'\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_told_to_be_sound() -> Proof {
    let mut cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let told = doctor(&cluster, "postgres", &[]);
    told.says(
        0,
        &[
            "is the last of",
            "seals",
            "all of them run",
            "nobody has more",
            "chained as they come",
            "read as it was",
            "no statistics view",
            "it does not stand in the log",
        ],
    );
    // It leaves no secret behind.
    let sql = cluster.sql().await?;
    let left: i64 = sql
        .one("SELECT count(*) FROM control_plane.secrets", &[])
        .await?;
    assert_eq!(left, 0);
    // A standby is no fault, and neither is a server whose transactions are read-only by default.
    let standby = Cluster::standby_of(&cluster);
    doctor(&standby, "postgres", &[]).says(1, &["not checked: 1 of", "follows another"]);
    sql.run("ALTER SYSTEM SET default_transaction_read_only = on")
        .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    doctor(&cluster, "postgres", &[]).says(0, &["ok: all of"]);
    // A login that may see nothing says so, in place of saying that all is well.
    let told = doctor(&cluster, "secrets_companion", &[]);
    told.says(
        1,
        &[
            "not checked  preload",
            "not checked  key",
            "not checked  workers",
            "not checked  audit",
            "not checked  canary",
        ],
    );
    cluster.stop();
    doctor(&cluster, "postgres", &[]).says(3, &["WRONG: 1 of 1: connection", "cannot be reached"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_run_often_and_leaves_no_alarm_and_one_name() -> Proof {
    let cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let sql = cluster.sql().await?;
    // What one left that was interrupted.
    sql.run("SELECT control_plane.create_secret('pg-secrets-doctor', 'canary', 'left')")
        .await?;
    for _ in 0..3 {
        doctor(&cluster, "postgres", &[]).says(0, &["read as it was"]);
    }
    let refused = "SELECT action || ' ' || coalesce(detail::text, '') FROM control_plane.audit_logs WHERE outcome <> 'success'";
    assert_eq!(sql.all::<String>(refused, &[]).await?, [""; 0]);
    let names = "SELECT count(*) FROM control_plane.secret_names";
    assert_eq!(sql.one::<i64>(names, &[]).await?, 1);
    let secrets = "SELECT count(*) FROM control_plane.secrets";
    assert_eq!(sql.one::<i64>(secrets, &[]).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hinders_a_connection_is_named() -> Proof {
    let cluster = Cluster::start(Key::new(), COLLECTED);
    doctor(&cluster, "nobody", &[]).says(3, &["the login does not exist there", "login nobody"]);
    doctor(&cluster, "postgres", &["--nothing"]).says(3, &[]);
    let url = "postgresql://postgres@127.0.0.1:1/there";
    let told = doctor(&cluster, "postgres", &["--database-url", url]);
    told.says(3, &["127.0.0.1 (port 1, database there"]);
    let output = Command::new(companion_binary())
        .arg("doctor")
        .env_remove("DATABASE_URL")
        .output()?;
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_versions_that_are_not_what_they_should_be_are_told_of() -> Proof {
    let cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let sql = cluster.sql().await?;
    for (break_it, mend_it, code, told) in [
        (
            "ALTER SYSTEM SET log_min_messages = fatal",
            "ALTER SYSTEM RESET log_min_messages",
            2,
            "log_min_messages is fatal",
        ),
        (
            "ALTER SYSTEM SET pg_secrets.redact_also = 'app.nowhere, version'",
            "ALTER SYSTEM RESET pg_secrets.redact_also",
            1,
            "does not have: app.nowhere;",
        ),
        (
            "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'pg_secrets'",
            "UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'pg_secrets'",
            2,
            "it is of version 0.0.9",
        ),
    ] {
        sql.run(break_it).await?;
        sql.run("SELECT pg_reload_conf()").await?;
        eventually("the finding", || async {
            let said = doctor(&cluster, "postgres", &[]);
            (said.code == code && said.text.contains(told)).then_some(())
        })
        .await;
        sql.run(mend_it).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_is_not_preloaded_or_not_last_is_told_of() -> Proof {
    let cluster = Cluster::start_with(Preload::No, Key::new(), COLLECTED);
    doctor(&cluster, "postgres", &[]).says(
        2,
        &[
            "does not list pg_secrets",
            "does not hold the extension",
            "CREATE EXTENSION",
        ],
    );
    let settings = format!("{COLLECTED}shared_preload_libraries = 'pg_secrets, auto_explain'");
    let cluster = Cluster::start(Key::new(), &settings);
    install(&cluster).await?;
    doctor(&cluster, "postgres", &[]).says(2, &["auto_explain behind pg_secrets"]);
    drop(cluster);
    let cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let sql = cluster.sql().await?;
    sql.run("ALTER ROLE secrets_companion SET session_preload_libraries = 'auto_explain'")
        .await?;
    doctor(&cluster, "postgres", &[]).says(
        2,
        &["before they are masked: secrets_companion: session_preload_libraries=auto_explain"],
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_missing_are_told_of() -> Proof {
    let mut cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'value')")
        .await?;
    cluster.stop();
    cluster.give_key(Key::new());
    cluster.resume();
    doctor(&cluster, "postgres", &[]).says(2, &["cannot be read without it"]);
    cluster.stop();
    cluster.give_key(Key::None);
    cluster.resume();
    doctor(&cluster, "postgres", &[]).says(2, &["WRONG        key", "a value could not be stored"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_gone_or_open_to_all_is_told_of() -> Proof {
    let home = Home::new();
    let Key::File(key) = Key::new() else {
        panic!("a key in a file")
    };
    let file = home.write("keys.asc", key);
    let settings = format!("{COLLECTED}pg_secrets.key_file = '{}'\n", file.display());
    let cluster = Cluster::start(Key::None, &settings);
    install(&cluster).await?;
    doctor(&cluster, "postgres", &[]).says(0, &["is there a copy of it elsewhere?"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    doctor(&cluster, "postgres", &[])
        .says(2, &["every account of the machine may read", "mode 644"]);
    std::fs::remove_file(&file)?;
    doctor(&cluster, "postgres", &[]).says(2, &["the file of pg_secrets.key_file is gone"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_go_too_far_are_told_of() -> Proof {
    let cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let sql = cluster.sql().await?;
    // What a grant gives is as it should be.
    sql.run("CREATE ROLE other; SELECT control_plane.grant_project('other', 'list', 'p')")
        .await?;
    let said = doctor(&cluster, "postgres", &[]);
    assert!(!said.text.contains("other on"), "{}", said.text);
    for (break_it, mend_it, told) in [
        (
            "GRANT SELECT (value_encrypted) ON control_plane.secrets TO other",
            "REVOKE SELECT (value_encrypted) ON control_plane.secrets FROM other",
            "other on control_plane.secrets.value_encrypted",
        ),
        (
            "ALTER TABLE control_plane.secrets DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE control_plane.secrets ENABLE ROW LEVEL SECURITY",
            "may not list: control_plane.secrets",
        ),
        (
            "GRANT EXECUTE ON FUNCTION control_plane.get_secret TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION control_plane.get_secret FROM PUBLIC",
            "PUBLIC, which is everybody, may use: control_plane.get_secret",
        ),
        (
            "GRANT SELECT ON control_plane.tokens TO PUBLIC",
            "REVOKE SELECT ON control_plane.tokens FROM PUBLIC",
            "may use: control_plane.tokens",
        ),
        (
            "GRANT USAGE ON SCHEMA control_plane TO PUBLIC",
            "REVOKE USAGE ON SCHEMA control_plane FROM PUBLIC",
            "may use: control_plane",
        ),
        (
            "GRANT UPDATE ON control_plane.secrets TO other",
            "REVOKE UPDATE ON control_plane.secrets FROM other",
            "other on control_plane.secrets",
        ),
        (
            "GRANT EXECUTE ON FUNCTION control_plane.set_execute TO other",
            "REVOKE EXECUTE ON FUNCTION control_plane.set_execute FROM other",
            "other on set_execute",
        ),
        (
            "ALTER ROLE secrets_companion SUPERUSER",
            "ALTER ROLE secrets_companion NOSUPERUSER",
            "rights of its own",
        ),
        (
            "ALTER SYSTEM SET pg_secrets.trusted_logins = 'secrets_companion, nobody_yet'",
            "ALTER SYSTEM SET pg_secrets.trusted_logins = 'secrets_companion'",
            "does not exist",
        ),
        (
            "ALTER TABLE control_plane.secrets DISABLE TRIGGER audit_update",
            "ALTER TABLE control_plane.secrets ENABLE ALWAYS TRIGGER audit_update",
            "changes can go unrecorded: audit_update on control_plane.secrets",
        ),
        (
            "ALTER TABLE control_plane.grants ENABLE TRIGGER audit_delete",
            "ALTER TABLE control_plane.grants ENABLE ALWAYS TRIGGER audit_delete",
            "changes can go unrecorded: audit_delete on control_plane.grants",
        ),
    ] {
        sql.run(break_it).await?;
        sql.run("SELECT pg_reload_conf()").await?;
        eventually("the finding", || async {
            let said = doctor(&cluster, "postgres", &[]);
            (said.code == 2 && said.text.contains(told)).then_some(())
        })
        .await;
        sql.run(mend_it).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_do_not_run_and_records_that_are_not_chained_are_told_of() -> Proof {
    // Too few places for all of them.
    let settings =
        format!("{COLLECTED}max_worker_processes = 4\nmax_logical_replication_workers = 0");
    let cluster = Cluster::start(Key::new(), &settings);
    install(&cluster).await?;
    eventually("the finding", || async {
        let told = doctor(&cluster, "postgres", &[]);
        (told.code == 2 && told.text.contains("' does not run")).then_some(())
    })
    .await;
    drop(cluster);
    let cluster = Cluster::start(Key::new(), COLLECTED);
    install(&cluster).await?;
    let sql = cluster.sql().await?;
    // A record from long ago of which no link is made.
    sql.run(
        "ALTER TABLE control_plane.audit_logs DISABLE TRIGGER USER;
         INSERT INTO control_plane.audit_logs (id, at, action, outcome, actor, login)
         VALUES ('0fffffff-ffff-7fff-bfff-ffffffffffff', now() - interval '1 day', 'secret.accessed', 'success', 'a', 'a');
         ALTER TABLE control_plane.audit_logs ENABLE TRIGGER USER",
    )
    .await?;
    doctor(&cluster, "postgres", &[]).says(2, &["are not chained yet"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_a_log_or_view_is_told_of() -> Proof {
    let cluster = Cluster::start_unredacted(Key::new(), COLLECTED);
    install(&cluster).await?;
    doctor(&cluster, "postgres", &[]).says(
        2,
        &[
            "the value stands in the log log/",
            "the value stands in pg_",
        ],
    );
    // A server that logs elsewhere: the file is named.
    let cluster = Cluster::start(Key::new(), "fsync = off");
    install(&cluster).await?;
    doctor(&cluster, "postgres", &[]).says(1, &["name it with --log-file"]);
    let log = cluster.home().join("server.log");
    let log = log.to_str().expect("a path in UTF-8");
    doctor(&cluster, "postgres", &["--log-file", log]).says(0, &["it does not stand in the log"]);
    let other = cluster.home().write("other.log", "nothing");
    let other = other.to_str().expect("a path in UTF-8");
    doctor(&cluster, "postgres", &["--log-file", other]).says(1, &["it may be another's"]);
    let nowhere = "/nowhere/to/be/found.log";
    doctor(&cluster, "postgres", &["--log-file", nowhere]).says(
        1,
        &["/nowhere/to/be/found.log cannot be read: No such file"],
    );
    Ok(())
}
