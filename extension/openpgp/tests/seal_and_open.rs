//! What is sealed opens again, in its row and with its key alone.

use pg_secrets_openpgp::{
    KeyError, Keyring, OpenError, Place, Profile, SecretKeys, SessionKeys, generate,
};
use sequoia_openpgp::cert::{Cert, CertBuilder};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::serialize::stream::{Encryptor, LiteralWriter, Message};
use sequoia_openpgp::{Packet, PacketPile};
use std::io::Write;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

const LIMIT: usize = 65536;
const VALUE: &[u8] = b"line one\nline two \xc3\xa9 \n";

fn row(n: u128) -> Place {
    Place::version(Uuid::from_u128(n))
}

fn new_keyring(profile: Profile) -> (String, Keyring) {
    let armored = generate(profile, "test").unwrap();
    let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
    (armored.to_string(), keyring)
}

#[test]
fn a_value_comes_back_byte_for_byte_for_both_kinds_of_key() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let (_, keyring) = new_keyring(profile);
        for value in [VALUE, b"x", &[0, 255, 0, 10], &vec![7; LIMIT]] {
            let sealed = keyring.seal(row(1), value).unwrap();
            assert_eq!(sealed.fingerprint, keyring.primary_fingerprint());
            let opened = keyring.open(row(1), &sealed.message, LIMIT).unwrap();
            assert_eq!(opened.as_slice(), value);
        }
    }
}

#[test]
fn the_same_value_is_never_sealed_to_the_same_bytes() {
    let (_, keyring) = new_keyring(Profile::Rfc9580);
    let one = keyring.seal(row(1), VALUE).unwrap().message;
    let two = keyring.seal(row(1), VALUE).unwrap().message;
    assert_ne!(one, two);
    assert!(!one.windows(8).any(|piece| piece == b"line one"));
}

#[test]
fn a_message_moved_to_another_row_is_refused() {
    let (_, keyring) = new_keyring(Profile::Rfc9580);
    let sealed = keyring.seal(row(1), VALUE).unwrap();
    let refused = keyring.open(row(2), &sealed.message, LIMIT);
    assert_eq!(refused.unwrap_err(), OpenError::NotBound);
}

#[test]
fn a_message_made_with_the_public_key_alone_is_refused() {
    let (armored, keyring) = new_keyring(Profile::Rfc9580);
    let cert = Cert::from_bytes(armored.as_bytes()).unwrap();
    let policy = sequoia_openpgp::policy::StandardPolicy::new();
    for file_name in [String::new(), format!("{}.{}", row(1).id, "0".repeat(64))] {
        let mut message = Vec::new();
        let recipients = cert
            .keys()
            .with_policy(&policy, None)
            .for_storage_encryption();
        let encryptor = Encryptor::for_recipients(Message::new(&mut message), recipients)
            .build()
            .unwrap();
        let mut literal = LiteralWriter::new(encryptor)
            .filename(file_name)
            .unwrap()
            .build()
            .unwrap();
        literal.write_all(VALUE).unwrap();
        literal.finalize().unwrap();
        let refused = keyring.open(row(1), &message, LIMIT);
        assert_eq!(refused.unwrap_err(), OpenError::NotBound);
    }
}

#[test]
fn another_key_opens_nothing_and_a_changed_byte_is_noticed() {
    let (_, keyring) = new_keyring(Profile::Rfc9580);
    let (_, other) = new_keyring(Profile::Rfc9580);
    let sealed = keyring.seal(row(1), VALUE).unwrap();
    let refused = other.open(row(1), &sealed.message, LIMIT);
    assert_eq!(refused.unwrap_err(), OpenError::NoKey);
    for at in 0..sealed.message.len() {
        let mut changed = sealed.message.clone();
        changed[at] ^= 1;
        assert!(keyring.open(row(1), &changed, LIMIT).is_err(), "byte {at}");
        assert!(keyring.open(row(1), &sealed.message[..at], LIMIT).is_err());
    }
}

