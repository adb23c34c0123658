//! What lies in the table is an OpenPGP message that programs of others open.

use crate::gnupg::Gpg;
use pg_secrets_tests::{Cluster, Key, Proof, repository};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const VALUES: [&str; 7] = [
    "plain",
    "line one\nline two\n",
    "windows\r\nlines\r\n\r\n",
    "trailing blanks \t \n ",
    "Grüße, 秘密 🗝️",
    "-----BEGIN PGP MESSAGE-----\n\nnot one\n",
    "\u{feff}\u{2028}\u{0001}",
];

/// Stores each value, and takes the messages out of the table with psql.
async fn messages(cluster: &Cluster) -> Proof<Vec<Vec<u8>>> {
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let mut messages = Vec::new();
    for (number, value) in VALUES.iter().enumerate() {
        let name = number.to_string();
        sql.rows(
            "SELECT control_plane.create_secret('p', $1, $2)",
            &[&name, value],
        )
        .await?;
        let query = format!(
            "COPY (SELECT encode(value_encrypted, 'hex') FROM control_plane.secrets WHERE name = '{name}') TO STDOUT"
        );
        let output = cluster.client("psql").args(["-X", "-c", &query]).output()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        messages.push(unhex(String::from_utf8(output.stdout)?.trim()));
    }
    Ok(messages)
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}

#[tokio::test]
async fn gnupg_opens_a_message_of_a_version_4_key_to_the_byte() -> Proof {
    let key = Key::generate("rfc4880");
    let gpg = Gpg::new();
    gpg.import(&key);
    let cluster = Cluster::start(Key::File(key), "");
    for (message, value) in messages(&cluster).await?.iter().zip(VALUES) {
        assert_eq!(String::from_utf8(gpg.decrypt(message))?, value);
    }
    Ok(())
}

#[tokio::test]
async fn pysequoia_opens_a_message_of_a_version_6_key_to_the_byte() -> Proof {
    let key = Key::generate("rfc9580");
    let folder = tempfile::tempdir()?;
    let (key_file, file) = (folder.path().join("key.asc"), folder.path().join("message"));
    std::fs::write(&key_file, &key)?;
    let cluster = Cluster::start(Key::File(key), "");
    let python = std::env::var_os("PG_SECRETS_TEST_PYTHON").map_or_else(
        || repository().join("target/test-venv/bin/python"),
        PathBuf::from,
    );
    for (message, value) in messages(&cluster).await?.iter().zip(VALUES) {
        std::fs::write(&file, message)?;
        let opened = Command::new(&python)
            .arg(repository().join("tests/interop/open_with_pysequoia.py"))
            .args([&key_file, &file])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&opened.stderr);
        assert!(
            opened.status.success(),
            "dev/test.sh installs pysequoia: {said}"
        );
        assert_eq!(String::from_utf8(opened.stdout)?, value);
    }
    Ok(())
}
