//! Signatures, verified by the system's OpenSSL.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::memcmp;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::sign;

/// The shortest RSA key, in bits (RFC 7518, section 3.3).
const SHORTEST_RSA_KEY: i32 = 2048;

/// How many bytes each half of an ES256 signature has (RFC 7518, section 3.4).
const ES256_HALF: usize = 32;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Opened::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has the library verify by what stands here; needed once before anything is verified.
pub(super) fn install() {
    // An error means that it is installed.
    let _ = PROVIDER.install_default();
}

/// Whether a key can verify signatures of this algorithm.
pub(super) fn is_usable(algorithm: Algorithm, key: &DecodingKey) -> bool {
    Opened::new(algorithm, key).is_ok()
}

/// A key as OpenSSL has it.
enum Opened {
    Hs256(PKey<Private>),
    Rs256(PKey<Public>),
    Es256(EcKey<Public>),
}

impl Opened {
    /// # Errors
    /// Where the key is not one for the algorithm.
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        let opened = match (algorithm, key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                PKey::hmac(secret).map(Self::Hs256)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                rsa_key(n, e).map(Self::Rs256)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                ec_key(point).map(Self::Es256)
            }
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        };
        let opened = opened.map_err(|_| ErrorKind::InvalidKeyFormat)?;
        match &opened {
            Self::Rs256(key) if key.bits() < SHORTEST_RSA_KEY.cast_unsigned() => {
                Err(ErrorKind::InvalidKeyFormat.into())
            }
            _ => Ok(opened),
        }
    }

    fn is_signature(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> std::result::Result<bool, ErrorStack> {
        let sha256 = MessageDigest::sha256();
        match self {
            Self::Hs256(key) => {
                let expected = sign::Signer::new(sha256, key)?.sign_oneshot_to_vec(message)?;
                Ok(expected.len() == signature.len() && memcmp::eq(&expected, signature))
            }
            Self::Rs256(key) => {
                sign::Verifier::new(sha256, key)?.verify_oneshot(signature, message)
            }
            Self::Es256(key) => {
                if signature.len() != 2 * ES256_HALF {
                    return Ok(false);
                }
                let (r, s) = signature.split_at(ES256_HALF);
                let (r, s) = (BigNum::from_slice(r)?, BigNum::from_slice(s)?);
                EcdsaSig::from_private_components(r, s)?.verify(&hash(sha256, message)?, key)
            }
        }
    }
}

fn rsa_key(n: &[u8], e: &[u8]) -> std::result::Result<PKey<Public>, ErrorStack> {
    let (n, e) = (BigNum::from_slice(n)?, BigNum::from_slice(e)?);
    PKey::from_rsa(Rsa::from_public_components(n, e)?)
}

/// A point of the curve P-256; one that is not on it is an error.
fn ec_key(point: &[u8]) -> std::result::Result<EcKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, point, &mut context)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key()?;
    Ok(key)
}

impl Verifier<Vec<u8>> for Opened {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        match self.is_signature(message, signature) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Error::new()),
        }
    }
}

impl JwtVerifier for Opened {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::HS256,
            Self::Rs256(_) => Algorithm::RS256,
            Self::Es256(_) => Algorithm::ES256,
        }
    }
}
