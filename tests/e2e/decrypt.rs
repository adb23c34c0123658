//! With a dump and the key, every value can be read although there is no server any more.

use crate::gnupg::Gpg;
use pg_secrets_tests::{Cluster, Key, Proof, companion_binary};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use uuid::Uuid;

const VALUES: [&str; 8] = [
    "plain",
    "line one\nline two\n",
    "windows\r\nlines\r\n\r\n",
    "tab\tand trailing blanks \t \n ",
    "C:\\new\\table \\N \\\\ \\x41",
    "before\n\\.\nafter",
    "Grüße, 秘密 🗝️",
    "\u{feff}\u{2028}\u{0001}",
];

/// What a function body or a comment may hold to lead a reader of dumps astray.
const DECOY: &str = "
COPY control_plane.secrets (id, project_id, name, value_encrypted, version, active, created_at, destroyed_at, deleted_at, key_fingerprint) FROM stdin;
nonsense
\\.
it''s";

/// A server with its key, and a folder for dumps.
struct Store {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Store {
    async fn new() -> Proof<Self> {
        Self::start(Key::generate("rfc9580"), &[]).await
    }

    async fn start(key: String, environment: &[(&str, String)]) -> Proof<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("key.asc"), &key)?;
        let settings = "pg_secrets.max_value_size = '16MB'";
        let cluster = Cluster::start_in(environment, Key::File(key), settings);
        cluster.install().await?;
        Ok(Self { cluster, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self) -> PathBuf {
        self.path("key.asc")
    }

    /// Creates a secret; its version's id.
    async fn create(&self, name: &str, value: &str) -> Proof<Uuid> {
        let create = "SELECT id FROM control_plane.create_secret('p', $1, $2)";
        let sql = self.cluster.sql().await?;
        Ok(sql.one(create, &[&name, &value]).await?)
    }

    /// Rotates a secret; its new version's id.
    async fn rotate(&self, id: Uuid, value: &str, grace: &str) -> Proof<Uuid> {
        let rotate =
            format!("SELECT id FROM control_plane.rotate_secret($1, $2, grace => '{grace}')");
        let sql = self.cluster.sql().await?;
        Ok(sql.one(&rotate, &[&id, &value]).await?)
    }

    /// A dump of everything, made with these flags.
    fn dump(&self, flags: &[&str]) -> Proof<PathBuf> {
        let file = self.path(&format!("dump{}", flags.concat().replace('/', "_")));
        let output = self
            .cluster
            .client("pg_dump")
            .args(flags)
            .arg("--file")
            .arg(&file)
            .output()?;
        assert!(output.status.success(), "{}", said(&output));
        Ok(file)
    }
}

fn decrypt(key: &Path, dump: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(companion_binary());
    command
        .arg("decrypt")
        .arg("--key-file")
        .arg(key)
        .arg("--dump")
        .arg(dump)
        .args(flags)
        .env_remove("PG_SECRETS_KEY_PASSPHRASE")
        .env_remove("PG_SECRETS_KEY_PASSPHRASE_FILE");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The value that it prints.
fn value(command: &mut Command) -> Proof<String> {
    let output = command.output()?;
    assert!(output.status.success(), "{}", said(&output));
    Ok(String::from_utf8(output.stdout)?)
}

/// What it says when it prints no value.
fn refusal(command: &mut Command) -> Proof<String> {
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stdout.is_empty(), "something on stdout");
    Ok(said(&output))
}

fn fingerprint(said: &str) -> &str {
    said.split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() >= 40)
        .unwrap_or_default()
}

