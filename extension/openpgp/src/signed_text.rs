//! Texts with the server's signature, which GnuPG and others can check.

use crate::cleartext;
use crate::keyring::{Keyring, SecretKeys};
use crate::open::panic_is;
use crate::packets::is_binary;
use crate::signer::Signer;
use sequoia_openpgp::armor::{Kind, Writer};
use sequoia_openpgp::cert::amalgamation::key::ErasedKeyAmalgamation;
use sequoia_openpgp::cert::amalgamation::{ValidAmalgamation, ValidateAmalgamation};
use sequoia_openpgp::packet::key::PublicParts;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::{Packet, Signature};
use sequoia_openpgp::parse::{Dearmor, PacketParserBuilder, PacketParserResult, Parse};
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use sequoia_openpgp::serialize::Serialize;
use sequoia_openpgp::types::{HashAlgorithm, RevocationStatus, SignatureType};
use sequoia_openpgp::{KeyHandle, Profile, Result as PgpResult};
use std::time::SystemTime;
use thiserror::Error;

/// The longest message with a signed text, in bytes, signature and all.
pub const LONGEST_SIGNED_MESSAGE: usize = 64 << 10;

const HASH: HashAlgorithm = HashAlgorithm::SHA512;

/// Why a text was not signed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SignError {
    /// No key has a part that may sign; the primary one is named.
    #[error(
        "key {0} cannot sign: it has no signing subkey that is valid, nor has another key of the server; add one to it, or make a key with pg-secrets keygen, which has one"
    )]
    NoSigner(String),
    /// The primary key has a part that may sign, but it stays locked; and no other key signs.
    #[error(
        "key {0} cannot sign: its signing subkey stays locked; lock it by the passphrase of the rest of the key, and not with more than 64 MB or 4 passes of Argon2"
    )]
    Locked(String),
    /// The key's validity ended while the server ran.
    #[error("key {0} has expired, and signs no more; extend its validity or put another key first")]
    Expired(String),
    /// The text would not come back from the message as it is.
    #[error(
        "a text with a carriage return, a NUL, a blank at the end of a line or a line of more than 16 kB cannot be signed"
    )]
    Text,
    /// The message would be longer than [`LONGEST_SIGNED_MESSAGE`].
    #[error("the signed text would be longer than {LONGEST_SIGNED_MESSAGE} bytes")]
    TooLong,
    /// The cryptographic library failed, or what it made cannot be verified.
    #[error("the text could not be signed with key {0}")]
    Failed(String),
}

/// Why a message proves nothing. No variant holds anything of it.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum VerifyTextError {
    /// Longer than [`LONGEST_SIGNED_MESSAGE`].
    #[error("the message is longer than {LONGEST_SIGNED_MESSAGE} bytes")]
    TooLong,
    /// Something else than a text with a signature below.
    #[error("it is not a cleartext-signed message")]
    NotSigned,
    /// Something stands there that the signature does not cover.
    #[error("there is text before or after the signed message")]
    Surrounded,
    /// More than one message or more than one signature.
    #[error("there is more than one signed message or signature")]
    Several,
    /// It begins as a signed message, and is none.
    #[error("the signed message is damaged, or not of the form that this server makes")]
    Malformed,
    /// None of the keys made the signature; whose it claims to be, if it says so.
    #[error("the message is not signed by a key of this server{}", named(.0))]
    UnknownSigner(Option<String>),
    /// The text or the signature was changed, or the signature counts for nothing any more: it has
    /// an end of validity, or a hash algorithm that is broken.
    #[error("the signature is bad")]
    BadSignature,
    /// The key, which may be revoked, had no right to sign at the time of the signature.
    #[error("the signature was made with key {0} when that was not valid for signing")]
    SignerInvalid(String),
}

/// A text and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedText {
    /// The text, as it was signed.
    pub text: String,
    /// The fingerprint of the certificate that signed it, in upper-case hex.
    pub fingerprint: String,
    /// When it was signed, as the signature has it.
    pub time: SystemTime,
}

impl Keyring {
    /// A message of the cleartext signature framework (RFC 9580, section 7) with `text` and one
    /// signature. What [`SecretKeys::verify_text`] gives of it is `text` to the byte, with or without
    /// a line feed at its end.
    ///
    /// # Errors
    /// Where no key can sign, and where the text is none that comes back unchanged: see
    /// [`SignError`].
    pub fn sign_text(&self, text: &str) -> Result<String, SignError> {
        let signer = self.signer.as_ref().map_err(SignError::clone)?;
        if !cleartext::is_signable(text) {
            return Err(SignError::Text);
        }
        if text.len() > LONGEST_SIGNED_MESSAGE {
            return Err(SignError::TooLong);
        }
        if signer.expires.is_some_and(|end| end <= SystemTime::now()) {
            return Err(SignError::Expired(signer.fingerprint.clone()));
        }
        let failed = || SignError::Failed(signer.fingerprint.clone());
        let message = panic_is(failed(), || sign(signer, text).map_err(|_| failed()))?;
        if message.len() > LONGEST_SIGNED_MESSAGE {
            return Err(SignError::TooLong);
        }
        // A secret part that is not the one of its public part makes signatures that nobody can
        // verify, and a fault in the computation can give the key away.
        match self.verify_text(&message) {
            Ok(verified) if verified.text == text => Ok(message),
            _ => Err(failed()),
        }
    }
}

impl Keyring {
    /// The fingerprint of the certificate that signs, in upper-case hex; `None` where none can.
    pub fn signer_fingerprint(&self) -> Option<&str> {
        let signer = self.signer.as_ref().ok();
        signer.map(|signer| signer.fingerprint.as_str())
    }
}

