//! A key, and the one algorithm that it is for.

use crate::jwt::signature;
use anyhow::{Context, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// A key that verifies JWTs. Which algorithm it does that by is settled when it is read, so that no token
/// can have a public key used as a secret, or none at all.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    /// Overwritten when it is dropped, and shown by no `Debug`.
    pub(super) material: DecodingKey,
}

impl Key {
    /// A secret that is shared with the issuer.
    ///
    /// # Errors
    /// Where it is empty.
    pub(super) fn shared(secret: &[u8]) -> anyhow::Result<Self> {
        Ok(Self {
            algorithm: Algorithm::HS256,
            material: DecodingKey::from_secret(secret)
                .ok()
                .context("the secret is empty")?,
        })
    }

    /// A public key out of a set; `None` where it is for something else than the signatures that are
    /// verified here, as sets hold keys for encryption and for other algorithms too.
    ///
    /// # Errors
    /// Where it is for these signatures and cannot be used: not on its curve, or shorter than 2048 bits.
    pub(super) fn public(jwk: &Jwk) -> anyhow::Result<Option<Self>> {
        let is_for_signatures = matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        );
        let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
            (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
            (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
                if key.curve == EllipticCurve::P256 =>
            {
                Algorithm::ES256
            }
            _ => return Ok(None),
        };
        if !is_for_signatures {
            return Ok(None);
        }
        let material = DecodingKey::from_jwk(jwk)
            .ok()
            .context("a key is not well formed")?;
        ensure!(
            signature::is_usable(algorithm, &material),
            "a key is not valid, or an RSA key shorter than 2048 bits"
        );
        Ok(Some(Self {
            algorithm,
            material,
        }))
    }
}
