//! TLS on both sides of the companion.

use pg_secrets_tests::{COMPANION_LOGIN, Cluster, Companion, Key, Proof, eventually};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A certificate that vouches for itself, made out to an address; with its key, both PEM.
fn certificate(folder: &Path, name: &str, address: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (
        folder.join(format!("{name}.pem")),
        folder.join(format!("{name}.key")),
    );
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=test", "-addext"])
        .arg(format!("subjectAltName=IP:{address}"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    assert!(made.success());
    (certificate, key)
}

async fn database_is(companion: &Companion, word: &str) {
    let expected = format!("\"database\":\"{word}\"");
    eventually(&expected, || async {
        let answer = reqwest::get(format!("{}/readyz", companion.url()))
            .await
            .ok()?;
        answer.text().await.ok()?.contains(&expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_database_must_be_the_one_that_its_certificate_says() -> Proof {
    // An address of this machine that no other test's server has.
    let seed = std::process::id();
    let address = format!("127.{}.{}.7", seed / 250 % 250 + 1, seed % 250 + 1);
    let settings = format!("fsync = off\nlisten_addresses = '{address}'");
    let cluster = Cluster::start(Key::new(), &settings);
    cluster.install().await?;
    let folder = tempfile::tempdir()?;
    let (own, key) = certificate(folder.path(), "own", &address);
    let (other, _) = certificate(folder.path(), "other", &address);
    let (elsewhere, elsewhere_key) = certificate(folder.path(), "elsewhere", "127.0.0.1");
    let sql = cluster.sql().await?;
    let serve = async |certificate: &Path, key: &Path| -> Proof {
        let file = cluster.home().write("server.pem", fs::read(certificate)?);
        let key = cluster.home().write("server.key", fs::read(key)?);
        for (name, value) in [
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", file.display().to_string()),
            ("ssl_key_file", key.display().to_string()),
        ] {
            sql.run(&format!("ALTER SYSTEM SET {name} = '{value}'"))
                .await?;
        }
        sql.rows("SELECT pg_reload_conf()", &[]).await?;
        Ok(())
    };
    serve(&own, &key).await?;
    let url = |root: &Path| {
        let root = root.display().to_string().replace('/', "%2F");
        format!(
            "postgresql://{COMPANION_LOGIN}@{address}/postgres?sslmode=verify-full&sslrootcert={root}"
        )
    };
    let mut companion = Companion::start_in(&cluster, &[("DATABASE_URL", url(&own))]);
    database_is(&companion, "ok").await;
    let private: Vec<bool> = sql
        .all(
            "SELECT s.ssl FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid) WHERE a.usename = $1::text::name",
            &[&COMPANION_LOGIN],
        )
        .await?;
    assert!(!private.is_empty() && private.into_iter().all(|private| private));
    companion.stop();
    // Vouched for by somebody else.
    let mut companion = Companion::start_in(&cluster, &[("DATABASE_URL", url(&other))]);
    database_is(&companion, "failed").await;
    companion.stop();
    // Vouched for, and made out to another host.
    serve(&elsewhere, &elsewhere_key).await?;
    let companion = Companion::start_in(&cluster, &[("DATABASE_URL", url(&elsewhere))]);
    database_is(&companion, "failed").await;
    let log = companion.log();
    assert!(log.contains("not ready"), "{log}");
    Ok(())
}

#[tokio::test]
async fn the_service_speaks_tls_where_it_has_a_certificate() -> Proof {
    let cluster = Cluster::start(Key::new(), "fsync = off");
    cluster.install().await?;
    let folder = tempfile::tempdir()?;
    let (certificate, key) = certificate(folder.path(), "own", "127.0.0.1");
    let path = |path: &Path| path.display().to_string();
    let companion = Companion::start_in(
        &cluster,
        &[
            ("PG_SECRETS_TLS_CERT", path(&certificate)),
            ("PG_SECRETS_TLS_KEY", path(&key)),
        ],
    );
    let https = companion.url().replace("http://", "https://");
    // Some that say nothing hold up nobody.
    let silent: Vec<TcpStream> = (0..32)
        .filter_map(|_| TcpStream::connect(https.trim_start_matches("https://")).ok())
        .collect();
    assert_eq!(silent.len(), 32);
    let root = reqwest::Certificate::from_pem(&fs::read(&certificate)?)?;
    let client = reqwest::Client::builder()
        .add_root_certificate(root)
        .timeout(Duration::from_secs(5))
        .build()?;
    let alive = client.get(format!("{https}/healthz")).send().await?;
    assert_eq!(alive.status(), 200);
    let refused = client.get(format!("{https}/api/audit/head")).send().await?;
    assert_eq!(refused.status(), 401);
    // Not for who does not know the certificate, and not in the clear.
    assert!(reqwest::get(format!("{https}/healthz")).await.is_err());
    assert!(
        reqwest::get(format!("{}/healthz", companion.url()))
            .await
            .is_err()
    );
    assert!(companion.log().contains("listening on https://127.0.0.1:"));
    for mut one in silent {
        one.set_read_timeout(Some(Duration::from_millis(10)))?;
        assert!(one.read(&mut [0]).is_err());
    }
    Ok(())
}
