//! pg_secrets.key_file: keys that change while the server runs.

use crate::gnupg::Gpg;
use pg_secrets_tests::{Cluster, Home, Key, Proof, Session, eventually};
use std::io::{Read, Seek, SeekFrom};

/// A file of keys beside a server, as an operator keeps it.
struct KeyFile(Home);

impl KeyFile {
    fn new(content: &str) -> Self {
        let home = Home::new();
        home.write("keys.asc", content);
        Self(home)
    }

    /// The line of postgresql.conf that names it.
    fn setting(&self) -> String {
        let path = self.0.join("keys.asc");
        format!("pg_secrets.key_file = '{}'\n", path.display())
    }

    fn write(&self, content: &str) {
        self.0.write("keys.asc", content);
    }
}

async fn reload(sql: &Session) -> Proof {
    let sent: bool = sql.one("SELECT pg_reload_conf()", &[]).await?;
    assert!(sent);
    Ok(())
}

/// The fingerprint of the primary key, as a session knows it.
async fn primary(sql: &Session) -> Proof<String> {
    let primary: String = sql
        .one(
            r#"SELECT fingerprint FROM control_plane.pgp_keys() WHERE "primary""#,
            &[],
        )
        .await?;
    Ok(primary)
}

async fn primary_becomes_another_than(sql: &Session, old: &str) -> String {
    eventually("the new key", || async {
        let now = primary(sql).await.ok()?;
        (now != old).then_some(now)
    })
    .await
}

async fn create(sql: &Session, name: &str) -> Proof<String> {
    let fingerprint: String = sql
        .one(
            "SELECT key_fingerprint FROM control_plane.create_secret('p', $1, 'value of ' || $1)",
            &[&name],
        )
        .await?;
    Ok(fingerprint)
}

async fn read(sql: &Session, name: &str) -> Proof<String> {
    let value: String = sql
        .one(
            "SELECT value FROM control_plane.get_secret_by_name('p', $1)",
            &[&name],
        )
        .await?;
    Ok(value)
}

