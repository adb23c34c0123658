//! Changing the key while everybody works.

use pg_secrets_tests::{Home, Key, Proof, Session, TestApp, companion_binary, eventually};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How many versions there are to encrypt anew.
fn versions() -> i64 {
    match std::env::var_os("PG_SECRETS_SOAK") {
        Some(_) => 10_000,
        None => 3_000,
    }
}

const CLIENTS: i64 = 8;

/// The process that an operator starts.
fn reencrypt(app: &TestApp) -> Child {
    Command::new(companion_binary())
        .args(["reencrypt", "--batch", "50"])
        .env("DATABASE_URL", app.companion.database_url())
        .env("PG_SECRETS_TOKEN", &app.token)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the companion is built: make build")
}

async fn count_under(sql: &Session, fingerprint: &str) -> Proof<i64> {
    let count: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.secrets WHERE key_fingerprint = $1",
            &[&fingerprint],
        )
        .await?;
    Ok(count)
}

/// Reads a name at random and rotates one of its own from time to time; every value must be the one
/// that its version was given.
async fn work(sql: Session, number: i64, done: Arc<AtomicBool>, reads: Arc<AtomicU64>) -> Proof {
    let mut random = number as u64 + 1;
    while !done.load(Ordering::Relaxed) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let drawn = (random >> 33) as i64 % versions();
        let name = format!("n{drawn}");
        let row = sql
            .rows(
                "SELECT id, version, value FROM control_plane.get_secret_by_name('p', $1)",
                &[&name],
            )
            .await?;
        let (id, version): (Uuid, i32) = (row[0].get(0), row[0].get(1));
        let value: &str = row[0].get(2);
        assert_eq!(value, format!("{name} {version}"));
        reads.fetch_add(1, Ordering::Relaxed);
        if drawn % CLIENTS == number && drawn % 3 == 0 {
            let next = format!("{name} {}", version + 1);
            sql.rows("SELECT control_plane.rotate_secret($1, $2)", &[&id, &next])
                .await?;
            // The version that was superseded is read by its id, in its grace.
            let old: String = sql
                .one("SELECT value FROM control_plane.get_secret($1)", &[&id])
                .await?;
            assert_eq!(old, format!("{name} {version}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_changed_under_load_by_a_process_that_is_killed_half_way() -> Proof {
    let (a, b) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let keys = Home::new();
    let path = keys.write("keys.asc", &a);
    let settings = format!("fsync = off\npg_secrets.key_file = '{}'\n", path.display());
    let app = TestApp::start_with_key(Key::None, &settings).await;
    let sql = app.sql().await?;
    sql.rows(
        "SELECT count(control_plane.create_secret('p', 'n' || i, 'n' || i || ' 1'))
         FROM generate_series(0, $1::bigint - 1) AS i",
        &[&versions()],
    )
    .await?;
    sql.run("SELECT control_plane.create_endpoint('p', 'http://127.0.0.1:9/')")
        .await?;
    // Destroyed at once: there is nothing in it that could be encrypted anew.
    sql.run(
        "SELECT control_plane.create_secret('q', 'leaked', 'x');
         SELECT control_plane.rotate_secret(control_plane.secret_id('q', 'leaked'), 'y', grace => '0')",
    )
    .await?;
    let under_a: String = sql
        .one(
            "SELECT key_fingerprint FROM control_plane.secrets WHERE name = 'n1'",
            &[],
        )
        .await?;
    assert_eq!(count_under(&sql, &under_a).await?, versions() + 1);

    keys.write("keys.asc", format!("{b}{a}"));
    sql.run("SELECT pg_reload_conf()").await?;
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = work(
            app.sql().await?,
            number,
            Arc::clone(&done),
            Arc::clone(&reads),
        );
        clients.spawn(client);
    }
    let mut killed = reencrypt(&app);
    eventually("half of it", || async {
        (count_under(&sql, &under_a).await.ok()? < versions() / 2).then_some(())
    })
    .await;
    killed.kill().expect("it runs");
    killed.wait().expect("it is ours to wait for");
    let half = count_under(&sql, &under_a).await?;
    assert!(half > 0, "it was over before it was killed");

    let ended = reencrypt(&app).wait_with_output()?;
    let said = String::from_utf8(ended.stderr)?;
    assert!(ended.status.success(), "{said}");
    assert!(
        said.contains(&format!("Needed by nothing any more: {under_a}")),
        "{said}"
    );
    let before = reads.load(Ordering::Relaxed);
    eventually("more reads", || async {
        (reads.load(Ordering::Relaxed) > before + 100).then_some(())
    })
    .await;
    done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client??;
    }

    assert_eq!(count_under(&sql, &under_a).await?, 0);
    let needed: i64 = sql
        .one(
            "SELECT versions + endpoints FROM control_plane.pgp_keys() WHERE fingerprint = $1",
            &[&under_a],
        )
        .await?;
    assert_eq!(needed, 0);
    let destroyed: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.secrets
             WHERE destroyed_at IS NOT NULL AND value_encrypted IS NULL AND key_fingerprint IS NULL",
            &[],
        )
        .await?;
    assert_eq!(destroyed, 1);
    // Without the old key everything is there, signing secrets too.
    keys.write("keys.asc", &b);
    sql.run("SELECT pg_reload_conf()").await?;
    let sql = app.sql().await?;
    eventually("the old key is gone", || async {
        let keys: i64 = sql
            .one("SELECT count(*) FROM control_plane.pgp_keys()", &[])
            .await
            .ok()?;
        (keys == 1).then_some(())
    })
    .await;
    let failures = sql.rows("SELECT * FROM control_plane.verify_secrets()", &[]);
    assert!(failures.await?.is_empty());
    let row = sql
        .rows(
            "SELECT count(*), count(*) FILTER (WHERE read.value = s.name || ' ' || s.version),
                    count(*) FILTER (WHERE s.version > 1)
             FROM control_plane.secrets AS s, LATERAL control_plane.get_secret(s.id) AS read
             WHERE s.project_id = 'p'",
            &[],
        )
        .await?;
    let (all, right, rotated): (i64, i64, i64) = (row[0].get(0), row[0].get(1), row[0].get(2));
    assert_eq!(all, right);
    assert!(
        rotated > 20 && all == versions() + rotated,
        "{all} {rotated}"
    );
    let records: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'audit.direct_change'",
            &[],
        )
        .await?;
    assert_eq!(records, 0);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_decrypted_is_left_as_it_is_named_and_does_not_stop_the_rest() -> Proof {
    let (a, b) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let keys = Home::new();
    let path = keys.write("keys.asc", &a);
    let settings = format!("pg_secrets.key_file = '{}'\n", path.display());
    let app = TestApp::start_with_key(Key::None, &settings).await;
    let sql = app.sql().await?;
    sql.run(
        "SELECT control_plane.create_secret('p', 'n' || i, 'v') FROM generate_series(1, 5) AS i",
    )
    .await?;
    // Two rows whose messages were exchanged, by somebody who may do everything.
    sql.run(
        "UPDATE control_plane.secrets AS s SET value_encrypted = o.value_encrypted
         FROM control_plane.secrets AS o
         WHERE (s.name, o.name) IN (('n1', 'n2'), ('n2', 'n1'))",
    )
    .await?;
    let before: Vec<Vec<u8>> = sql
        .all(
            "SELECT value_encrypted FROM control_plane.secrets WHERE name IN ('n1', 'n2') ORDER BY name",
            &[],
        )
        .await?;
    keys.write("keys.asc", format!("{b}{a}"));
    sql.run("SELECT pg_reload_conf()").await?;
    let left = eventually("the new key", || async {
        let left: i64 = sql
            .one("SELECT control_plane.reencrypt_secrets(1)", &[])
            .await
            .ok()?;
        (left > 0).then_some(left)
    })
    .await;
    assert_eq!(left, 4);
    for _ in 0..3 {
        let left: i64 = sql
            .one("SELECT control_plane.reencrypt_secrets(100)", &[])
            .await?;
        assert_eq!(left, 2);
    }
    let after: Vec<Vec<u8>> = sql
        .all(
            "SELECT value_encrypted FROM control_plane.secrets WHERE name IN ('n1', 'n2') ORDER BY name",
            &[],
        )
        .await?;
    assert_eq!(before, after);
    let failing: Vec<String> = sql
        .all(
            "SELECT s.name || ' ' || f.kind FROM control_plane.verify_secrets() AS f
             JOIN control_plane.secrets AS s ON s.id = f.id AND s.key_fingerprint = f.key_fingerprint
             ORDER BY 1",
            &[],
        )
        .await?;
    assert_eq!(failing, ["n1 version", "n2 version"]);
    // Nor does a batch hold what it leaves as it is: a rotation mends it meanwhile.
    sql.run("BEGIN; SELECT control_plane.reencrypt_secrets(1)")
        .await?;
    let other = app.sql().await?;
    other
        .run(
            "SET lock_timeout = '5s'; BEGIN;
             SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'n1'), 'mended');
             ROLLBACK",
        )
        .await?;
    sql.run("COMMIT").await?;
    // The command gives up, and names them.
    let ended = reencrypt(&app).wait_with_output()?;
    let said = String::from_utf8(ended.stderr)?;
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("2 cannot be decrypted"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_row_that_names_another_key_than_its_message_is_reported() -> Proof {
    let (a, b) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let app = TestApp::start_with_key(Key::File(format!("{a}{b}")), "").await;
    let sql = app.sql().await?;
    sql.run(
        "SELECT control_plane.create_secret('p', 'n' || i, 'v') FROM generate_series(1, 3) AS i",
    )
    .await?;
    let none = sql.rows("SELECT * FROM control_plane.verify_secrets()", &[]);
    assert!(none.await?.is_empty());
    sql.run(
        r#"UPDATE control_plane.secrets SET key_fingerprint =
             (SELECT fingerprint FROM control_plane.pgp_keys() WHERE NOT "primary")
           WHERE name = 'n2'"#,
    )
    .await?;
    let problems: Vec<String> = sql
        .all(
            "SELECT s.name || ': ' || f.problem FROM control_plane.verify_secrets() AS f
             JOIN control_plane.secrets AS s USING (id)",
            &[],
        )
        .await?;
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("n2: it is encrypted to key"),
        "{problems:?}"
    );
    // Whoever changes keys is not told that one can go that is needed under another's name.
    sql.run(
        r#"UPDATE control_plane.secrets SET key_fingerprint =
             (SELECT fingerprint FROM control_plane.pgp_keys() WHERE "primary")"#,
    )
    .await?;
    let mut app = app;
    let ended = {
        app.cluster.stop();
        app.cluster.give_key(Key::File(format!("{b}{a}")));
        app.cluster.resume();
        let sql = app.sql().await?;
        sql.run(
            r#"UPDATE control_plane.secrets SET key_fingerprint =
                 (SELECT fingerprint FROM control_plane.pgp_keys() WHERE "primary") WHERE name = 'n2'"#,
        )
        .await?;
        reencrypt(&app).wait_with_output()?
    };
    let said = String::from_utf8(ended.stderr)?;
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("names another"), "{said}");
    assert!(!said.contains("Needed by nothing"), "{said}");
    let sql = app.sql().await?;
    let refused = sql
        .refused_text("UPDATE control_plane.secrets SET key_fingerprint = E'\\x1b[31m'")
        .await;
    assert_eq!(refused.state, "23514");
    Ok(())
}

#[tokio::test]
async fn keys_are_an_administrators_matter() -> Proof {
    let app = TestApp::shared().await;
    let token = app
        .token_for(
            "keeper",
            &["manage", "read", "write", "delete", "audit", "list"],
            "keys",
            None,
        )
        .await?;
    let trusted = app
        .cluster
        .connect(pg_secrets_tests::COMPANION_LOGIN, "postgres")
        .await?;
    for call in [
        "pgp_keys()",
        "reencrypt_secrets(1)",
        "verify_secrets()",
        "pgp_encrypt('x')",
        "pgp_decrypt('\\x00')",
        "pgp_decrypt('\\x00', 'password')",
    ] {
        trusted.run("BEGIN").await?;
        let refused = trusted
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, "PT401", "{call}");
        trusted.run("ROLLBACK; BEGIN").await?;
        trusted
            .rows("SELECT control_plane.authenticate($1)", &[&token])
            .await?;
        let refused = trusted
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, "PT403", "{call}");
        trusted.run("ROLLBACK").await?;
    }
    Ok(())
}
