//! What is signed verifies as it was signed, and nothing else does.

mod certs;

use certs::{HOUR, armored, keyring, made, old};
use pg_secrets_openpgp::{
    Keyring, LONGEST_SIGNED_MESSAGE, Profile, SignError, VerifyTextError, generate,
};
use sequoia_openpgp::Packet;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{HashAlgorithm, SignatureType};
use std::time::{Duration, SystemTime};

const TEXT: &str = "seq: 12\nhash: 00ff\n- a list\n-----BEGIN PGP SIGNATURE-----\nFrom é\n\nend\n";
fn new_keyring(profile: Profile) -> Keyring {
    keyring(&generate(profile, "test").unwrap())
}

#[test]
fn a_text_comes_back_to_the_byte_for_both_kinds_of_key() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let keyring = new_keyring(profile);
        let long = "x".repeat(16 << 10);
        for text in [TEXT, "", "\n", "\n\n", "a", "a\n", "\n a\n\n", "- -", &long] {
            let before = SystemTime::now() - Duration::from_secs(1);
            let message = keyring.sign_text(text).unwrap();
            let verified = keyring.verify_text(&message).unwrap();
            assert_eq!(verified.text, text);
            assert_eq!(verified.fingerprint, keyring.primary_fingerprint());
            assert!(before <= verified.time && verified.time <= SystemTime::now());
            let mailed = format!("{}\r\n", message.replace('\n', "\r\n"));
            assert_eq!(keyring.verify_text(&mailed).unwrap(), verified);
            assert_eq!(keyring.verify_text(message.trim_end()).unwrap(), verified);
        }
    }
}

#[test]
fn what_would_not_come_back_is_not_signed() {
    let keyring = new_keyring(Profile::Rfc9580);
    let long = "x".repeat((16 << 10) + 1);
    for text in ["a\r\n", "a\rb", "a \nb", "a\t", "\n ", "a\0b", &long] {
        assert_eq!(keyring.sign_text(text), Err(SignError::Text), "{text:?}");
    }
    for lines in [LONGEST_SIGNED_MESSAGE, LONGEST_SIGNED_MESSAGE / 2 - 100] {
        assert_eq!(
            keyring.sign_text(&"-\n".repeat(lines)),
            Err(SignError::TooLong)
        );
    }
}

#[test]
fn no_changed_byte_gives_another_text() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let keyring = new_keyring(profile);
        let message = keyring.sign_text(TEXT).unwrap();
        let end = message.find("\n-----BEGIN PGP SIGNATURE").unwrap();
        for at in 0..message.len() {
            for byte in 0..128 {
                let mut changed = message.clone().into_bytes();
                if changed[at] == byte {
                    continue;
                }
                changed[at] = byte;
                // The text is one of letters: what is none does not come this far.
                let Ok(changed) = String::from_utf8(changed) else {
                    continue;
                };
                if let Ok(found) = keyring.verify_text(&changed) {
                    assert_eq!(found.text, TEXT, "byte {at} is {byte}");
                    // In the armor: an end of a line, or what is not signed of the signature.
                    assert!(at > end, "byte {at} is {byte}");
                }
            }
            let cut = String::from_utf8(message.as_bytes()[..at].to_vec());
            let whole = message.trim_end().len();
            assert!(at >= whole || cut.is_err() || keyring.verify_text(&cut.unwrap()).is_err());
        }
    }
}

#[test]
fn one_thousand_pieces_of_junk_are_refused() {
    let keyring = new_keyring(Profile::Rfc4880);
    let message = keyring.sign_text(TEXT).unwrap();
    let pieces: Vec<&str> = message.split_inclusive('\n').collect();
    let mut state = 7_u64;
    let mut below = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..1000 {
        let mut junk = String::new();
        if below(2) == 0 {
            // Lines of a message, in any order and of any number.
            for _ in 0..below(20) {
                junk.push_str(pieces[below(pieces.len())]);
            }
        } else {
            let mut spoilt: Vec<char> = message.chars().collect();
            for _ in 0..=below(20) {
                let at = below(spoilt.len());
                match below(3) {
                    0 => drop(spoilt.remove(at)),
                    1 => spoilt.insert(at, char::from(below(128) as u8)),
                    _ => spoilt[at] = char::from_u32(below(0x3000) as u32).unwrap(),
                }
            }
            junk.extend(spoilt);
        }
        if let Ok(verified) = keyring.verify_text(&junk) {
            assert_eq!(verified.text, TEXT, "{junk}");
        }
    }
}

