//! The secret keys that the server holds.

use crate::binding::BindingKey;
use sequoia_openpgp::cert::{Cert, Preferences};
use sequoia_openpgp::crypto::Password;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, SecretKeyMaterial, SecretParts, UnspecifiedRole};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::{Features, RevocationStatus};
use sequoia_openpgp::{KeyHandle, cert::CertParser};
use std::time::SystemTime;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why key material cannot be used. The texts say what is wrong and with which key; none holds any
/// of the material.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Neither ASCII armor nor base64 nor a binary OpenPGP key.
    #[error("it is not an OpenPGP key: neither ASCII armor nor base64 of the binary form")]
    Unreadable,
    /// A certificate without its secret part.
    #[error("key {0} is a public key only; the secret key is needed (gpg --export-secret-keys)")]
    PublicOnly(String),
    /// The key is locked, and no passphrase was given.
    #[error("key {0} is locked by a passphrase, and PG_SECRETS_KEY_PASSPHRASE is not set")]
    PassphraseMissing(String),
    /// The key is locked, and the passphrase does not open it.
    #[error("the passphrase does not open key {0}")]
    PassphraseWrong(String),
    /// The key's validity is over.
    #[error("key {0} has expired; extend its validity or put another key first")]
    Expired(String),
    /// The key was revoked by its owner.
    #[error("key {0} is revoked; put another key first")]
    Revoked(String),
    /// No part of the key may encrypt.
    #[error("key {0} has no part that can encrypt")]
    CannotEncrypt(String),
    /// The cryptographic library refused.
    #[error("the key could not be made: {0}")]
    Generate(String),
}

/// A secret key that can open messages, with what derives from it.
pub(crate) struct DecryptionKey {
    pub(crate) key: Key<SecretParts, UnspecifiedRole>,
    pub(crate) binding: BindingKey,
}

/// What sealing needs to know of the primary key.
pub(crate) struct Recipient {
    pub(crate) key: Key<PublicParts, UnspecifiedRole>,
    pub(crate) handle: KeyHandle,
    pub(crate) features: Features,
    pub(crate) binding: BindingKey,
    /// From when on the key may not be used any more.
    pub(crate) expires: Option<SystemTime>,
    /// The certificate's fingerprint, what an operator knows the key by.
    pub(crate) fingerprint: String,
}

/// The keys, parsed: all of them open messages, the first that can encrypt is the primary one.
pub struct Keyring {
    pub(crate) keys: Vec<DecryptionKey>,
    pub(crate) recipient: Recipient,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring(primary {})", self.recipient.fingerprint)
    }
}

impl Keyring {
    /// Parses secret keys: ASCII armor (one block or several), base64 of the binary form, or the
    /// binary form itself. Locked keys are opened with `passphrase`.
    ///
    /// # Errors
    /// Where nothing can be parsed, a key is public only or stays locked, or none can encrypt: the
    /// first reason found, that of the first key.
    pub fn parse(material: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let certs = parse_certs(material)?;
        let mut keys = Vec::new();
        let mut recipient = None;
        let mut reason = None;
        for cert in certs {
            let unlocked = unlock(&cert, passphrase)?;
            match primary_recipient(&cert, &unlocked) {
                Ok(found) if recipient.is_none() => recipient = Some(found),
                Ok(_) => {}
                Err(error) => {
                    reason.get_or_insert(error);
                }
            }
            keys.extend(unlocked);
        }
        match (recipient, reason) {
            (Some(recipient), _) => Ok(Self { keys, recipient }),
            (None, Some(reason)) => Err(reason),
            (None, None) => Err(KeyError::Unreadable),
        }
    }

    /// The fingerprint of the primary key: the one that new values are sealed to.
    pub fn primary_fingerprint(&self) -> &str {
        &self.recipient.fingerprint
    }
}

fn parse_certs(material: &[u8]) -> Result<Vec<Cert>, KeyError> {
    let blocks = match std::str::from_utf8(material) {
        Ok(text) if text.contains("-----BEGIN PGP") => armor_blocks(text),
        Ok(text) => vec![decode_base64(text).ok_or(KeyError::Unreadable)?],
        Err(_) => vec![Zeroizing::new(material.to_vec())],
    };
    let mut certs = Vec::new();
    for block in blocks {
        let parser = CertParser::from_bytes(block.as_slice()).map_err(|_| KeyError::Unreadable)?;
        for cert in parser {
            certs.push(cert.map_err(|_| KeyError::Unreadable)?);
        }
    }
    if certs.is_empty() {
        return Err(KeyError::Unreadable);
    }
    Ok(certs)
}

