//! Whatever is done to a message, it ends in an error: no panic, nothing given out.

use pg_secrets_openpgp::{
    DecryptError, KeyError, Keyring, Place, Profile, SessionKeys, dearmor, decrypt_with_password,
    generate,
};
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::mpi::SecretKeyChecksum;
use sequoia_openpgp::crypto::{Password, S2K, SessionKey};
use sequoia_openpgp::packet::key::Encrypted;
use sequoia_openpgp::packet::{Literal, SKESK, skesk::SKESK4};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::{Compressor, Encryptor, LiteralWriter, Message};
use sequoia_openpgp::serialize::{Marshal, MarshalInto};
use sequoia_openpgp::types::{DataFormat, HashAlgorithm, SymmetricAlgorithm};
use sequoia_openpgp::{Packet, PacketPile};
use std::io::Write;
use std::time::{Duration, Instant};
use uuid::Uuid;

const LIMIT: usize = 1000;
const VALUE: &[u8] = b"a value that nobody may see";
const PASSWORD: &[u8] = b"password";

/// A linear congruential generator: the same cases in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// One of the many ways to spoil a message; `other` is a sound one of the same kind.
fn spoil(message: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut spoilt = message.to_vec();
    let at = random.below(spoilt.len());
    match random.below(7) {
        0 => spoilt.truncate(at),
        1 => spoilt[at] ^= 1 << random.below(8),
        2 => {
            for _ in 0..=random.below(20) {
                let at = random.below(spoilt.len());
                spoilt[at] = random.byte();
            }
        }
        3 => {
            let end = at + random.below(spoilt.len() - at);
            spoilt.drain(at..=end.min(message.len() - 1));
        }
        4 => {
            let inserted: Vec<u8> = (0..=random.below(40)).map(|_| random.byte()).collect();
            spoilt.splice(at..at, inserted);
        }
        5 => {
            // The beginning of one and the end of the other.
            let at = at.min(other.len());
            spoilt.truncate(at);
            spoilt.extend_from_slice(&other[at..]);
        }
        _ => {
            spoilt = (0..random.below(400)).map(|_| random.byte()).collect();
            if let Some(first) = spoilt.first_mut() {
                *first |= 0x80;
            }
        }
    }
    spoilt
}

/// A message as pgcrypto's pgp_sym_encrypt writes it: S2K of some hundred kilobytes of SHA-1.
fn with_password() -> Vec<u8> {
    let s2k = S2K::new_iterated(HashAlgorithm::SHA1, 65536).unwrap();
    let password = Password::from(PASSWORD);
    let (skesk, key) = {
        let algorithm = SymmetricAlgorithm::AES128;
        let key = s2k.derive_key(&password, 16).unwrap();
        let skesk = SKESK4::new(algorithm, s2k, None).unwrap();
        (SKESK::from(skesk), key)
    };
    let mut whole = Packet::from(skesk).to_vec().unwrap();
    whole.extend(body_under(key));
    whole
}

fn body_under(key: SessionKey) -> Vec<u8> {
    let mut body = Vec::new();
    let algorithm = SymmetricAlgorithm::AES128;
    let message = Encryptor::with_session_key(Message::new(&mut body), algorithm, key);
    let mut literal = LiteralWriter::new(message.unwrap().build().unwrap())
        .build()
        .unwrap();
    literal.write_all(VALUE).unwrap();
    literal.finalize().unwrap();
    body
}

#[test]
fn a_thousand_spoilt_messages_of_each_kind_are_refused() {
    let mut random = Random(1);
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let armored = generate(profile, "test").unwrap();
        let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
        let row = Place::version(Uuid::from_u128(1));
        let bound = keyring.seal(row, VALUE).unwrap().message;
        let other = keyring.seal(row, VALUE).unwrap().message;
        let unbound = keyring.encrypt(VALUE).unwrap().message;
        let other_unbound = keyring.encrypt(VALUE).unwrap().message;
        let mut sessions = SessionKeys::new(8);
        keyring
            .open_again(row, &bound, LIMIT, &mut sessions)
            .unwrap();
        for case in 0..1000 {
            let spoilt = spoil(&bound, &other, &mut random);
            if spoilt != bound && spoilt != other {
                let opened = keyring.open_again(row, &spoilt, LIMIT, &mut sessions);
                assert!(opened.is_err(), "{case}");
            }
            let spoilt = spoil(&unbound, &other_unbound, &mut random);
            if spoilt != unbound && spoilt != other_unbound {
                assert!(keyring.decrypt(&spoilt, LIMIT).is_err(), "{case}");
            }
        }
        assert!(
            keyring
                .open_again(row, &bound, LIMIT, &mut sessions)
                .is_ok()
        );
    }
    let message = with_password();
    let other = with_password();
    let opened = decrypt_with_password(&message, PASSWORD, LIMIT);
    assert_eq!(*opened.unwrap(), VALUE);
    for case in 0..1000 {
        let spoilt = spoil(&message, &other, &mut random);
        if spoilt != message && spoilt != other {
            let opened = decrypt_with_password(&spoilt, PASSWORD, LIMIT);
            assert!(opened.is_err(), "{case}");
        }
    }
}

