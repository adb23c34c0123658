//! The secret part that the server signs with.

use crate::keyring::{MOST_KEYS, unlock_part};
use crate::signed_text::SignError;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{SecretParts, UnspecifiedRole};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::RevocationStatus;
use std::time::SystemTime;

/// A secret key that can sign.
pub(crate) struct Signer {
    pub(crate) key: Key<SecretParts, UnspecifiedRole>,
    /// From when on it may not sign any more.
    pub(crate) expires: Option<SystemTime>,
    /// The certificate's fingerprint.
    pub(crate) fingerprint: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.fingerprint)
    }
}

impl Signer {
    /// A signing part of the certificate with the fingerprint `primary`; where it has none that can
    /// be unlocked, of the first other certificate that has one. The error speaks of the primary
    /// certificate: it is the one that an operator looks after.
    pub(crate) fn find(
        certs: &[Cert],
        primary: &str,
        passphrase: Option<&[u8]>,
    ) -> Result<Self, SignError> {
        let is_primary = |cert: &&Cert| cert.fingerprint().to_hex() == primary;
        let others = certs.iter().filter(|cert| !is_primary(cert));
        let ordered = certs.iter().filter(is_primary).chain(others);
        let mut locked = None;
        for part in ordered.flat_map(signing_parts).take(MOST_KEYS) {
            let Ok(key) = unlock_part(&part.key, &part.fingerprint, passphrase) else {
                locked = locked.or(Some(part.fingerprint));
                continue;
            };
            return Ok(Self { key, ..part });
        }
        Err(match locked {
            Some(fingerprint) if fingerprint == primary => SignError::Locked(fingerprint),
            _ => SignError::NoSigner(primary.to_owned()),
        })
    }
}

/// Every secret part of `cert` that may sign now, still locked if it is.
fn signing_parts(cert: &Cert) -> Vec<Signer> {
    let policy = StandardPolicy::new();
    let Ok(valid) = cert.with_policy(&policy, None) else {
        return Vec::new();
    };
    let revoked = matches!(valid.revocation_status(), RevocationStatus::Revoked(_));
    if revoked || valid.alive().is_err() {
        return Vec::new();
    }
    let parts = valid.keys().supported().alive().revoked(false);
    parts
        .for_signing()
        .secret()
        .map(|part| Signer {
            key: part.key().clone().role_into_unspecified(),
            expires: [
                valid.primary_key().key_expiration_time(),
                part.key_expiration_time(),
            ]
            .into_iter()
            .flatten()
            .min(),
            fingerprint: cert.fingerprint().to_hex(),
        })
        .collect()
}