/// Each armored block of a text by itself: a parser stops at the end of the first one.
fn armor_blocks(text: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut starts: Vec<usize> = text
        .match_indices("-----BEGIN PGP")
        .map(|(at, _)| at)
        .collect();
    starts.push(text.len());
    starts
        .windows(2)
        .map(|pair| Zeroizing::new(text.as_bytes()[pair[0]..pair[1]].to_vec()))
        .collect()
}

fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    use base64::Engine;
    let compact: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    if compact.is_empty() {
        return None;
    }
    base64::engine::general_purpose::STANDARD
        .decode(compact.as_bytes())
        .ok()
        .map(Zeroizing::new)
}

/// Every secret part of `cert` that opens messages, without its passphrase.
fn unlock(cert: &Cert, passphrase: Option<&[u8]>) -> Result<Vec<DecryptionKey>, KeyError> {
    let fingerprint = cert.fingerprint().to_hex();
    if !cert.is_tsk() {
        return Err(KeyError::PublicOnly(fingerprint));
    }
    let mut found = Vec::new();
    for part in cert.keys().secret() {
        if !part.key().pk_algo().for_encryption() {
            continue;
        }
        let mut key = part.key().clone().role_into_unspecified();
        if matches!(key.secret(), SecretKeyMaterial::Encrypted(_)) {
            let passphrase =
                passphrase.ok_or_else(|| KeyError::PassphraseMissing(fingerprint.clone()))?;
            key = key
                .decrypt_secret(&Password::from(passphrase))
                .map_err(|_| KeyError::PassphraseWrong(fingerprint.clone()))?;
        }
        let binding = BindingKey::derive(&key)
            .ok_or_else(|| KeyError::PassphraseMissing(fingerprint.clone()))?;
        found.push(DecryptionKey { key, binding });
    }
    if found.is_empty() {
        // A certificate of which only the signing parts came along.
        return Err(KeyError::CannotEncrypt(fingerprint));
    }
    Ok(found)
}

/// What sealing to `cert` needs, or why one must not seal to it now.
fn primary_recipient(cert: &Cert, unlocked: &[DecryptionKey]) -> Result<Recipient, KeyError> {
    let policy = StandardPolicy::new();
    let fingerprint = cert.fingerprint().to_hex();
    let valid = cert
        .with_policy(&policy, None)
        .map_err(|_| KeyError::CannotEncrypt(fingerprint.clone()))?;
    if matches!(valid.revocation_status(), RevocationStatus::Revoked(_)) {
        return Err(KeyError::Revoked(fingerprint));
    }
    if valid.alive().is_err() {
        return Err(KeyError::Expired(fingerprint));
    }
    let encrypting = || valid.keys().supported().revoked(false);
    let chosen = encrypting()
        .for_storage_encryption()
        .alive()
        .next()
        .or_else(|| encrypting().for_transport_encryption().alive().next())
        .ok_or_else(|| {
            let expired = encrypting()
                .for_storage_encryption()
                .for_transport_encryption()
                .next()
                .is_some();
            if expired {
                KeyError::Expired(fingerprint.clone())
            } else {
                KeyError::CannotEncrypt(fingerprint.clone())
            }
        })?;
    let binding = unlocked
        .iter()
        .find(|own| own.key.fingerprint() == chosen.key().fingerprint())
        .map(|own| own.binding.clone())
        .ok_or_else(|| KeyError::CannotEncrypt(fingerprint.clone()))?;
    let features = valid.features().unwrap_or_else(Features::empty);
    let handle: KeyHandle = if features.supports_seipdv2() {
        chosen.key().fingerprint().into()
    } else {
        chosen.key().keyid().into()
    };
    let expires = [
        valid.primary_key().key_expiration_time(),
        chosen.key_expiration_time(),
    ]
    .into_iter()
    .flatten()
    .min();
    Ok(Recipient {
        key: chosen.key().clone().role_into_unspecified(),
        handle,
        features,
        binding,
        expires,
        fingerprint,
    })
}