#[tokio::test]
async fn every_value_comes_out_of_a_plain_dump_to_the_byte() -> Proof {
    let store = Store::new().await?;
    let sql = store.cluster.sql().await?;
    sql.run(&format!(
        "CREATE FUNCTION public.decoy() RETURNS text LANGUAGE sql AS $$SELECT '{DECOY}'$$;
         COMMENT ON FUNCTION public.decoy() IS '{DECOY}';
         CREATE TABLE public.decoys (decoy text);
         INSERT INTO public.decoys VALUES ('{DECOY}')"
    ))
    .await?;
    let mut stored = Vec::new();
    for (number, value) in VALUES.into_iter().enumerate() {
        stored.push((store.create(&number.to_string(), value).await?, value));
    }
    let new = store.rotate(stored[0].0, "the second", "1 day").await?;
    stored.push((new, "the second"));

    let everything = store.dump(&[])?;
    let rows = store.dump(&["--data-only"])?;
    let quoted = store.dump(&["--quote-all-identifiers", "--create", "--clean"])?;
    sql.run("ALTER DATABASE postgres SET bytea_output = 'escape'")
        .await?;
    let escaped = store.dump(&["--no-owner"])?;
    for dump in [everything, rows, quoted, escaped] {
        for (id, expected) in &stored {
            let id = id.to_string();
            let found = value(&mut decrypt(&store.key(), &dump, &["--id", &id]))?;
            assert_eq!(&found, expected, "{}", dump.display());
            let mut piped = decrypt(&store.key(), Path::new("-"), &["--id", &id]);
            assert_eq!(&value(piped.stdin(File::open(&dump)?))?, expected);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_longest_value_comes_out_too() -> Proof {
    let store = Store::new().await?;
    let long: String = ('a'..='z').cycle().take(16 << 20).collect();
    let id = store.create("long", &long).await?.to_string();
    let dump = store.dump(&[])?;
    let found = value(&mut decrypt(&store.key(), &dump, &["--id", &id]))?;
    assert!(found == long, "{} bytes", found.len());
    Ok(())
}

#[tokio::test]
async fn another_format_is_refused_with_the_command_that_reads_it() -> Proof {
    let store = Store::new().await?;
    let id = store.create("n", "a value\n").await?.to_string();
    // More than a pipe holds: whoever writes into it must not fail when the value is found.
    store.create("long", &"x".repeat(1 << 20)).await?;
    let mut path = companion_binary();
    path.pop();
    let mut path = path.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    for form in [
        "--format=custom",
        "--format=tar",
        "--format=directory",
        "--compress=6",
    ] {
        let dump = store.dump(&[form])?;
        let told = refusal(&mut decrypt(&store.key(), &dump, &["--id", &id]))?;
        let command = told.lines().last().unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", command]);
        assert_eq!(value(shell.env("PATH", &path))?, "a value\n", "{command}");
    }
    let dump = store.dump(&["--inserts"])?;
    let told = refusal(&mut decrypt(&store.key(), &dump, &["--id", &id]))?;
    assert!(told.contains("INSERT"), "{told}");
    Ok(())
}

#[tokio::test]
async fn without_an_id_it_lists_what_the_dump_holds_and_no_value() -> Proof {
    let store = Store::new().await?;
    let first = store.create("kept", "hunter2 first").await?;
    let second = store.rotate(first, "hunter2 second", "1 day").await?;
    let gone = store.create("gone", "hunter2 third").await?;
    let sql = store.cluster.sql().await?;
    sql.rows("SELECT control_plane.delete_secret($1)", &[&gone])
        .await?;
    let dump = store.dump(&[])?;
    let other = store.path("other.asc");
    fs::write(&other, Key::generate("rfc9580"))?;
    for (key, held) in [(store.key(), "held"), (other, "missing")] {
        let list = value(&mut decrypt(&key, &dump, &[]))?;
        let lines: Vec<Vec<&str>> = list
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines.len(), 4, "{list}");
        for (id, version, state, name) in [
            (first, "1", "superseded", "kept"),
            (second, "2", "active", "kept"),
            (gone, "1", "deleted", "gone"),
        ] {
            let id = id.to_string();
            let line = lines.iter().find(|line| line[0] == id).expect("its line");
            assert_eq!(line[1..4], [version, state, held], "{list}");
            assert_eq!(line[6..8], ["p", name], "{list}");
        }
        assert!(!list.contains("hunter2"), "{list}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_says_why() -> Proof {
    let store = Store::new().await?;
    let first = store.create("n", "hunter2 first").await?;
    let second = store.rotate(first, "hunter2 second", "0").await?;
    let other = store.create("other", "hunter2 other").await?;
    let dump = store.dump(&[])?;
    let (first, second, other) = (first.to_string(), second.to_string(), other.to_string());

    let unknown = Uuid::new_v4().to_string();
    let told = refusal(&mut decrypt(&store.key(), &dump, &["--id", &unknown]))?;
    assert!(
        told.contains("no version") && told.contains(&unknown),
        "{told}"
    );

    let told = refusal(&mut decrypt(&store.key(), &dump, &["--id", &first]))?;
    assert!(told.contains("was destroyed at 20"), "{told}");

    let wrong = store.path("wrong.asc");
    fs::write(&wrong, Key::generate("rfc9580"))?;
    let told = refusal(&mut decrypt(&wrong, &dump, &["--id", &second]))?;
    let sql = store.cluster.sql().await?;
    let needed: String = sql
        .one(
            "SELECT DISTINCT key_fingerprint FROM control_plane.secrets WHERE active",
            &[],
        )
        .await?;
    assert!(told.contains(&needed), "{told}");
    let (_, behind) = told.split_once("it holds ").unwrap_or_default();
    assert!(
        fingerprint(behind).len() == 64 && fingerprint(behind) != needed,
        "{told}"
    );

    // Whoever can write to a backup can move a value to another name, and is found out.
    let text = String::from_utf8(fs::read(&dump)?)?;
    let message = |id: &str| {
        let row = text
            .lines()
            .find(|line| line.starts_with(id))
            .expect("its row");
        row.split('\t').nth(4).expect("its message").to_owned()
    };
    let (mine, yours) = (message(&second), message(&other));
    let swapped = text
        .replace(&mine, "?")
        .replace(&yours, &mine)
        .replace('?', &yours);
    let file = store.path("swapped");
    fs::write(&file, swapped)?;
    for id in [&second, &other] {
        let told = refusal(&mut decrypt(&store.key(), &file, &["--id", id]))?;
        assert!(told.contains("does not belong to this row"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let damaged = text.replace(&mine, &mine[..mine.len() - 2]);
    fs::write(&file, damaged)?;
    let told = refusal(&mut decrypt(&store.key(), &file, &["--id", &second]))?;
    assert!(told.contains("damaged"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_value_goes_into_a_new_file_of_its_owners_alone() -> Proof {
    let store = Store::new().await?;
    let id = store.create("n", "a value").await?.to_string();
    let dump = store.dump(&[])?;
    let file = store.path("value");
    let flags = ["--id", &id, "--output", file.to_str().unwrap_or_default()];
    assert_eq!(value(&mut decrypt(&store.key(), &dump, &flags))?, "");
    assert_eq!(fs::read_to_string(&file)?, "a value");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let told = refusal(&mut decrypt(&store.key(), &dump, &flags))?;
    assert!(told.contains("never overwritten"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_locked_key_is_opened_by_the_passphrase_of_the_environment() -> Proof {
    let gpg = Gpg::new();
    let locked =
        |arguments: &[&str]| gpg.run(&[&["--passphrase", "correct horse"], arguments].concat());
    locked(&[
        "--quick-generate-key",
        "server",
        "future-default",
        "default",
        "never",
    ]);
    let key = String::from_utf8(locked(&["--armor", "--export-secret-keys"]))?;
    let variable = "PG_SECRETS_KEY_PASSPHRASE";
    let store = Store::start(key, &[(variable, "correct horse".to_owned())]).await?;
    let id = store.create("n", "a value").await?.to_string();
    let dump = store.dump(&[])?;

    let mut command = decrypt(&store.key(), &dump, &["--id", &id]);
    let told = refusal(&mut command)?;
    assert!(told.contains(variable), "{told}");
    let told = refusal(command.env(variable, "wrong horse"))?;
    assert!(
        told.contains("passphrase does not open") && !told.contains("horse"),
        "{told}"
    );
    assert_eq!(value(command.env(variable, "correct horse"))?, "a value");
    let file = store.path("passphrase");
    fs::write(&file, "correct horse\r\n\n")?;
    command
        .env_remove(variable)
        .env("PG_SECRETS_KEY_PASSPHRASE_FILE", &file);
    assert_eq!(value(&mut command)?, "a value");
    Ok(())
}

#[tokio::test]
async fn an_expired_key_still_opens_what_it_sealed() -> Proof {
    let gpg = Gpg::new();
    let then = ["--faked-system-time", "20200101T000000"];
    let make = [
        "--quick-generate-key",
        "server",
        "future-default",
        "default",
        "never",
    ];
    gpg.run(&[&then[..], &make].concat());
    let export = ["--armor", "--export-secret-keys", "server"];
    let store = Store::start(String::from_utf8(gpg.run(&export))?, &[]).await?;
    let id = store.create("n", "a value").await?.to_string();
    let dump = store.dump(&[])?;

    let listed = String::from_utf8(gpg.run(&["--with-colons", "--list-keys", "server"]))?;
    let then = ["--faked-system-time", "20200102T000000"];
    gpg.run(
        &[
            &then[..],
            &["--quick-set-expire", fingerprint(&listed), "1d"],
        ]
        .concat(),
    );
    let expired = store.path("expired.asc");
    fs::write(&expired, gpg.run(&export))?;
    let opened = value(&mut decrypt(&expired, &dump, &["--id", &id]))?;
    assert_eq!(opened, "a value");
    Ok(())
}
