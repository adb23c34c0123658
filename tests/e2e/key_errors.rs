//! Servers whose key is missing or of no use: they start, and nothing is ever written unencrypted.

use crate::gnupg::Gpg;
use pg_secrets_tests::{Cluster, Key, Proof};
use std::os::unix::fs::MetadataExt;
use uuid::Uuid;

fn public_part(key: &str) -> String {
    let gpg = Gpg::new();
    gpg.import(key);
    String::from_utf8(gpg.run(&["--armor", "--export"])).expect("ASCII armor")
}

/// A key that was valid for one day of 2020.
fn expired_key() -> String {
    let gpg = Gpg::new();
    let then = ["--faked-system-time", "20200101T000000"];
    let make = [
        "--quick-generate-key",
        "expired",
        "future-default",
        "default",
        "1d",
    ];
    gpg.run(&[&then[..], &make].concat());
    let exported = gpg.run(&["--armor", "--export-secret-keys"]);
    String::from_utf8(exported).expect("ASCII armor")
}

async fn assert_nothing_works(what: &str, key: Key) -> Proof {
    let cluster = Cluster::start(key, "");
    let sql = cluster.sql().await?;
    sql.run("CREATE EXTENSION pg_secrets").await?;
    for statement in [
        "SELECT control_plane.create_secret('p', 'n', 'a value')".to_owned(),
        format!("SELECT control_plane.get_secret('{}')", Uuid::new_v4()),
        "SELECT control_plane.get_secret_by_name('p', 'n')".to_owned(),
        "SELECT control_plane.get_secrets('p')".to_owned(),
        "SELECT control_plane.create_endpoint('p', 'http://127.0.0.1/')".to_owned(),
        "SELECT control_plane.claim_deliveries()".to_owned(),
    ] {
        let error = sql.refused_text(&statement).await;
        assert_eq!(error.state, "PT503", "{what}: {statement}: {error:?}");
        let told = format!("{} {}", error.message, error.hint);
        assert!(told.contains("PG_SECRETS_KEY"), "{what}: {error:?}");
        assert!(!told.contains("PRIVATE KEY"), "{what}: {error:?}");
    }
    let written: i64 = sql
        .one(
            "SELECT (SELECT count(*) FROM control_plane.secrets)
                  + (SELECT count(*) FROM control_plane.secret_names)
                  + (SELECT count(*) FROM control_plane.endpoints)
                  + (SELECT count(*) FROM control_plane.outbox)",
            &[],
        )
        .await?;
    assert_eq!(written, 0, "{what}");
    assert!(
        cluster.log().contains("PG_SECRETS_KEY"),
        "{what}: the log says nothing"
    );
    Ok(())
}

#[tokio::test]
async fn without_a_key_nothing_works_and_the_errors_say_what_to_do() -> Proof {
    assert_nothing_works("no key", Key::None).await
}

#[tokio::test]
async fn with_a_public_key_only_nothing_works() -> Proof {
    let public = public_part(&Key::generate("rfc4880"));
    assert!(public.contains("PUBLIC KEY"));
    assert_nothing_works("public, file", Key::File(public.clone())).await?;
    assert_nothing_works("public, variable", Key::Variable(public)).await
}

#[tokio::test]
async fn with_garbage_for_a_key_nothing_works() -> Proof {
    let whole = Key::generate("rfc9580");
    let cut = whole[..whole.len() / 2].to_owned();
    assert_nothing_works("garbage", Key::File("garbage\n".to_owned())).await?;
    assert_nothing_works("empty", Key::File(String::new())).await?;
    assert_nothing_works("cut", Key::File(cut)).await
}

#[tokio::test]
async fn with_an_expired_key_nothing_works() -> Proof {
    assert_nothing_works("expired", Key::File(expired_key())).await
}

