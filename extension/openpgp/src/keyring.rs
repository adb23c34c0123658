//! The secret keys that the server holds.

use crate::binding::{BindingKey, Place};
use crate::material;
use crate::open::panic_is;
use crate::signed_text::SignError;
use crate::signer::Signer;
use sequoia_openpgp::cert::{Cert, Preferences};
use sequoia_openpgp::crypto::{Password, S2K};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, SecretKeyMaterial, SecretParts, UnspecifiedRole};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::{Features, RevocationStatus};
use sequoia_openpgp::{Fingerprint, KeyHandle};
use std::ops::Deref;
use std::time::SystemTime;
use thiserror::Error;
use uuid::Uuid;

/// Why key material cannot be used. The texts say what is wrong and with which key; none holds any
/// of the material.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Neither ASCII armor nor base64 nor a binary OpenPGP key.
    #[error("it is not an OpenPGP key: neither ASCII armor nor base64 of the binary form")]
    Unreadable,
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// One of several armored keys, counted from 1, is damaged.
    #[error(
        "block {0} of it is damaged: it begins as a key in ASCII armor, and cannot be read to its end"
    )]
    DamagedBlock(usize),
    /// A certificate without its secret part.
    #[error("key {0} is a public key only; the secret key is needed (gpg --export-secret-keys)")]
    PublicOnly(String),
    /// The key is locked, and no passphrase was given.
    #[error("key {0} is locked by a passphrase, and PG_SECRETS_KEY_PASSPHRASE is not set")]
    PassphraseMissing(String),
    /// The key is locked, and the passphrase does not open it.
    #[error("the passphrase does not open key {0}")]
    PassphraseWrong(String),
    /// Unlocking would take more memory or time than a server may spend on it.
    #[error(
        "key {0} is locked by Argon2 with more than 64 MB or 4 passes; lock it anew with less, or by an iterated hash as gpg does"
    )]
    LockedTooHard(String),
    /// More keys than anybody needs.
    #[error("there are more than {MOST_KEYS} keys in it")]
    TooMany,
    /// The key's validity is over.
    #[error("key {0} has expired; extend its validity or put another key first")]
    Expired(String),
    /// The key was revoked by its owner.
    #[error("key {0} is revoked; put another key first")]
    Revoked(String),
    /// No part of the key may encrypt.
    #[error("key {0} has no part that can encrypt")]
    CannotEncrypt(String),
    /// What the public part seals, the secret part does not open.
    #[error("key {0} does not open what is encrypted to it: its secret part is damaged")]
    Mismatched(String),
    /// The cryptographic library refused.
    #[error("the key could not be made: {0}")]
    Generate(String),
}

/// How many keys are read, all their encrypting parts together; one that is locked takes a tenth of a
/// second, and every process of the server takes it. As many parts are tried until one signs.
pub(crate) const MOST_KEYS: usize = 32;

/// How many passes of Argon2 a locked key may ask for.
const MOST_PASSES: u8 = 4;

/// How much memory, as the power of two of kibibytes: 64 MiB.
const MOST_MEMORY: u8 = 16;

/// A secret key that can open messages, with what derives from it.
pub(crate) struct DecryptionKey {
    pub(crate) key: Key<SecretParts, UnspecifiedRole>,
    pub(crate) binding: BindingKey,
    /// The certificate's fingerprint.
    pub(crate) fingerprint: String,
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

/// What an operator wants to know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// The certificate's fingerprint, in upper-case hex.
    pub fingerprint: String,
    /// What it encrypts with, and the version of OpenPGP that it is written in.
    pub algorithm: String,
    /// When it was made.
    pub created: SystemTime,
}

/// Secret keys, parsed: they open messages, whatever has become of their validity meanwhile.
pub struct SecretKeys {
    pub(crate) keys: Vec<DecryptionKey>,
    /// Every certificate, without its secret parts; also one that opens nothing.
    pub(crate) certs: Vec<Cert>,
    descriptions: Vec<KeyDescription>,
}

/// The keys of a server: all of them open messages, the first that can encrypt is the primary one.
pub struct Keyring {
    secret_keys: SecretKeys,
    pub(crate) recipient: Recipient,
    /// What signs, or why nothing does.
    pub(crate) signer: Result<Signer, SignError>,
}

impl std::fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKeys({})", self.descriptions.len())
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring(primary {})", self.recipient.fingerprint)
    }
}

impl Deref for Keyring {
    type Target = SecretKeys;

    fn deref(&self) -> &SecretKeys {
        &self.secret_keys
    }
}

impl SecretKeys {
    /// Parses secret keys: ASCII armor (one block or several), base64 of the binary form, or the
    /// binary form itself. Locked keys are opened with `passphrase`. A key of which only signing
    /// parts are there opens nothing, and is passed over.
    ///
    /// # Errors
    /// Where nothing can be parsed, a key is public only or stays locked, or none opens messages.
    pub fn parse(material: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        panic_is(KeyError::Unreadable, || {
            Self::unlock_all(material::parse(material)?, passphrase, |_, _| ())
        })
    }