#[test]
fn a_value_over_the_limit_is_not_given_out() {
    let (_, keyring) = new_keyring(Profile::Rfc9580);
    let sealed = keyring.seal(row(1), &[b'a'; 100]).unwrap();
    assert_eq!(
        keyring.open(row(1), &sealed.message, 100).unwrap().len(),
        100
    );
    let refused = keyring.open(row(1), &sealed.message, 99);
    assert_eq!(refused.unwrap_err(), OpenError::TooLong(99));
}

#[test]
fn several_keys_open_and_the_first_seals() {
    let (first, one) = new_keyring(Profile::Rfc9580);
    let (second, two) = new_keyring(Profile::Rfc4880);
    let both = Keyring::parse(format!("{second}\n{first}").as_bytes(), None).unwrap();
    assert_eq!(both.primary_fingerprint(), two.primary_fingerprint());
    for keyring in [one, two] {
        let sealed = keyring.seal(row(1), VALUE).unwrap();
        assert!(both.open(row(1), &sealed.message, LIMIT).is_ok());
    }
}

#[test]
fn base64_on_one_line_is_read_like_armor() {
    use base64::Engine;
    let (armored, keyring) = new_keyring(Profile::Rfc9580);
    let binary = Cert::from_bytes(armored.as_bytes())
        .unwrap()
        .as_tsk()
        .to_vec()
        .unwrap();
    let line = base64::engine::general_purpose::STANDARD.encode(&binary);
    for material in [line.as_bytes(), binary.as_slice()] {
        let again = Keyring::parse(material, None).unwrap();
        assert_eq!(again.primary_fingerprint(), keyring.primary_fingerprint());
    }
}

#[test]
fn what_is_no_usable_secret_key_says_why() {
    let (armored, keyring) = new_keyring(Profile::Rfc9580);
    let fingerprint = keyring.primary_fingerprint().to_owned();
    let cert = Cert::from_bytes(armored.as_bytes()).unwrap();
    let public = cert.armored().to_vec().unwrap();
    let reason = |material: &[u8]| Keyring::parse(material, None).unwrap_err();
    assert_eq!(reason(&public), KeyError::PublicOnly(fingerprint));
    assert_eq!(reason(b"hello"), KeyError::Unreadable);
    assert_eq!(reason(&[0xff; 40]), KeyError::Unreadable);
    for nothing in ["", " \n\t\r\n"] {
        assert_eq!(reason(nothing.as_bytes()), KeyError::Empty);
    }
    let damaged = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n";
    assert_eq!(reason(damaged.as_bytes()), KeyError::DamagedBlock(1));
    let behind = format!("{armored}{damaged}");
    assert_eq!(reason(behind.as_bytes()), KeyError::DamagedBlock(2));
    let cut = format!("{armored}{}", &armored[..armored.len() / 2]);
    assert_eq!(reason(cut.as_bytes()), KeyError::DamagedBlock(2));
    let expired = CertBuilder::general_purpose(Some("old"))
        .set_creation_time(SystemTime::now() - Duration::from_secs(1000))
        .set_validity_period(Duration::from_secs(10))
        .generate()
        .unwrap()
        .0;
    let expired = expired.as_tsk().to_vec().unwrap();
    assert!(matches!(reason(&expired), KeyError::Expired(_)));
    // It seals nothing more, and still opens.
    assert_eq!(SecretKeys::parse(&expired, None).unwrap().keys().len(), 1);
    let locked = CertBuilder::general_purpose(Some("locked"))
        .set_password(Some("correct horse".into()))
        .generate()
        .unwrap()
        .0
        .as_tsk()
        .to_vec()
        .unwrap();
    assert!(matches!(reason(&locked), KeyError::PassphraseMissing(_)));
    assert!(matches!(
        Keyring::parse(&locked, Some(b"wrong")).unwrap_err(),
        KeyError::PassphraseWrong(_)
    ));
    assert!(Keyring::parse(&locked, Some(b"correct horse")).is_ok());
}

