//! From a message back to its value.

use crate::binding::Place;
use crate::keyring::{DecryptionKey, SecretKeys};
use crate::packets::{Packets, is_binary};
use crate::session_keys::{Known, SessionKeys};
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::crypto::mpi::Ciphertext;
use sequoia_openpgp::packet::{PKESK, Packet, SKESK};
use sequoia_openpgp::parse::stream::{
    DecryptionHelper, DecryptorBuilder, MessageLayer, MessageStructure, VerificationHelper,
};
use sequoia_openpgp::parse::{PacketParser, Parse};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp::{Cert, KeyHandle, Result as PgpResult};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a message was not opened. No variant holds anything of the value.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// None of the keys opens it.
    #[error("no key of the keyring opens the message")]
    NoKey,
    /// Not an encrypted OpenPGP message of the form that [`crate::Keyring::seal`] makes, or changed.
    #[error("the message is damaged or not one of ours")]
    Malformed,
    /// A sound message, but made for another row, or without the secret key.
    #[error("the message does not belong to this row, or was not made by this server")]
    NotBound,
    /// The value is longer than the caller allows.
    #[error("the value is longer than {0} bytes")]
    TooLong(usize),
}

/// A value, and the key that its message is encrypted to.
pub struct Opened<'k> {
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
    /// The fingerprint of the key (its certificate's), in upper-case hex.
    pub fingerprint: &'k str,
}

impl std::fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened([redacted], {})", self.fingerprint)
    }
}

impl SecretKeys {
    /// Opens `message`, which must have been sealed for `place`, and gives the value of at
    /// most `limit` bytes.
    ///
    /// # Errors
    /// See [`OpenError`]; on any of them nothing of the plaintext is given out.
    pub fn open(
        &self,
        place: Place,
        message: &[u8],
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.open_again(place, message, limit, &mut SessionKeys::new(0))
    }

    /// The same, and which key it was.
    ///
    /// # Errors
    /// As [`SecretKeys::open`].
    pub fn open_telling(
        &self,
        place: Place,
        message: &[u8],
        limit: usize,
    ) -> Result<Opened<'_>, OpenError> {
        panic_is(OpenError::Malformed, || {
            self.open_message(place, message, limit, &mut SessionKeys::new(0))
        })
    }

    /// The same with the session keys of messages that were opened before; the one of this message
    /// is kept among them if it could be opened and belongs to the row.
    ///
    /// # Errors
    /// As [`SecretKeys::open`].
    pub fn open_again(
        &self,
        place: Place,
        message: &[u8],
        limit: usize,
        sessions: &mut SessionKeys,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let opened = panic_is(OpenError::Malformed, || {
            self.open_message(place, message, limit, sessions)
        })?;
        Ok(opened.value)
    }

    fn open_message(
        &self,
        place: Place,
        message: &[u8],
        limit: usize,
        sessions: &mut SessionKeys,
    ) -> Result<Opened<'_>, OpenError> {
        if !is_binary(message) {
            return Err(OpenError::Malformed);
        }
        let policy = StandardPolicy::new();
        let helper = Helper {
            keys: &self.keys,
            known: sessions.find(place),
            used: None,
            learned: None,
            file_name: None,
            packets: Packets::default(),
        };
        let mut decryptor = DecryptorBuilder::from_bytes(message)
            .map_err(|_| OpenError::Malformed)?
            .with_policy(&policy, None, helper)
            .map_err(|error| match error.downcast_ref::<NoKey>() {
                Some(NoKey) => OpenError::NoKey,
                None => OpenError::Malformed,
            })?;
        // Room for all of it at once: growing would leave copies behind that nobody erases.
        let mut value = Zeroizing::new(Vec::with_capacity(limit.min(message.len()) + 1));
        (&mut decryptor)
            .take(limit as u64 + 1)
            .read_to_end(&mut value)
            .map_err(|_| OpenError::Malformed)?;
        if value.len() > limit {
            return Err(OpenError::TooLong(limit));
        }
        if !decryptor.message_processed() {
            return Err(OpenError::Malformed);
        }
        let helper = decryptor.into_helper();
        let used = helper.used.map(|key| &self.keys[key]);
        match (used, helper.file_name) {
            (Some(used), Some(name)) if used.binding.matches(&name, place, &value) => {
                if let Some(learned) = helper.learned {
                    sessions.keep(place, learned);
                }
                let fingerprint = &used.fingerprint;
                Ok(Opened { value, fingerprint })
            }
            (Some(_), _) => Err(OpenError::NotBound),
            (None, _) => Err(OpenError::Malformed),
        }
    }
}