#[test]
fn each_message_that_proves_nothing_says_why() {
    let keyring = new_keyring(Profile::Rfc4880);
    let other = new_keyring(Profile::Rfc4880);
    let message = keyring.sign_text(TEXT).unwrap();
    let reason = |message: &str| keyring.verify_text(message).unwrap_err();
    let at = message.find("-----BEGIN PGP SIGNATURE").unwrap();
    let signature = message.rfind("-----BEGIN PGP SIGNATURE").unwrap();
    assert!(at < signature, "the text has an escaped one");

    let long = "\n".repeat(LONGEST_SIGNED_MESSAGE);
    assert_eq!(
        reason(&format!("{message}{long}")),
        VerifyTextError::TooLong
    );
    for text in [
        "",
        "\n",
        "hello",
        TEXT,
        &message[signature..],
        &message[1..],
    ] {
        assert_eq!(reason(text), VerifyTextError::NotSigned, "{text}");
    }
    for around in [
        format!("before\n{message}"),
        format!("\n{message}"),
        format!("{message}behind\n"),
        format!("{message} "),
        format!("{message}{}", &message[signature..]),
    ] {
        assert_eq!(reason(&around), VerifyTextError::Surrounded, "{around}");
    }
    for several in [
        format!("{message}{message}"),
        format!("{message}\n{}", other.sign_text("x").unwrap()),
        format!("{}{message}", &message[..signature]),
    ] {
        assert_eq!(reason(&several), VerifyTextError::Several, "{several}");
    }
    for malformed in [
        message.replace("Hash: SHA512", "Hash: SHA256"),
        message.replace("Hash: SHA512", "Comment: believe this"),
        message.replace("Hash: SHA512\n", "Hash: SHA512\nHash: SHA512\n"),
        message.replace("- - a list", "- a list"),
        message.replace("- - a list", "-a list"),
        message.replace("hash: ", "- hash: "),
        message.replace("hash: 00ff\n", "hash: 00ff \n"),
        message.replace("hash: 00ff\n", "hash: 00ff\r"),
        message.replace("\n=", "\n=A"),
        message[..signature].to_owned(),
        message[..message.len() - 2].to_owned(),
    ] {
        assert_eq!(reason(&malformed), VerifyTextError::Malformed);
    }
    let changed = message.replace("seq: 12", "seq: 13");
    assert_eq!(reason(&changed), VerifyTextError::BadSignature);
    let unescaped = message.replace("- From", "From");
    assert_eq!(keyring.verify_text(&unescaped).unwrap().text, TEXT);
    let unknown = other.verify_text(&message).unwrap_err();
    assert!(matches!(unknown, VerifyTextError::UnknownSigner(Some(_))));
    assert!(unknown.to_string().contains("but by the key "), "{unknown}");
    let shown = format!("{keyring:?} {:?}", reason(&changed));
    assert!(!shown.contains("seq"), "{shown}");
}

#[test]
fn packets_that_are_no_single_text_signature_are_refused() {
    let cert = made(old().add_signing_subkey());
    let keyring = keyring(&armored(&cert));
    let policy = StandardPolicy::new();
    let keys = cert.keys().secret().with_policy(&policy, None);
    let key = keys.for_signing().next().unwrap().key().clone();
    let mut pair = key.into_keypair().unwrap();
    let mut packet = |kind, hash, lives: u64, ago: Duration| {
        let builder = SignatureBuilder::new(kind)
            .set_hash_algo(hash)
            .set_signature_creation_time(SystemTime::now() - ago)
            .unwrap()
            .set_signature_validity_period(Duration::from_secs(lives))
            .unwrap();
        let signature = builder.sign_message(&mut pair, "a").unwrap();
        Packet::from(signature).to_vec().unwrap()
    };
    let reason = |packets: &[u8]| {
        let armor = pg_secrets_openpgp::armor(packets, &[]).unwrap();
        let armor = armor.replace("PGP MESSAGE", "PGP SIGNATURE");
        let message = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\na\n{armor}");
        keyring.verify_text(&message).map(|found| found.text)
    };
    let sha256 = HashAlgorithm::SHA256;
    let good = packet(SignatureType::Text, sha256, 7200, HOUR);
    assert_eq!(reason(&good), Ok("a".to_owned()));
    let binary = packet(SignatureType::Binary, sha256, 7200, HOUR);
    assert_eq!(reason(&binary), Err(VerifyTextError::Malformed));
    let two = [good.clone(), good.clone()].concat();
    assert_eq!(reason(&two), Err(VerifyTextError::Several));
    let marker = [0xca, 3, b'P', b'G', b'P'];
    for packets in [
        [&marker, good.as_slice()].concat(),
        Vec::new(),
        vec![0; 100],
        vec![0xff; 100],
        cert.to_vec().unwrap(),
    ] {
        assert_eq!(reason(&packets), Err(VerifyTextError::Malformed));
    }
    for bad in [
        packet(SignatureType::Text, HashAlgorithm::SHA1, 7200, HOUR),
        packet(SignatureType::Text, sha256, 60, HOUR),
        packet(SignatureType::Text, sha256, 7200, HOUR * 9),
    ] {
        assert_eq!(reason(&bad), Err(VerifyTextError::BadSignature));
    }
}