#[tokio::test]
async fn a_key_may_come_in_the_variable_itself() -> Proof {
    let key = Key::generate("rfc9580");
    let cluster = Cluster::start(Key::Variable(key.clone()), "");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'a value')")
        .await?;
    let value: String = sql
        .one(
            "SELECT value FROM control_plane.get_secret_by_name('p', 'n')",
            &[],
        )
        .await?;
    assert_eq!(value, "a value");
    // Neither backends nor what a backend starts may find it in the environment.
    sql.run("CREATE TEMP TABLE environment (line text)").await?;
    sql.run("COPY environment FROM PROGRAM 'env'").await?;
    let found: i64 = sql
        .one(
            "SELECT count(*) FROM environment WHERE line ~ 'PG_SECRETS_KEY|PRIVATE KEY'",
            &[],
        )
        .await?;
    assert_eq!(found, 0);
    Ok(())
}

/// The postmaster and all of its children.
fn processes(cluster: &Cluster) -> Proof<Vec<i32>> {
    let postmaster = std::fs::read_to_string(cluster.data().join("postmaster.pid"))?;
    let postmaster: i32 = postmaster
        .lines()
        .next()
        .and_then(|line| line.parse().ok())
        .expect("a process id");
    let children =
        std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    Ok(std::iter::once(postmaster).chain(children).collect())
}

#[tokio::test]
async fn a_key_that_came_in_the_variable_cannot_be_read_from_any_process() -> Proof {
    let passphrase = (
        "PG_SECRETS_KEY_PASSPHRASE",
        "words that open a key".to_owned(),
    );
    let key = Key::Variable(Key::generate("rfc9580"));
    let cluster = Cluster::start_in(&[passphrase], key, "");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let processes = processes(&cluster)?;
    assert!(processes.len() > 5, "{processes:?}");
    // The postmaster comes first. Root may look everywhere; others not where dumps are refused, and
    // see no key there either.
    let everywhere = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut looked_at = 0;
    for (place, pid) in processes.into_iter().enumerate() {
        let environment = std::fs::read(format!("/proc/{pid}/environ"));
        let environment = match environment {
            Ok(environment) => environment,
            Err(_) if place > 0 && !everywhere => continue,
            // It has ended meanwhile: no such file, or no such process.
            Err(error) if matches!(error.raw_os_error(), Some(2 | 3)) && place > 0 => continue,
            Err(error) => panic!("process {pid}: {error}"),
        };
        assert!(!environment.is_empty(), "process {pid}");
        looked_at += 1;
        let environment = String::from_utf8_lossy(&environment);
        for needle in ["BEGIN PGP", "PG_SECRETS_KEY", "words that open"] {
            assert!(
                !environment.contains(needle),
                "process {pid} shows {needle}"
            );
        }
    }
    assert!(looked_at > 0);
    // Nor what a backend starts.
    sql.run("CREATE TEMP TABLE environment (line text); COPY environment FROM PROGRAM 'env'")
        .await?;
    let found: i64 = sql
        .one(
            "SELECT count(*) FROM environment WHERE line ~ 'PG_SECRETS_KEY|PRIVATE KEY|words that open'",
            &[],
        )
        .await?;
    assert_eq!(found, 0);
    Ok(())
}

#[tokio::test]
async fn a_value_of_a_key_that_the_server_lost_says_which_key_it_needs() -> Proof {
    let mut cluster = Cluster::start(Key::new(), "");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let fingerprint: String = sql
        .one(
            "SELECT key_fingerprint FROM control_plane.create_secret('p', 'n', 'a value')",
            &[],
        )
        .await?;
    drop(sql);
    cluster.stop();
    cluster.give_key(Key::new());
    cluster.resume();
    let sql = cluster.sql().await?;
    let error = sql
        .refused("SELECT control_plane.get_secret_by_name('p', 'n')", &[])
        .await;
    assert_eq!(error.state, "PT503");
    assert!(error.message.contains(&fingerprint), "{error:?}");
    Ok(())
}
