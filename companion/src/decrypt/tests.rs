use super::*;
use crate::config::{Cli, Command};
use clap::Parser;
use pg_secrets_openpgp::{Keyring, Profile, generate};

fn arguments(flags: &[&str]) -> DecryptArguments {
    let line = ["pg-secrets", "decrypt", "--key-file", "it's a key"];
    match Cli::try_parse_from(line.iter().chain(flags))
        .unwrap()
        .command
    {
        Command::Decrypt(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

fn keyring() -> Keyring {
    let key = generate(Profile::Rfc9580, "test").unwrap();
    Keyring::parse(key.as_bytes(), None).unwrap()
}

fn version(fingerprint: Option<&str>) -> Version {
    Version {
        id: Uuid::from_bytes([7; 16]),
        project_id: "shop".to_owned(),
        name: "stripe\u{1b}[2J".to_owned(),
        version: "3".to_owned(),
        created_at: "2026-11-24 02:54:05.23541+00".to_owned(),
        destroyed_at: None,
        key_fingerprint: fingerprint.map(str::to_owned),
        state: State::Active,
    }
}

#[test]
fn another_format_is_refused_with_the_command_that_helps() {
    let id = "07070707-0707-0707-0707-070707070707";
    let named = arguments(&["--dump", "/backup/app.dump", "--id", id]);
    let told = explain(&DumpError::Archive, &named).to_string();
    assert!(told.ends_with(&format!(
        "\n  pg_restore --data-only --schema=control_plane --table=secrets --file=- /backup/app.dump | pg-secrets decrypt --key-file 'it'\\''s a key' --id {id}"
    )), "{told}");
    let told = explain(&DumpError::Compressed("gzip -dc"), &arguments(&[])).to_string();
    assert!(
        told.contains("\n  gzip -dc FILE | pg-secrets decrypt"),
        "{told}"
    );
}

#[test]
fn a_missing_key_is_named_beside_those_that_are_there() {
    let (own, other) = (keyring(), keyring());
    let needed = own.primary_fingerprint();
    let version = version(Some(needed));
    let message = Some(
        own.seal(Place::version(version.id), b"a value")
            .unwrap()
            .message,
    );
    let found = Found { version, message };
    let error = decrypt(&other, Path::new("k"), &found).unwrap_err();
    let told = error.to_string();
    assert!(told.contains(needed), "{told}");
    assert!(told.contains(other.primary_fingerprint()), "{told}");
    assert!(!told.contains("a value"), "{told}");
}

#[test]
fn a_message_of_another_row_is_refused() {
    let keyring = keyring();
    let other = Uuid::from_bytes([8; 16]);
    let found = Found {
        version: version(Some(keyring.primary_fingerprint())),
        message: Some(
            keyring
                .seal(Place::version(other), b"a value")
                .unwrap()
                .message,
        ),
    };
    let error = decrypt(&keyring, Path::new("k"), &found).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("does not belong to this row"), "{told}");
    assert!(!told.contains("a value"), "{told}");
}

#[test]
fn a_line_of_the_list_shows_control_characters_and_obeys_none() {
    let keyring = keyring();
    let held = describe(&version(Some(keyring.primary_fingerprint())), &keyring);
    assert!(held.contains("  held "), "{held}");
    assert!(held.contains("stripe\\u{1b}[2J"), "{held}");
    let missing = describe(&version(Some("ABC")), &keyring);
    assert!(
        missing.contains("  missing ") && missing.ends_with("ABC"),
        "{missing}"
    );
    assert_eq!(
        line(HEADING).find("key_fingerprint"),
        missing.find("ABC"),
        "{missing}"
    );
}

#[test]
fn a_value_is_written_to_a_file_only_where_one_value_is_asked_for() {
    let line = ["pg-secrets", "decrypt", "--key-file", "k", "--output", "f"];
    assert!(Cli::try_parse_from(line).is_err());
}