#[tokio::test]
async fn a_reload_brings_a_new_key_to_sessions_that_were_there_before() -> Proof {
    let (old, new) = (Key::generate("rfc9580"), Key::generate("rfc4880"));
    let file = KeyFile::new(&old);
    let cluster = Cluster::start(Key::None, &file.setting());
    cluster.install().await?;
    let early = cluster.sql().await?;
    let first = primary(&early).await?;
    assert_eq!(create(&early, "old").await?, first);

    file.write(&format!("{new}{old}"));
    let other = cluster.sql().await?;
    reload(&other).await?;
    let second = primary_becomes_another_than(&early, &first).await;
    assert_eq!(create(&early, "new").await?, second);
    // The log says so, once.
    let log = cluster.log();
    let told = format!(
        "pg_secrets has 2 key(s) from {}",
        file.0.join("keys.asc").display()
    );
    assert_eq!(log.matches(&told).count(), 1, "{log}");
    assert!(
        log.contains(&format!("{second} is the primary one\n")),
        "{log}"
    );
    for session in [early, cluster.sql().await?] {
        assert_eq!(read(&session, "old").await?, "value of old");
        assert_eq!(read(&session, "new").await?, "value of new");
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_file_is_refused_with_a_line_in_the_log_and_the_keys_stay() -> Proof {
    let key = Key::generate("rfc9580");
    let public = {
        let gpg = Gpg::new();
        gpg.import(&Key::generate("rfc4880"));
        String::from_utf8(gpg.run(&["--armor", "--export"]))?
    };
    let file = KeyFile::new(&key);
    let cluster = Cluster::start(Key::None, &file.setting());
    cluster.install().await?;
    let early = cluster.sql().await?;
    let first = primary(&early).await?;
    create(&early, "n").await?;
    for (refusals, broken) in (1..).zip(["garbage", "", &key[..key.len() / 2], &public]) {
        file.write(broken);
        reload(&early).await?;
        eventually("the line in the log", || async {
            let log = cluster.log();
            let told = log
                .matches("the keys of pg_secrets stay as they are")
                .count();
            (told == refusals).then_some(())
        })
        .await;
        for session in [&early, &cluster.sql().await?] {
            assert_eq!(primary(session).await?, first);
            assert_eq!(read(session, "n").await?, "value of n");
        }
        // A query of several processes repeats the settings in each of them.
        early
            .run("SET force_parallel_mode = on; SELECT count(*) FROM pg_class; RESET force_parallel_mode")
            .await?;
    }
    assert!(!cluster.log().contains("PRIVATE KEY"), "{}", cluster.log());
    // Mended, it is taken.
    let new = Key::generate("rfc9580");
    file.write(&format!("{new}{key}"));
    reload(&early).await?;
    primary_becomes_another_than(&early, &first).await;
    assert_eq!(read(&early, "n").await?, "value of n");
    Ok(())
}

#[tokio::test]
async fn the_log_says_what_to_do_about_a_file_that_is_refused() -> Proof {
    let gpg = Gpg::new();
    gpg.run(&[
        "--passphrase",
        "words",
        "--quick-generate-key",
        "locked",
        "future-default",
        "default",
        "never",
    ]);
    let locked = gpg.run(&["--passphrase", "words", "--armor", "--export-secret-keys"]);
    let locked = String::from_utf8(locked)?;
    let file = KeyFile::new(&Key::generate("rfc9580"));
    let cluster = Cluster::start(Key::None, &file.setting());
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(file.0.join("keys.asc"), mode)
    };
    mode(0o000)?;
    reload(&sql).await?;
    eventually("a hint about the owner", || async {
        cluster.log().contains("must own the file").then_some(())
    })
    .await;
    mode(0o600)?;
    file.write(&locked);
    reload(&sql).await?;
    eventually("a hint about the passphrase", || async {
        let log = cluster.log();
        log.contains("PG_SECRETS_KEY_PASSPHRASE is read at its start")
            .then_some(())
    })
    .await;
    file.write(&Key::generate("rfc9580"));
    mode(0o644)?;
    reload(&sql).await?;
    eventually("a word about the mode", || async {
        let log = cluster.log();
        log.contains("every account of this machine can read that file")
            .then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn the_file_stands_in_the_place_of_the_environments_keys_for_as_long_as_it_is_set() -> Proof {
    let (by_environment, by_file) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let file = KeyFile::new(&by_file);
    let cluster = Cluster::start(Key::Variable(by_environment), "");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let first = primary(&sql).await?;
    create(&sql, "one").await?;
    let path = file.0.join("keys.asc");
    sql.run(&format!(
        "ALTER SYSTEM SET pg_secrets.key_file = '{}'",
        path.display()
    ))
    .await?;
    reload(&sql).await?;
    primary_becomes_another_than(&sql, &first).await;
    create(&sql, "two").await?;
    let refused = sql
        .refused("SELECT control_plane.get_secret_by_name('p', 'one')", &[])
        .await;
    assert_eq!(refused.state, "PT503");
    assert!(refused.message.contains(&first), "{refused:?}");

    sql.run("ALTER SYSTEM RESET pg_secrets.key_file").await?;
    reload(&sql).await?;
    eventually("the environment's keys", || async {
        (primary(&sql).await.ok()? == first).then_some(())
    })
    .await;
    assert_eq!(read(&sql, "one").await?, "value of one");
    Ok(())
}

#[tokio::test]
async fn a_server_whose_file_is_broken_starts_says_why_and_needs_no_restart_to_be_mended() -> Proof
{
    let file = KeyFile::new("garbage");
    let environment = Key::Variable(Key::generate("rfc9580"));
    let cluster = Cluster::start(environment, &file.setting());
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let refused = sql
        .refused("SELECT control_plane.create_secret('p', 'n', 'v')", &[])
        .await;
    assert_eq!(refused.state, "PT503");
    assert!(
        refused.message.contains("pg_secrets.key_file"),
        "{refused:?}"
    );
    assert!(cluster.log().contains("pg_secrets has no key"));
    file.write(&Key::generate("rfc9580"));
    reload(&sql).await?;
    eventually("the mended file", || async {
        let statement = "SELECT control_plane.create_secret('p', 'n', 'value of n')";
        sql.rows(statement, &[]).await.ok()
    })
    .await;
    assert_eq!(read(&sql, "n").await?, "value of n");
    Ok(())
}

#[tokio::test]
async fn a_statement_that_runs_while_the_key_changes_reads_what_is_sealed_to_the_new_one() -> Proof
{
    let (old, new) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let file = KeyFile::new(&old);
    let cluster = Cluster::start(Key::None, &file.setting());
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let first = primary(&sql).await?;
    create(&sql, "n").await?;
    let reader = cluster.sql().await?;
    // One statement, begun before the reload and over after the rotation.
    let reading = tokio::spawn(async move {
        reader
            .run(
                "DO $$ BEGIN
                   FOR i IN 1..3000 LOOP
                     IF (control_plane.get_secret_by_name('p', 'n')).version = 2 THEN RETURN; END IF;
                     PERFORM pg_sleep(0.01);
                   END LOOP;
                   RAISE 'version 2 was never read';
                 END $$",
            )
            .await
    });
    eventually("the reader reads", || async {
        let reads: i64 = sql
            .one(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
                &[],
            )
            .await
            .ok()?;
        (reads > 0).then_some(())
    })
    .await;
    file.write(&format!("{new}{old}"));
    reload(&sql).await?;
    primary_becomes_another_than(&sql, &first).await;
    sql.run("SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'n'), 'second')")
        .await?;
    reading.await??;
    Ok(())
}

#[tokio::test]
async fn a_file_that_nobody_reloaded_opens_what_needs_it_and_seals_nothing() -> Proof {
    let (old, new) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let file = KeyFile::new(&old);
    let cluster = Cluster::start(Key::None, &file.setting());
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let first = primary(&sql).await?;
    create(&sql, "one").await?;
    // A second server with the other key, whose message comes to the first by a restore.
    let other = Cluster::start(Key::File(new.clone()), "");
    other.install().await?;
    let theirs = other.sql().await?;
    let fingerprint = create(&theirs, "two").await?;
    let row = theirs
        .rows("SELECT id, value_encrypted FROM control_plane.secrets", &[])
        .await?;
    let (id, message): (uuid::Uuid, Vec<u8>) = (row[0].get(0), row[0].get(1));
    sql.run("INSERT INTO control_plane.secret_names VALUES ('p', 'two', 1)")
        .await?;
    sql.rows(
        "INSERT INTO control_plane.secrets (id, chain_id, project_id, name, value_encrypted, key_fingerprint, created_by)
         VALUES ($1, $1, 'p', 'two', $2, $3, 'x')",
        &[&id, &message, &fingerprint],
    )
    .await?;
    let refused = sql
        .refused("SELECT control_plane.get_secret_by_name('p', 'two')", &[])
        .await;
    assert_eq!(refused.state, "PT503");
    file.write(&new);
    assert_eq!(read(&sql, "two").await?, "value of two");
    assert_eq!(primary(&sql).await?, first);
    assert_eq!(create(&sql, "three").await?, first);
    assert_eq!(read(&sql, "one").await?, "value of one");
    Ok(())
}

#[tokio::test]
async fn keys_may_be_locked_by_a_passphrase_that_comes_in_a_file() -> Proof {
    let gpg = Gpg::new();
    let locked = |name: &str, passphrase: &str| {
        gpg.run(&[
            "--passphrase",
            passphrase,
            "--quick-generate-key",
            name,
            "future-default",
            "default",
            "never",
        ]);
        let exported = gpg.run(&[
            "--passphrase",
            passphrase,
            "--armor",
            "--export-secret-keys",
            name,
        ]);
        String::from_utf8(exported)
    };
    let (one, two) = (locked("one", "first words")?, locked("two", "other words")?);
    let file = KeyFile::new(&one);
    let passphrase = file.0.write("passphrase", "first words\n");
    let environment = [(
        "PG_SECRETS_KEY_PASSPHRASE_FILE",
        passphrase.display().to_string(),
    )];
    let cluster = Cluster::start_in(&environment, Key::None, &file.setting());
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let first = primary(&sql).await?;
    create(&sql, "n").await?;
    assert_eq!(read(&sql, "n").await?, "value of n");
    // Key and passphrase change together.
    file.0.write("passphrase", "other words\n");
    file.write(&two);
    reload(&sql).await?;
    primary_becomes_another_than(&sql, &first).await;
    create(&sql, "m").await?;
    assert_eq!(read(&sql, "m").await?, "value of m");
    Ok(())
}

/// What a process has in memory of its own that it can write to.
fn memory_of(pid: &str) -> Proof<Vec<u8>> {
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut all = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut fields = line.split_whitespace();
        let (range, flags) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let bounds = range.split_once('-').and_then(|(start, end)| {
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(start)?, number(end)?))
        });
        let Some((start, end)) = bounds.filter(|_| flags.starts_with("rw-p")) else {
            continue;
        };
        memory.seek(SeekFrom::Start(start))?;
        // What the kernel does not give is none of the process's own.
        let _ = (&memory).take(end - start).read_to_end(&mut all);
    }
    Ok(all)
}

/// The secret numbers in a key of version 6: the last 32 bytes of each packet of a secret key (RFC 9580,
/// sections 5.5.3 and 5.5.5.7).
fn secrets(armored: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let body = armored.split_once("\n\n").map_or("", |(_, body)| body);
    let lines = body
        .lines()
        .take_while(|line| !line.starts_with(['=', '-']));
    let binary = base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>());
    let binary = binary.expect("base64");
    let mut rest = binary.as_slice();
    let mut secrets = Vec::new();
    while let [tag, length, behind @ ..] = rest {
        let (length, body) = match (*length, behind) {
            (length @ ..=191, body) => (usize::from(length), body),
            (high, [low, body @ ..]) => (
                (usize::from(high) - 192) * 256 + usize::from(*low) + 192,
                body,
            ),
            _ => break,
        };
        if matches!(tag & 0x3f, 5 | 7) {
            secrets.push(body[length - 32..length].to_vec());
        }
        rest = &body[length..];
    }
    secrets
}

#[tokio::test]
async fn nothing_of_a_key_file_stays_in_the_memory_of_the_server() -> Proof {
    let (old, new) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let file = KeyFile::new(&old);
    let cluster = Cluster::start(Key::None, &file.setting());
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let first = primary(&sql).await?;
    file.write(&format!("{new}{old}"));
    reload(&sql).await?;
    primary_becomes_another_than(&sql, &first).await;
    let postmaster = std::fs::read_to_string(cluster.data().join("postmaster.pid"))?;
    let memory = memory_of(postmaster.lines().next().unwrap_or_default())?;
    let holds = |needle: &str| {
        let needle = regex::bytes::Regex::new(&regex::escape(needle)).expect("a literal");
        needle.is_match(&memory)
    };
    assert!(holds(&file.0.join("keys.asc").display().to_string()));
    for secret in secrets(&old).into_iter().chain(secrets(&new)) {
        let found = memory.windows(secret.len()).any(|piece| piece == secret);
        assert!(!found, "a secret number is left in memory");
    }
    let lines = old.lines().chain(new.lines());
    for line in lines.filter(|line| line.len() > 20) {
        assert!(!holds(line), "a line of a key is left in memory");
    }
    Ok(())
}