/// Runs `work`; a panic in it becomes `error`. The parser panics at some truncated messages, where it
/// expects what is not there.
pub(crate) fn panic_is<T, E>(error: E, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(error))
}

/// The error of a message that no key is for.
#[derive(Debug, Error)]
#[error("no key")]
pub(crate) struct NoKey;

struct Helper<'k> {
    keys: &'k [DecryptionKey],
    /// What an earlier message of this row gave.
    known: Option<&'k Known>,
    /// The key that opened the message, by its place in the keyring.
    used: Option<usize>,
    learned: Option<Known>,
    file_name: Option<Zeroizing<Vec<u8>>>,
    packets: Packets,
}

impl VerificationHelper for Helper<'_> {
    fn inspect(&mut self, parser: &PacketParser<'_>) -> PgpResult<()> {
        self.packets.take(&parser.packet, false)?;
        if let Packet::Literal(literal) = &parser.packet {
            self.file_name = literal.filename().map(|name| Zeroizing::new(name.to_vec()));
        }
        Ok(())
    }

    fn get_certs(&mut self, _ids: &[KeyHandle]) -> PgpResult<Vec<Cert>> {
        Ok(Vec::new())
    }

    /// Exactly one layer, the encryption: what we seal is neither signed nor compressed.
    fn check(&mut self, structure: MessageStructure<'_>) -> PgpResult<()> {
        let layers: Vec<_> = structure.into_iter().collect();
        match layers.as_slice() {
            [MessageLayer::Encryption { .. }] => Ok(()),
            _ => Err(sequoia_openpgp::Error::MalformedMessage("unexpected layers".into()).into()),
        }
    }
}

impl DecryptionHelper for Helper<'_> {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        _skesks: &[SKESK],
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> PgpResult<Option<Cert>> {
        if let Some(known) = self.known
            && pkesks.contains(&known.packet)
            && decrypt(known.algorithm, &known.session_key)
        {
            self.used = Some(known.key);
            return Ok(None);
        }
        let opened = try_keys(self.keys, pkesks, algorithm, decrypt)?;
        match opened.by {
            Some(learned) => {
                self.used = Some(learned.key);
                self.learned = Some(learned);
                Ok(None)
            }
            None => Err(opened.reason()),
        }
    }
}

/// How trying the keys of the keyring ended.
pub(crate) struct Tried {
    /// What opened the message.
    pub(crate) by: Option<Known>,
    /// Whether any key was for the message at all.
    tried: bool,
}

impl Tried {
    /// Why nothing opened it.
    pub(crate) fn reason(&self) -> sequoia_openpgp::anyhow::Error {
        if self.tried {
            sequoia_openpgp::Error::MalformedMessage("session key".into()).into()
        } else {
            NoKey.into()
        }
    }
}

/// Tries each key that a message names as its recipient.
pub(crate) fn try_keys(
    keys: &[DecryptionKey],
    pkesks: &[PKESK],
    algorithm: Option<SymmetricAlgorithm>,
    decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
) -> PgpResult<Tried> {
    let mut tried = false;
    for pkesk in pkesks {
        let Some(recipient) = pkesk.recipient() else {
            continue;
        };
        for (place, own) in keys.iter().enumerate() {
            if !own.key.key_handle().aliases(&recipient) {
                continue;
            }
            tried = true;
            if !is_canonical(pkesk) {
                break;
            }
            let mut pair = own.key.clone().into_keypair()?;
            let Some((algorithm, session_key)) = pkesk.decrypt(&mut pair, algorithm) else {
                continue;
            };
            if decrypt(algorithm, &session_key) {
                let by = Known::new(pkesk.clone(), algorithm, session_key, place);
                return Ok(Tried {
                    by: Some(by),
                    tried,
                });
            }
        }
    }
    Ok(Tried { by: None, tried })
}

/// Whether the ephemeral point of X25519 is written in the one way that senders write it. The
/// function passes over its highest bit (RFC 7748, section 5), so that a message with that bit
/// changed would be opened as if nothing had been.
fn is_canonical(pkesk: &PKESK) -> bool {
    let point: &[u8] = match pkesk.esk() {
        Ciphertext::X25519 { e, .. } => e.as_slice(),
        // Curve25519 of version 4: behind a byte that says so (RFC 9580, section 11.2.1).
        Ciphertext::ECDH { e, .. } if e.value().len() == 33 => e.value(),
        _ => return true,
    };
    point.last().is_some_and(|highest| highest & 0x80 == 0)
}
