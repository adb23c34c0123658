//! Messages that belong to no row: our own, those of others to our key, and those with a password.

use pg_secrets_openpgp::{
    DecryptError, Keyring, OpenError, Place, Profile, decrypt_with_password, generate,
};
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::Password;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::{
    Compressor, Encryptor, LiteralWriter, Message, Recipient, Signer,
};
use sequoia_openpgp::types::CompressionAlgorithm;
use std::io::Write;
use uuid::Uuid;

const LIMIT: usize = 65536;
const VALUE: &[u8] = b"line one\nline two \xc3\xa9 \n";

fn new_key(profile: Profile) -> (Cert, Keyring) {
    let armored = generate(profile, "test").unwrap();
    let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
    (Cert::from_bytes(armored.as_bytes()).unwrap(), keyring)
}

fn literal(message: Message<'_>, value: &[u8]) {
    let mut literal = LiteralWriter::new(message).build().unwrap();
    literal.write_all(value).unwrap();
    literal.finalize().unwrap();
}

/// A message with a password, compressed `layers` times.
fn with_password(password: &str, value: &[u8], layers: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut message =
        Encryptor::with_passwords(Message::new(&mut bytes), [Password::from(password)])
            .build()
            .unwrap();
    for _ in 0..layers {
        message = Compressor::new(message)
            .algo(CompressionAlgorithm::Zlib)
            .build()
            .unwrap();
    }
    literal(message, value);
    bytes
}

#[test]
fn what_is_encrypted_is_decrypted_and_never_taken_for_a_value() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let (_, keyring) = new_key(profile);
        for value in [VALUE, b"", &[7; LIMIT]] {
            let message = keyring.encrypt(value).unwrap().message;
            assert_eq!(*keyring.decrypt(&message, LIMIT).unwrap().value, value);
            let shown = format!("{:?}", keyring.decrypt(&message, LIMIT).unwrap());
            assert_eq!(shown, "Decrypted([redacted], None)");
            let bound = keyring.open(Place::version(Uuid::nil()), &message, LIMIT);
            assert_eq!(bound.unwrap_err(), OpenError::NotBound);
            // The binary form alone is a message here.
            let armored = pg_secrets_openpgp::armor(&message, &[]).unwrap();
            let refused = keyring.decrypt(armored.as_bytes(), LIMIT);
            assert_eq!(refused.unwrap_err(), DecryptError::Malformed);
        }
    }
}

#[test]
fn a_message_of_somebody_with_our_public_key_is_decrypted() {
    let (cert, keyring) = new_key(Profile::Rfc4880);
    let policy = StandardPolicy::new();
    let recipients = || -> Vec<Recipient<'_>> {
        cert.keys()
            .with_policy(&policy, None)
            .for_storage_encryption()
            .map(Into::into)
            .collect()
    };
    let mut bytes = Vec::new();
    let message = Encryptor::for_recipients(Message::new(&mut bytes), recipients());
    literal(message.build().unwrap(), VALUE);
    assert_eq!(*keyring.decrypt(&bytes, LIMIT).unwrap().value, VALUE);

    let mut bytes = Vec::new();
    let message = Encryptor::for_recipients(Message::new(&mut bytes), recipients());
    let message = Compressor::new(message.build().unwrap());
    literal(message.build().unwrap(), VALUE);
    assert_eq!(*keyring.decrypt(&bytes, LIMIT).unwrap().value, VALUE);
}

#[test]
fn a_signature_is_not_passed_over_as_if_it_had_been_checked() {
    let (cert, keyring) = new_key(Profile::Rfc4880);
    let policy = StandardPolicy::new();
    let recipients = cert
        .keys()
        .with_policy(&policy, None)
        .for_storage_encryption();
    let signer = cert
        .keys()
        .with_policy(&policy, None)
        .secret()
        .for_signing()
        .next()
        .unwrap()
        .key()
        .clone()
        .into_keypair()
        .unwrap();
    let mut bytes = Vec::new();
    let message = Encryptor::for_recipients(Message::new(&mut bytes), recipients);
    let message = Signer::new(message.build().unwrap(), signer).unwrap();
    literal(message.build().unwrap(), VALUE);
    let refused = keyring.decrypt(&bytes, LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::Malformed);
}

#[test]
fn another_key_and_another_password_say_so() {
    let (_, keyring) = new_key(Profile::Rfc9580);
    let (_, other) = new_key(Profile::Rfc9580);
    let message = keyring.encrypt(VALUE).unwrap().message;
    let refused = other.decrypt(&message, LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::NoKey);
    let refused = decrypt_with_password(&message, b"password", LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::Password);

    let message = with_password("password", VALUE, 0);
    let opened = decrypt_with_password(&message, b"password", LIMIT);
    assert_eq!(*opened.unwrap(), VALUE);
    let refused = decrypt_with_password(&message, b"passwort", LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::Password);
    let refused = keyring.decrypt(&message, LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::NoKey);
}

#[test]
fn a_compression_bomb_ends_at_the_limit() {
    let bomb = with_password("password", &vec![0; 200 << 20], 1);
    assert!(bomb.len() < 1 << 20);
    let refused = decrypt_with_password(&bomb, b"password", LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::TooLong(LIMIT));
    // Packed again it is smaller still; such a message is none that anybody writes.
    let bomb = with_password("password", &vec![0; 200 << 20], 3);
    let refused = decrypt_with_password(&bomb, b"password", LIMIT);
    assert!(refused.is_err());
}
