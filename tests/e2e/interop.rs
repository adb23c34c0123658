//! What lies in the table is an OpenPGP message that programs of others open, and a signed head of the
//! audit chain is one that they verify.

use crate::gnupg::Gpg;
use pg_secrets_tests::{Cluster, Key, Proof, eventually, repository};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

/// The Python that has the published libraries of others.
pub(crate) fn python() -> PathBuf {
    std::env::var_os("PG_SECRETS_TEST_PYTHON").map_or_else(
        || repository().join("target/test-venv/bin/python"),
        PathBuf::from,
    )
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
    for (message, value) in messages(&cluster).await?.iter().zip(VALUES) {
        std::fs::write(&file, message)?;
        let opened = Command::new(python())
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

/// A signed head of a chain that has records, and the same with another number.
async fn heads(cluster: &Cluster) -> Proof<[String; 2]> {
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.create_secret('p', 'name', 'value')")
        .await?;
    let (head, line) = eventually("a head of a chain with a record", || async {
        let statement = "SELECT control_plane.export_audit_head()";
        let head: String = sql.one(statement, &[]).await.ok()?;
        let line = head.lines().find(|line| {
            let number = line.strip_prefix("seq: ").map(str::parse::<u64>);
            matches!(number, Some(Ok(1..)))
        })?;
        let line = line.to_owned();
        Some((head, line))
    })
    .await;
    let (kept, digit) = line.split_at(line.len() - 1);
    let other = if digit == "9" { "8" } else { "9" };
    let changed = head.replacen(&format!("{line}\n"), &format!("{kept}{other}\n"), 1);
    assert_ne!(changed, head);
    Ok([head, changed])
}

/// What gpg says of the message, with the keys of `keyring` and nothing else.
fn verify_with_gpg(keyring: &Path, message: &str) -> Proof<Output> {
    let folder = keyring.parent().expect("a folder");
    let file = folder.join("head.asc");
    std::fs::write(&file, message)?;
    Ok(Command::new("gpg")
        .args(["--batch", "--no-tty", "--status-fd", "1", "--homedir"])
        .arg(folder)
        .args(["--no-default-keyring", "--keyring"])
        .arg(keyring)
        .arg("--verify")
        .arg(file)
        .stdin(Stdio::null())
        .output()?)
}

#[tokio::test]
async fn gnupg_verifies_a_head_signed_by_a_version_4_key_and_no_changed_one() -> Proof {
    let key = Key::generate("rfc4880");
    let gpg = Gpg::new();
    gpg.import(&key);
    let folder = tempfile::tempdir()?;
    let keyring = folder.path().join("public.pgp");
    std::fs::write(&keyring, gpg.run(&["--export"]))?;
    let cluster = Cluster::start(Key::File(key), "");
    let [head, changed] = heads(&cluster).await?;
    for (message, good, status) in [(head, true, " GOODSIG "), (changed, false, " BADSIG ")] {
        let verified = verify_with_gpg(&keyring, &message)?;
        let said = String::from_utf8_lossy(&verified.stdout);
        assert_eq!(verified.status.success(), good, "{said}");
        assert!(said.contains(status), "{said}");
    }
    Ok(())
}

/// Writes what a signature by the key in the first file covers of the second one.
const VERIFY_WITH_PYSEQUOIA: &str = "
import sys, pysequoia
key = pysequoia.Cert.from_file(sys.argv[1])
with open(sys.argv[2], 'rb') as file:
    message = file.read()
verified = pysequoia.verify(bytes=message, store=lambda _: [key])
sys.stdout.buffer.write(verified.bytes)
";

#[tokio::test]
async fn pysequoia_verifies_a_head_signed_by_a_version_6_key_and_no_changed_one() -> Proof {
    let key = Key::generate("rfc9580");
    let folder = tempfile::tempdir()?;
    let (key_file, file) = (
        folder.path().join("key.asc"),
        folder.path().join("head.asc"),
    );
    std::fs::write(&key_file, &key)?;
    let cluster = Cluster::start(Key::File(key), "");
    let [head, changed] = heads(&cluster).await?;
    for (message, good) in [(head, true), (changed, false)] {
        std::fs::write(&file, &message)?;
        let verified = Command::new(python())
            .args(["-c", VERIFY_WITH_PYSEQUOIA])
            .args([&key_file, &file])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&verified.stderr);
        assert_eq!(
            verified.status.success(),
            good,
            "dev/test.sh installs pysequoia: {said}"
        );
        let text = String::from_utf8(verified.stdout)?;
        assert_eq!(text.contains("seq: "), good, "{text}");
        if !good {
            assert!(said.contains("no valid signatures"), "{said}");
        }
    }
    Ok(())
}