    /// Unlocks the certificates, and lets `look` see each of them with its secret parts.
    fn unlock_all(
        certs: Vec<Cert>,
        passphrase: Option<&[u8]>,
        mut look: impl FnMut(&Cert, &[DecryptionKey]),
    ) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        let mut descriptions = Vec::new();
        let mut without = None;
        let parts: usize = certs
            .iter()
            .map(|cert| encrypting_parts(cert).count())
            .sum();
        if parts > MOST_KEYS {
            return Err(KeyError::TooMany);
        }
        for cert in &certs {
            let unlocked = unlock(cert, passphrase)?;
            look(cert, &unlocked);
            match unlocked.first() {
                Some(first) => descriptions.push(describe(cert, first)),
                None => without = without.or_else(|| Some(cert.fingerprint().to_hex())),
            }
            keys.extend(unlocked);
        }
        match without {
            Some(fingerprint) if keys.is_empty() => Err(KeyError::CannotEncrypt(fingerprint)),
            _ => Ok(Self {
                keys,
                certs: certs
                    .into_iter()
                    .map(Cert::strip_secret_key_material)
                    .collect(),
                descriptions,
            }),
        }
    }

    /// Every key that opens messages, in the order in which they were given.
    pub fn keys(&self) -> &[KeyDescription] {
        &self.descriptions
    }
}

impl Keyring {
    /// Parses as [`SecretKeys::parse`] does, and finds the primary key and the part that signs. That
    /// there is none of the latter is no error before something is to be signed.
    ///
    /// # Errors
    /// As there, and where none of the keys can encrypt: the first reason found, that of the first
    /// key. Also where the primary key does not open what it seals: nothing must ever be stored that
    /// cannot be read again.
    pub fn parse(material: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        panic_is(KeyError::Unreadable, || {
            let mut recipient = Err(KeyError::Unreadable);
            let mut first = true;
            let certs = material::parse(material)?;
            let look = |cert: &Cert, unlocked: &[DecryptionKey]| {
                if recipient.is_err() {
                    let found = primary_recipient(cert, unlocked);
                    if found.is_ok() || first {
                        recipient = found;
                    }
                    first = false;
                }
            };
            let secret_keys = SecretKeys::unlock_all(certs.clone(), passphrase, look)?;
            let recipient = recipient?;
            let keyring = Self {
                signer: Signer::find(&certs, &recipient.fingerprint, passphrase),
                secret_keys,
                recipient,
            };
            keyring.check_primary()?;
            Ok(keyring)
        })
    }

    fn check_primary(&self) -> Result<(), KeyError> {
        let place = Place::version(Uuid::nil());
        let probe = b"probe";
        let opens = self.seal(place, probe).is_ok_and(|sealed| {
            let opened = self.open(place, &sealed.message, probe.len());
            opened.is_ok_and(|value| value.as_slice() == probe)
        });
        if opens {
            Ok(())
        } else {
            Err(KeyError::Mismatched(self.recipient.fingerprint.clone()))
        }
    }

    /// The fingerprint of the primary key: the one that new values are sealed to.
    pub fn primary_fingerprint(&self) -> &str {
        &self.recipient.fingerprint
    }
}

fn describe(cert: &Cert, first: &DecryptionKey) -> KeyDescription {
    KeyDescription {
        fingerprint: cert.fingerprint().to_hex(),
        algorithm: format!(
            "{} (OpenPGP version {})",
            first.key.pk_algo(),
            match cert.fingerprint() {
                Fingerprint::V6(_) => "6",
                Fingerprint::V4(_) => "4",
                _ => "unknown",
            }
        ),
        created: cert.primary_key().key().creation_time(),
    }
}

/// Every secret part of `cert` that opens messages, still locked if it is.
fn encrypting_parts(cert: &Cert) -> impl Iterator<Item = &Key<SecretParts, UnspecifiedRole>> {
    let parts = cert.keys().secret().map(|part| part.key());
    parts
        .filter(|key| key.pk_algo().for_encryption())
        .map(|key| key.role_as_unspecified())
}

/// Every secret part of `cert` that opens messages, without its passphrase.
fn unlock(cert: &Cert, passphrase: Option<&[u8]>) -> Result<Vec<DecryptionKey>, KeyError> {
    let fingerprint = cert.fingerprint().to_hex();
    if !cert.is_tsk() {
        return Err(KeyError::PublicOnly(fingerprint));
    }
    let mut found = Vec::new();
    for part in encrypting_parts(cert) {
        let key = unlock_part(part, &fingerprint, passphrase)?;
        let binding = BindingKey::derive(&key)
            .ok_or_else(|| KeyError::PassphraseMissing(fingerprint.clone()))?;
        found.push(DecryptionKey {
            key,
            binding,
            fingerprint: fingerprint.clone(),
        });
    }
    Ok(found)
}

/// One secret part of the certificate with this fingerprint, without its passphrase.
pub(crate) fn unlock_part(
    part: &Key<SecretParts, UnspecifiedRole>,
    fingerprint: &str,
    passphrase: Option<&[u8]>,
) -> Result<Key<SecretParts, UnspecifiedRole>, KeyError> {
    let SecretKeyMaterial::Encrypted(locked) = part.secret() else {
        return Ok(part.clone());
    };
    if !is_affordable(locked.s2k()) {
        return Err(KeyError::LockedTooHard(fingerprint.to_owned()));
    }
    let passphrase =
        passphrase.ok_or_else(|| KeyError::PassphraseMissing(fingerprint.to_owned()))?;
    part.clone()
        .decrypt_secret(&Password::from(passphrase))
        .map_err(|_| KeyError::PassphraseWrong(fingerprint.to_owned()))
}

/// Whether a locked key may be unlocked here: the postmaster does so, and each of its children with a
/// reload. The key itself says how much that takes (RFC 9580, section 3.7.1).
fn is_affordable(s2k: &S2K) -> bool {
    match s2k {
        S2K::Argon2 { t, m, .. } => *t <= MOST_PASSES && *m <= MOST_MEMORY,
        _ => true,
    }
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
