//! Which key signs, and what each key vouches for.

mod certs;

use certs::{HOUR, armored, encrypting, keyring, made, old};
use pg_secrets_openpgp::{KeyError, Keyring, SecretKeys, SignError, VerifyTextError};
use sequoia_openpgp::Packet;
use sequoia_openpgp::cert::{Cert, CertBuilder, CipherSuite};
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::{Message, Signer};
use sequoia_openpgp::types::{KeyFlags, ReasonForRevocation};
use std::io::Write;
use std::time::SystemTime;

const TEXT: &str = "seq: 12\nhash: 00ff\n";

/// A message of a part of `cert` with these flags, made at a time in the past with another program's
/// code, which does not ask whether the key was valid then.
fn signed_at(cert: &Cert, time: SystemTime, flags: &KeyFlags) -> String {
    let policy = StandardPolicy::new();
    let began = cert.primary_key().key().creation_time();
    let keys = cert.keys().secret().with_policy(&policy, began);
    let key = keys.key_flags(flags).next().unwrap().key().clone();
    let mut message = Vec::new();
    let mut signer = Signer::new(Message::new(&mut message), key.into_keypair().unwrap())
        .unwrap()
        .cleartext()
        .creation_time(time)
        .build()
        .unwrap();
    signer.write_all(b"old").unwrap();
    signer.finalize().unwrap();
    String::from_utf8(message).unwrap()
}

fn signing() -> KeyFlags {
    KeyFlags::empty().set_signing()
}

fn certifying() -> KeyFlags {
    KeyFlags::empty().set_certification()
}

#[test]
fn a_key_without_a_signing_part_signs_nothing() {
    for cipher_suite in [CipherSuite::Cv25519, CipherSuite::P256] {
        let cert = made(encrypting().set_cipher_suite(cipher_suite));
        let keyring = keyring(&armored(&cert));
        let fingerprint = cert.fingerprint().to_hex();
        let refused = keyring.sign_text(TEXT).unwrap_err();
        assert_eq!(refused, SignError::NoSigner(fingerprint.clone()));
        assert!(refused.to_string().contains(&fingerprint));
        assert!(refused.to_string().contains("pg-secrets keygen"));
        // Not even where the primary key, which only certifies, did sign.
        let message = signed_at(&cert, SystemTime::now(), &certifying());
        assert_eq!(
            keyring.verify_text(&message),
            Err(VerifyTextError::SignerInvalid(fingerprint))
        );
    }
}

#[test]
fn another_certificate_signs_where_the_primary_one_cannot() {
    let primary = made(encrypting());
    let passed_over = made(CertBuilder::new().add_signing_subkey());
    let both = made(encrypting().add_signing_subkey());
    let fingerprint = |material: String| {
        let keyring = keyring(&material);
        let message = keyring.sign_text(TEXT).unwrap();
        // What reads only verifies as well.
        let reader = SecretKeys::parse(material.as_bytes(), None).unwrap();
        let verified = reader.verify_text(&message).unwrap();
        assert_eq!(keyring.verify_text(&message).unwrap(), verified);
        verified.fingerprint
    };
    for (certs, signs) in [
        ([&primary, &passed_over, &both], &passed_over),
        ([&passed_over, &primary, &both], &passed_over),
        ([&primary, &both, &passed_over], &both),
        ([&passed_over, &both, &primary], &both),
    ] {
        let material = certs.map(armored).concat();
        assert_eq!(fingerprint(material), signs.fingerprint().to_hex());
    }
}

#[test]
fn a_locked_key_signs_with_its_passphrase_and_opens_without_a_signer() {
    let passphrase = Some(b"correct horse".as_slice());
    let locked = made(
        encrypting()
            .add_signing_subkey()
            .set_password(Some("correct horse".into())),
    );
    let keyring = Keyring::parse(armored(&locked).as_bytes(), passphrase).unwrap();
    let message = keyring.sign_text(TEXT).unwrap();
    assert_eq!(keyring.verify_text(&message).unwrap().text, TEXT);
    assert!(matches!(
        Keyring::parse(armored(&locked).as_bytes(), None).unwrap_err(),
        KeyError::PassphraseMissing(_)
    ));

    // Only the signing part has another passphrase.
    let packets = locked.as_tsk().into_packets().map(|packet| match packet {
        Packet::SecretSubkey(key) if key.pk_algo().for_signing() => {
            let open = key.decrypt_secret(&"correct horse".into()).unwrap();
            Packet::SecretSubkey(open.encrypt_secret(&"another".into()).unwrap())
        }
        packet => packet,
    });
    let mixed = Cert::from_packets(packets).unwrap();
    let parse = |material: String| Keyring::parse(material.as_bytes(), passphrase).unwrap();
    let keyring = parse(armored(&mixed));
    assert_eq!(
        keyring.sign_text(TEXT),
        Err(SignError::Locked(mixed.fingerprint().to_hex()))
    );
    assert_eq!(keyring.verify_text(&message).unwrap().text, TEXT);
    let signing = made(CertBuilder::new().add_signing_subkey());
    let keyring = parse(format!("{}{}", armored(&mixed), armored(&signing)));
    let message = keyring.sign_text(TEXT).unwrap();
    let verified = keyring.verify_text(&message).unwrap();
    assert_eq!(verified.fingerprint, signing.fingerprint().to_hex());
}

