//! Messages that are not bound to a row: what `pgp_encrypt` makes, what other OpenPGP programs
//! encrypt to our key, and what pgcrypto's `pgp_sym_encrypt` wrote.
//!
//! Nothing of them is trusted: the work that a message may ask for is bounded, in memory by the
//! limit of the caller, in time by what is accepted of password-based keys.

use crate::binding::Place;
use crate::keyring::{Keyring, SecretKeys};
use crate::open::{NoKey, panic_is, try_keys};
use crate::packets::{Packets, is_binary};
use crate::seal::{SealError, Sealed};
use sequoia_openpgp::crypto::{Password, S2K, SessionKey};
use sequoia_openpgp::packet::{PKESK, Packet, SKESK};
use sequoia_openpgp::parse::stream::{
    DecryptionHelper, DecryptorBuilder, MessageLayer, MessageStructure, VerificationHelper,
};
use sequoia_openpgp::parse::{PacketParser, Parse};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp::{Cert, KeyHandle, Result as PgpResult};
use std::io::Read;
use thiserror::Error;
use zeroize::Zeroizing;

/// How many password-based session keys of one message are tried; each may take a tenth of a
/// second. pgcrypto writes one.
const MOST_PASSWORD_KEYS: usize = 4;

/// What is read ahead before a message is known to be whole, in bytes, where the limit is smaller.
const LEAST_BUFFER: usize = 64 << 10;

/// Why a message was not decrypted. No variant holds anything of the plaintext.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecryptError {
    /// The message is for other keys, or for a password.
    #[error("the message is not encrypted to a key of this server")]
    NoKey,
    /// Damaged, no message at all, or of a form that is not read: signed, without integrity
    /// protection, or with algorithms that count as broken.
    #[error("the message is damaged, or of a form that is not read")]
    Malformed,
    /// The password does not open it, or the message is damaged: the two cannot be told apart.
    #[error("the password does not open the message, or the message is damaged")]
    Password,
    /// The plaintext is longer than the caller allows.
    #[error("the plaintext is longer than {0} bytes")]
    TooLong(usize),
}

/// What was decrypted.
pub struct Decrypted {
    /// The plaintext.
    pub value: Zeroizing<Vec<u8>>,
    /// Where the message belongs, if it is one that the server itself sealed for a row.
    pub place: Option<Place>,
}

impl std::fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decrypted([redacted], {:?})", self.place)
    }
}

impl Keyring {
    /// Encrypts `value` to the primary key, bound to no row: as a value of a secret it is refused.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub fn encrypt(&self, value: &[u8]) -> Result<Sealed, SealError> {
        self.seal_named("", value)
    }
}

impl SecretKeys {
    /// Decrypts a message that any of the keys opens, whoever made it, and gives its at most `limit`
    /// bytes.
    ///
    /// # Errors
    /// See [`DecryptError`].
    pub fn decrypt(&self, message: &[u8], limit: usize) -> Result<Decrypted, DecryptError> {
        let policy = StandardPolicy::new();
        read(message, limit, &policy, Secret::Keys(self))
    }
}

/// Decrypts a message that a password opens, as pgcrypto's `pgp_sym_encrypt` makes them, and gives
/// its at most `limit` bytes. Ciphers that pgcrypto offers and that nobody should choose any more
/// are accepted here, since the data to be brought over may have them.
///
/// # Errors
/// See [`DecryptError`].
#[allow(deprecated)]
pub fn decrypt_with_password(
    message: &[u8],
    password: &[u8],
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let mut policy = StandardPolicy::new();
    for cipher in [
        SymmetricAlgorithm::TripleDES,
        SymmetricAlgorithm::CAST5,
        SymmetricAlgorithm::Blowfish,
    ] {
        policy.accept_symmetric_algo(cipher);
    }
    let decrypted = read(message, limit, &policy, Secret::Password(password))?;
    Ok(decrypted.value)
}

fn read(
    message: &[u8],
    limit: usize,
    policy: &StandardPolicy<'_>,
    secret: Secret<'_>,
) -> Result<Decrypted, DecryptError> {
    panic_is(DecryptError::Malformed, || {
        read_message(message, limit, policy, secret)
    })
}