#[test]
fn no_bit_of_a_message_can_be_changed_and_none_of_its_ends_be_missing() {
    for profile in [Profile::Rfc9580, Profile::Rfc4880] {
        let armored = generate(profile, "test").unwrap();
        let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
        let row = Place::version(Uuid::from_u128(1));
        let bound = keyring.seal(row, VALUE).unwrap().message;
        let unbound = keyring.encrypt(VALUE).unwrap().message;
        for message in [&bound, &unbound] {
            let opens = |message: &[u8]| {
                keyring.open(row, message, LIMIT).is_ok() || keyring.decrypt(message, LIMIT).is_ok()
            };
            for bit in 0..message.len() * 8 {
                let mut changed = message.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(&changed), "{profile:?}, bit {bit}");
            }
            for length in 0..message.len() {
                assert!(!opens(&message[..length]), "{profile:?}, length {length}");
            }
        }
    }
    let message = with_password();
    for bit in 0..message.len() * 8 {
        let mut changed = message.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened = decrypt_with_password(&changed, PASSWORD, LIMIT);
        assert!(opened.is_err(), "password, bit {bit}");
    }
}

#[test]
fn a_thousand_spoilt_armors_end_in_bytes_or_an_error() {
    let armor = pg_secrets_openpgp::armor(VALUE, &[("Comment".into(), "x".into())]).unwrap();
    let mut random = Random(2);
    for _ in 0..1000 {
        let spoilt = spoil(armor.as_bytes(), armor.as_bytes(), &mut random);
        if let Ok(spoilt) = String::from_utf8(spoilt)
            && let Ok(data) = dearmor(&spoilt)
        {
            // Headers may change, and lines; the checksum, where there is one, sees the rest.
            assert!(data == VALUE || !spoilt.contains("\n="), "{spoilt}");
        }
    }
}

#[test]
fn a_message_has_a_handful_of_session_keys_at_most() {
    let armored = generate(Profile::Rfc4880, "test").unwrap();
    let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
    let pile = PacketPile::from_bytes(&keyring.encrypt(VALUE).unwrap().message).unwrap();
    let packet = |number| pile.descendants().nth(number).unwrap().to_vec().unwrap();
    for (count, opens) in [(1, true), (16, true), (17, false), (500, false)] {
        let message = [packet(0).repeat(count), packet(1)].concat();
        assert_eq!(keyring.decrypt(&message, LIMIT).is_ok(), opens, "{count}");
    }
}

#[test]
fn a_password_that_would_take_the_machines_memory_is_not_tried() {
    // As much work as a message may ask for of nobody: it would open.
    let s2k = S2K::Argon2 {
        salt: [0; 16],
        t: 1,
        p: 1,
        m: 10,
    };
    let password = Password::from(PASSWORD);
    let key = s2k.derive_key(&password, 16).unwrap();
    let skesk = SKESK::from(SKESK4::new(SymmetricAlgorithm::AES128, s2k, None).unwrap());
    let mut message = Packet::from(skesk).to_vec().unwrap();
    message.extend(body_under(key));
    let refused = decrypt_with_password(&message, PASSWORD, LIMIT);
    assert_eq!(refused.unwrap_err(), DecryptError::Password);
}

#[test]
fn armor_is_not_looked_for_behind_whatever_stands_before_it() {
    let armored = generate(Profile::Rfc9580, "test").unwrap();
    let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
    let place = Place::version(Uuid::from_u128(1));
    let message = keyring.seal(place, VALUE).unwrap().message;
    let armor = pg_secrets_openpgp::armor(&message, &[]).unwrap();
    for prefix in [
        &b""[..],
        b"\n",
        b"\xff\n",
        b"\x80\n",
        b"\xc0\n",
        b"\xc1\xe0\n",
        b"\xd2\xff\n",
    ] {
        let text = [prefix, armor.as_bytes()].concat();
        assert!(keyring.open(place, &text, LIMIT).is_err(), "{prefix:?}");
        assert!(keyring.decrypt(&text, LIMIT).is_err(), "{prefix:?}");
    }
    let long = [
        b"\xff\n-----BEGIN PGP MESSAGE-----\n",
        "A: b\n".repeat(9 << 20).as_bytes(),
    ]
    .concat();
    let began = Instant::now();
    assert!(keyring.open(place, &long, LIMIT).is_err());
    assert!(began.elapsed() < Duration::from_secs(1));
}