#[test]
fn a_key_that_has_expired_verifies_what_it_signed_before() {
    let now = SystemTime::now();
    let expired = made(
        old()
            .add_signing_subkey()
            .set_validity_period(Some(HOUR * 4)),
    );
    let current = made(encrypting());
    let keyring = keyring(&format!("{}{}", armored(&current), armored(&expired)));
    let fingerprint = expired.fingerprint().to_hex();
    let message = signed_at(&expired, now - HOUR * 6, &signing());
    let verified = keyring.verify_text(&message).unwrap();
    assert_eq!(verified.text, "old");
    assert_eq!(verified.fingerprint, fingerprint);
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(
        seconds(verified.time).as_secs(),
        seconds(now - HOUR * 6).as_secs()
    );
    // It signs nothing new, and what it did sign afterwards does not count.
    assert_eq!(
        keyring.sign_text(TEXT),
        Err(SignError::NoSigner(current.fingerprint().to_hex()))
    );
    let late = signed_at(&expired, now - HOUR, &signing());
    assert_eq!(
        keyring.verify_text(&late),
        Err(VerifyTextError::SignerInvalid(fingerprint))
    );
}

#[test]
fn extending_a_keys_validity_as_gnupg_does_leaves_its_old_signatures_good() {
    let now = SystemTime::now();
    let cert = made(old().add_signing_subkey());
    let message = signed_at(&cert, now - HOUR * 6, &signing());
    let policy = StandardPolicy::new();
    let mut pair = {
        let primary = cert.primary_key().key().clone();
        primary.parts_into_secret().unwrap().into_keypair().unwrap()
    };
    // GnuPG writes the new statement in place of the old one.
    let mut extended = Vec::new();
    for signature in cert.primary_key().self_signatures() {
        extended.push((signature.clone(), None));
    }
    for key in cert.keys().subkeys() {
        for signature in key.self_signatures() {
            extended.push((signature.clone(), Some(key.key().clone())));
        }
    }
    let mut packets: Vec<Packet> = Vec::new();
    for packet in cert.clone().as_tsk().into_packets() {
        let Packet::Signature(signature) = &packet else {
            packets.push(packet);
            continue;
        };
        let Some((_, subkey)) = extended.iter().find(|(known, _)| known == signature) else {
            packets.push(packet);
            continue;
        };
        let builder = SignatureBuilder::from(signature.clone())
            .set_signature_creation_time(now - HOUR)
            .unwrap();
        let primary = cert.primary_key().key().clone();
        let renewed = match subkey {
            None => builder.sign_direct_key(&mut pair, Some(&primary)),
            Some(subkey) => builder.sign_subkey_binding(&mut pair, &primary, subkey),
        };
        packets.push(renewed.unwrap().into());
    }
    let renewed = Cert::from_packets(packets.into_iter()).unwrap();
    assert!(renewed.with_policy(&policy, now - HOUR * 6).is_err());
    let keyring = keyring(&armored(&renewed));
    assert_eq!(keyring.verify_text(&message).unwrap().text, "old");
}

#[test]
fn a_revoked_key_signs_nothing_and_what_it_signed_depends_on_the_reason() {
    let now = SystemTime::now();
    for (reason, counts) in [
        (ReasonForRevocation::KeySuperseded, true),
        (ReasonForRevocation::KeyCompromised, false),
    ] {
        let cert = made(old().add_signing_subkey());
        let message = signed_at(&cert, now - HOUR * 6, &signing());
        let mut pair = {
            let primary = cert.primary_key().key().clone();
            primary.parts_into_secret().unwrap().into_keypair().unwrap()
        };
        let revocation = sequoia_openpgp::cert::CertRevocationBuilder::new()
            .set_signature_creation_time(now - HOUR)
            .unwrap()
            .set_reason_for_revocation(reason, b"")
            .unwrap()
            .build(&mut pair, &cert, None)
            .unwrap();
        let (revoked, _) = cert.insert_packets(revocation).unwrap();
        let current = made(encrypting());
        let keyring = keyring(&format!("{}{}", armored(&current), armored(&revoked)));
        assert!(keyring.sign_text(TEXT).is_err());
        let verified = keyring.verify_text(&message);
        assert_eq!(verified.is_ok(), counts, "{reason:?}: {verified:?}");
    }
}

#[test]
fn a_signature_that_nobody_could_verify_is_not_given_out() {
    let cert = made(encrypting().add_signing_subkey());
    let other = made(encrypting().add_signing_subkey());
    let foreign = other
        .as_tsk()
        .into_packets()
        .find_map(|packet| match packet {
            Packet::SecretSubkey(key) if key.pk_algo().for_signing() => Some(key),
            _ => None,
        });
    let foreign = foreign.unwrap();
    let packets = cert.as_tsk().into_packets().map(|packet| match packet {
        Packet::SecretSubkey(key) if key.pk_algo().for_signing() => {
            let (own, _) = key.take_secret();
            let (mixed, _) = own.add_secret(foreign.secret().clone());
            Packet::SecretSubkey(mixed)
        }
        packet => packet,
    });
    let mixed = Cert::from_packets(packets).unwrap();
    let keyring = keyring(&armored(&mixed));
    assert_eq!(
        keyring.sign_text(TEXT),
        Err(SignError::Failed(mixed.fingerprint().to_hex()))
    );
}