impl SecretKeys {
    /// The text of a message that [`Keyring::sign_text`] made with any of the keys, including those
    /// that open no messages. A key that has expired or was superseded since is as good as ever for
    /// what it signed before.
    ///
    /// The message is read in the form in which it was made, apart from these: all line ends may be
    /// CR LF (the text has line feeds nevertheless), and empty lines may follow it.
    ///
    /// # Errors
    /// See [`VerifyTextError`]; on any of them nothing of the text is given out.
    pub fn verify_text(&self, message: &str) -> Result<VerifiedText, VerifyTextError> {
        if message.len() > LONGEST_SIGNED_MESSAGE {
            return Err(VerifyTextError::TooLong);
        }
        panic_is(VerifyTextError::Malformed, || self.verify(message))
    }

    fn verify(&self, message: &str) -> Result<VerifiedText, VerifyTextError> {
        let parts = cleartext::read(message)?;
        let signature = only_signature(&parts.signature)?;
        let named = parts.hash.as_deref();
        if signature.typ() != SignatureType::Text
            || named.is_some_and(|name| signature.hash_algo().text_name().ok() != Some(name))
        {
            return Err(VerifyTextError::Malformed);
        }
        let time = signature
            .signature_creation_time()
            .ok_or(VerifyTextError::Malformed)?;
        let signed = cleartext::canonical(&parts.text);
        let issuers = signature.get_issuers();
        let keys = self.certs.iter().flat_map(|cert| cert.keys());
        let claimed = issuers.first().map(KeyHandle::to_hex);
        let mut reason = VerifyTextError::UnknownSigner(claimed);
        for key in keys {
            let handle = key.key().key_handle();
            if !issuers.iter().any(|issuer| issuer.aliases(&handle)) {
                continue;
            }
            let fingerprint = key.cert().fingerprint().to_hex();
            if signature.verify_message(key.key(), &signed).is_err() || !counts(&signature) {
                reason = VerifyTextError::BadSignature;
            } else if !could_sign(&key, time) {
                reason = VerifyTextError::SignerInvalid(fingerprint);
            } else {
                return Ok(VerifiedText {
                    text: parts.text,
                    fingerprint,
                    time,
                });
            }
        }
        Err(reason)
    }
}

fn named(signer: &Option<String>) -> String {
    let named = |key| format!(", but by the key {key}");
    signer.as_ref().map(named).unwrap_or_default()
}

fn sign(signer: &Signer, text: &str) -> PgpResult<String> {
    let mut pair = signer.key.clone().into_keypair()?;
    let signature = SignatureBuilder::new(SignatureType::Text)
        .set_hash_algo(HASH)
        .sign_message(&mut pair, cleartext::canonical(text))?;
    // What follows version 4 needs neither the header nor a checksum (RFC 9580, sections 6.1 and 7.1).
    let (profile, hash) = match signature.version() {
        4 => (Profile::RFC4880, Some(HASH.text_name()?)),
        _ => (Profile::RFC9580, None),
    };
    let mut armor = Writer::new(Vec::new(), Kind::Signature)?;
    armor.set_profile(profile)?;
    Packet::from(signature).serialize(&mut armor)?;
    let armored = String::from_utf8(armor.finalize()?)?;
    Ok(cleartext::write(text, hash, &armored))
}

/// The signature that `packets` consist of.
fn only_signature(packets: &[u8]) -> Result<Signature, VerifyTextError> {
    let malformed = |_| VerifyTextError::Malformed;
    if !is_binary(packets) {
        return Err(VerifyTextError::Malformed);
    }
    let parsed = PacketParserBuilder::from_bytes(packets)
        .map_err(malformed)?
        .dearmor(Dearmor::Disabled)
        .build()
        .map_err(malformed)?;
    let PacketParserResult::Some(parser) = parsed else {
        return Err(VerifyTextError::Malformed);
    };
    // Nothing else is walked through: it could be compressed.
    if !matches!(parser.packet, Packet::Signature(_)) {
        return Err(VerifyTextError::Malformed);
    }
    match parser.next().map_err(malformed)? {
        (Packet::Signature(signature), PacketParserResult::EOF(_)) => Ok(signature),
        _ => Err(VerifyTextError::Several),
    }
}

/// Whether a signature that is right is worth anything: its algorithms are sound, all of it that is
/// critical is understood, and it is of now.
fn counts(signature: &Signature) -> bool {
    let sound = StandardPolicy::new().signature(signature, HashAlgoSecurity::CollisionResistance);
    sound.is_ok() && signature.signature_alive(None, None).is_ok()
}

/// Whether `key` had the right to sign at `time`.
fn could_sign(key: &ErasedKeyAmalgamation<'_, PublicParts>, time: SystemTime) -> bool {
    let policy = StandardPolicy::new();
    // Extending a key's validity may replace what its owner said of it before, as GnuPG does: then
    // what was said later tells whether the key was valid already.
    let valid = key
        .clone()
        .with_policy(&policy, time)
        .or_else(|_| key.clone().with_policy(&policy, None));
    let Ok(valid) = valid else {
        return false;
    };
    let primary = valid.valid_cert().primary_key();
    let began = [primary.key().creation_time(), valid.key().creation_time()];
    let ends = [primary.key_expiration_time(), valid.key_expiration_time()];
    let revoked = |status| matches!(status, RevocationStatus::Revoked(_));
    valid.for_signing()
        && began.iter().all(|begin| *begin <= time)
        && ends.iter().flatten().all(|end| time < *end)
        && !revoked(valid.valid_cert().revocation_status())
        && !revoked(valid.revocation_status())
}