/// Packets without meaning, as the body of a message; compressed `layers` times, before or behind the
/// value.
fn flood(recipient: &Cert, layers: usize, before: bool) -> Vec<u8> {
    let policy = StandardPolicy::new();
    let recipients = recipient
        .keys()
        .with_policy(&policy, None)
        .for_storage_encryption();
    let mut bytes = Vec::new();
    let mut message = Encryptor::for_recipients(Message::new(&mut bytes), recipients)
        .build()
        .unwrap();
    for _ in 0..layers {
        message = Compressor::new(message).build().unwrap();
    }
    let padding = [0xd5, 0x00].repeat(1 << 16);
    let write = |message: &mut Message<'_>| {
        for _ in 0..200 {
            message.write_all(&padding).unwrap();
        }
    };
    if before {
        write(&mut message);
    }
    let mut literal = Literal::new(DataFormat::Binary);
    literal.set_body(VALUE.to_vec());
    Packet::from(literal).serialize(&mut message).unwrap();
    if !before {
        write(&mut message);
    }
    message.finalize().unwrap();
    bytes
}

#[test]
fn a_flood_of_packets_ends_at_the_first_few() {
    let armored = generate(Profile::Rfc4880, "test").unwrap();
    let keyring = Keyring::parse(armored.as_bytes(), None).unwrap();
    let cert = Cert::from_bytes(armored.as_bytes()).unwrap();
    let row = Place::version(Uuid::from_u128(1));
    for layers in [1, 2, 3] {
        for before in [true, false] {
            let message = flood(&cert, layers, before);
            let began = Instant::now();
            assert!(keyring.decrypt(&message, LIMIT).is_err());
            assert!(keyring.open(row, &message, LIMIT).is_err());
            let took = began.elapsed();
            assert!(took < Duration::from_secs(2), "{layers} {before}: {took:?}");
        }
    }
}

#[test]
fn more_keys_than_anybody_needs_are_refused_before_any_is_unlocked() {
    let armored = generate(Profile::Rfc4880, "test").unwrap();
    let s2k = S2K::new_iterated(HashAlgorithm::SHA256, 65_011_712).unwrap();
    let locked = Encrypted::new(
        s2k,
        SymmetricAlgorithm::AES256,
        Some(SecretKeyChecksum::SHA1),
        vec![7; 50].into(),
    );
    let mut packets = Vec::new();
    for packet in PacketPile::from_bytes(armored.as_bytes())
        .unwrap()
        .into_children()
    {
        match packet {
            Packet::SecretSubkey(key) if key.pk_algo().for_encryption() => {
                for second in 0..60 {
                    let (mut own, _) = key.clone().take_secret();
                    let made = own.creation_time() + Duration::from_secs(second);
                    own.set_creation_time(made).unwrap();
                    packets.push(Packet::SecretSubkey(
                        own.add_secret(locked.clone().into()).0,
                    ));
                }
            }
            packet => packets.push(packet),
        }
    }
    let key = Cert::from_packets(packets.into_iter()).unwrap();
    let key = key.as_tsk().to_vec().unwrap();
    let began = Instant::now();
    assert_eq!(
        Keyring::parse(&key, Some(PASSWORD)).unwrap_err(),
        KeyError::TooMany
    );
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_key_that_is_locked_at_great_expense_is_refused_before_anything_is_spent() {
    let armored = generate(Profile::Rfc4880, "test").unwrap();
    let s2k = S2K::Argon2 {
        salt: [7; 16],
        t: 255,
        p: 1,
        m: 20,
    };
    let locked = Encrypted::new(
        s2k,
        SymmetricAlgorithm::AES256,
        Some(SecretKeyChecksum::SHA1),
        vec![7; 50].into(),
    );
    let pile = PacketPile::from_bytes(armored.as_bytes()).unwrap();
    let packets = pile.into_children().map(|packet| match packet {
        Packet::SecretSubkey(key) => {
            let (own, _) = key.take_secret();
            Packet::SecretSubkey(own.add_secret(locked.clone().into()).0)
        }
        packet => packet,
    });
    let key = Cert::from_packets(packets).unwrap();
    let key = key.as_tsk().to_vec().unwrap();
    let began = Instant::now();
    let refused = Keyring::parse(&key, Some(PASSWORD)).unwrap_err();
    assert!(matches!(refused, KeyError::LockedTooHard(_)), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(2));
}