#[test]
fn a_session_key_is_kept_for_its_message_and_no_other() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let (_, keyring) = new_keyring(profile);
        let (_, other) = new_keyring(profile);
        let mut sessions = SessionKeys::new(2);
        let first = keyring.seal(row(1), VALUE).unwrap().message;
        for _ in 0..3 {
            let opened = keyring.open_again(row(1), &first, LIMIT, &mut sessions);
            assert_eq!(*opened.unwrap(), VALUE);
            assert_eq!(sessions.len(), 1);
        }
        // The row has a new message: the old key is of no use, and replaced.
        let second = keyring.seal(row(1), b"other").unwrap().message;
        let opened = keyring.open_again(row(1), &second, LIMIT, &mut sessions);
        assert_eq!(*opened.unwrap(), b"other");
        // A kept key proves nothing of the row, nor of another body behind the same packet.
        let moved = keyring.open_again(row(2), &second, LIMIT, &mut sessions);
        assert_eq!(moved.unwrap_err(), OpenError::NotBound);
        let mut changed = second.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(
            keyring
                .open_again(row(1), &changed, LIMIT, &mut sessions)
                .is_err()
        );
        assert!(
            other
                .open_again(row(2), &second, LIMIT, &mut SessionKeys::new(2))
                .is_err()
        );
        assert_eq!(sessions.len(), 1);
    }
}

#[test]
fn the_session_keys_that_were_not_used_for_longest_make_room() {
    let (_, keyring) = new_keyring(Profile::Rfc9580);
    let mut sessions = SessionKeys::new(3);
    let messages: Vec<_> = (0..5)
        .map(|n| keyring.seal(row(n), VALUE).unwrap().message)
        .collect();
    for (n, message) in (0..).zip(&messages) {
        keyring
            .open_again(row(n), message, LIMIT, &mut sessions)
            .unwrap();
    }
    assert_eq!(sessions.len(), 3);
    let mut none = SessionKeys::new(0);
    keyring
        .open_again(row(0), &messages[0], LIMIT, &mut none)
        .unwrap();
    assert!(none.is_empty());
}

#[test]
fn keys_are_described_once_each_and_a_signing_key_is_passed_over() {
    let (first, one) = new_keyring(Profile::Rfc9580);
    let (second, two) = new_keyring(Profile::Rfc4880);
    let signing = CertBuilder::new()
        .add_signing_subkey()
        .generate()
        .unwrap()
        .0
        .as_tsk()
        .armored()
        .to_vec()
        .unwrap();
    let signing = String::from_utf8(signing).unwrap();
    let all = format!("{signing}{first}{second}{first}");
    let keyring = Keyring::parse(all.as_bytes(), None).unwrap();
    let fingerprints: Vec<_> = keyring.keys().iter().map(|key| &key.fingerprint).collect();
    assert_eq!(
        fingerprints,
        [one.primary_fingerprint(), two.primary_fingerprint()]
    );
    assert_eq!(keyring.keys()[0].algorithm, "X25519 (OpenPGP version 6)");
    assert!(keyring.keys()[1].algorithm.contains("version 4"));
    assert_eq!(keyring.primary_fingerprint(), one.primary_fingerprint());
    assert!(matches!(
        Keyring::parse(signing.as_bytes(), None).unwrap_err(),
        KeyError::CannotEncrypt(_)
    ));
}

#[test]
fn a_key_whose_secret_part_is_anothers_is_refused() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let (armored, keyring) = new_keyring(profile);
        let (other, _) = new_keyring(profile);
        let packets_of = |armored: &str| {
            let pile = PacketPile::from_bytes(armored.as_bytes()).unwrap();
            pile.into_children()
        };
        let encrypting = |packet: &Packet| match packet {
            Packet::SecretSubkey(key) => key.pk_algo().for_encryption(),
            _ => false,
        };
        let foreign = packets_of(&other).find(encrypting);
        let Some(Packet::SecretSubkey(foreign)) = foreign else {
            panic!("no encryption subkey");
        };
        let packets = packets_of(&armored).map(|packet| match packet {
            Packet::SecretSubkey(key) if key.pk_algo().for_encryption() => {
                let (own, _) = key.take_secret();
                let (mixed, _) = own.add_secret(foreign.secret().clone());
                Packet::SecretSubkey(mixed)
            }
            packet => packet,
        });
        let mixed = Cert::from_packets(packets).unwrap();
        let refused = Keyring::parse(&mixed.as_tsk().to_vec().unwrap(), None).unwrap_err();
        let fingerprint = keyring.primary_fingerprint().to_owned();
        assert_eq!(refused, KeyError::Mismatched(fingerprint));
    }
}