fn read_message(
    message: &[u8],
    limit: usize,
    policy: &StandardPolicy<'_>,
    secret: Secret<'_>,
) -> Result<Decrypted, DecryptError> {
    if !is_binary(message) {
        return Err(DecryptError::Malformed);
    }
    let damaged = match secret {
        Secret::Keys(_) => DecryptError::Malformed,
        Secret::Password(_) => DecryptError::Password,
    };
    let mut decryptor = DecryptorBuilder::from_bytes(message)
        .map_err(|_| DecryptError::Malformed)?
        .buffer_size(limit.max(LEAST_BUFFER))
        .with_policy(policy, None, Helper::new(secret))
        .map_err(|error| {
            if error.downcast_ref::<NoKey>().is_some() {
                DecryptError::NoKey
            } else if error.downcast_ref::<WrongPassword>().is_some() {
                DecryptError::Password
            } else {
                DecryptError::Malformed
            }
        })?;
    let mut value = Zeroizing::new(Vec::with_capacity(limit + 1));
    (&mut decryptor)
        .take(limit as u64 + 1)
        .read_to_end(&mut value)
        .map_err(|_| damaged)?;
    if value.len() > limit {
        return Err(DecryptError::TooLong(limit));
    }
    if !decryptor.message_processed() {
        return Err(DecryptError::Malformed);
    }
    let place = decryptor.into_helper().place_of(&value);
    Ok(Decrypted { value, place })
}

#[derive(Debug, Error)]
#[error("wrong password")]
struct WrongPassword;

/// What opens a message.
enum Secret<'s> {
    Keys(&'s SecretKeys),
    Password(&'s [u8]),
}

struct Helper<'s> {
    secret: Secret<'s>,
    /// The key that opened the message, by its place in the keyring.
    used: Option<usize>,
    file_name: Option<Zeroizing<Vec<u8>>>,
    packets: Packets,
}

impl<'s> Helper<'s> {
    fn new(secret: Secret<'s>) -> Self {
        Self {
            secret,
            used: None,
            file_name: None,
            packets: Packets::default(),
        }
    }

    fn place_of(&self, value: &[u8]) -> Option<Place> {
        let Secret::Keys(secret_keys) = self.secret else {
            return None;
        };
        let binding = &secret_keys.keys[self.used?].binding;
        let name = self.file_name.as_deref()?;
        let places = Place::named(name)?;
        places
            .into_iter()
            .find(|place| binding.matches(name, *place, value))
    }
}

impl VerificationHelper for Helper<'_> {
    fn inspect(&mut self, parser: &PacketParser<'_>) -> PgpResult<()> {
        self.packets.take(&parser.packet, true)?;
        if let Packet::Literal(literal) = &parser.packet {
            self.file_name = literal.filename().map(|name| Zeroizing::new(name.to_vec()));
        }
        Ok(())
    }

    fn get_certs(&mut self, _ids: &[KeyHandle]) -> PgpResult<Vec<Cert>> {
        Ok(Vec::new())
    }

    /// Encryption outside; within it at most one compression. A signature is not passed over in
    /// silence, as if it had been checked.
    fn check(&mut self, structure: MessageStructure<'_>) -> PgpResult<()> {
        let layers: Vec<_> = structure.into_iter().collect();
        match layers.as_slice() {
            [MessageLayer::Encryption { .. }]
            | [
                MessageLayer::Encryption { .. },
                MessageLayer::Compression { .. },
            ] => Ok(()),
            _ => Err(sequoia_openpgp::Error::MalformedMessage("unexpected layers".into()).into()),
        }
    }
}

impl DecryptionHelper for Helper<'_> {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        skesks: &[SKESK],
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> PgpResult<Option<Cert>> {
        match self.secret {
            Secret::Keys(secret_keys) => {
                let tried = try_keys(&secret_keys.keys, pkesks, algorithm, decrypt)?;
                match tried.by {
                    Some(known) => {
                        self.used = Some(known.key);
                        Ok(None)
                    }
                    None => Err(tried.reason()),
                }
            }
            Secret::Password(password) => {
                let password = Password::from(password);
                let opened = skesks
                    .iter()
                    .filter(|skesk| is_bounded(skesk))
                    .take(MOST_PASSWORD_KEYS)
                    .filter_map(|skesk| skesk.decrypt(&password).ok())
                    .any(|(algorithm, session_key)| decrypt(algorithm, &session_key));
                if opened {
                    Ok(None)
                } else {
                    Err(WrongPassword.into())
                }
            }
        }
    }
}

/// Whether deriving the key takes bounded time and no memory: the message itself says how much, and
/// Argon2 (RFC 9580, section 3.7.1.4) could ask for all that the machine has.
#[allow(deprecated)]
fn is_bounded(skesk: &SKESK) -> bool {
    let s2k = match skesk {
        SKESK::V4(skesk) => skesk.s2k(),
        SKESK::V6(skesk) => skesk.s2k(),
        _ => return false,
    };
    matches!(
        s2k,
        S2K::Iterated { .. } | S2K::Salted { .. } | S2K::Simple { .. }
    )
}
