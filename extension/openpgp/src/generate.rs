//! New keys.

use crate::keyring::KeyError;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::Features;
use zeroize::Zeroizing;

/// Which kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Version 6 (RFC 9580): X25519, SEIPDv2 with AEAD.
    Rfc9580,
    /// Version 4 (RFC 4880): Curve25519 in the form that GnuPG 2.2 reads.
    Rfc4880,
}

/// Makes a secret key with one part that signs and one that encrypts, without passphrase and
/// without an end of validity, as ASCII armor.
///
/// # Errors
/// Where the library has no randomness or does not know the algorithms.
pub fn generate(profile: Profile, user_id: &str) -> Result<Zeroizing<String>, KeyError> {
    let failed = |error: sequoia_openpgp::anyhow::Error| KeyError::Generate(error.to_string());
    let (profile, features) = match profile {
        Profile::Rfc9580 => (sequoia_openpgp::Profile::RFC9580, Features::sequoia()),
        // What GnuPG 2.2 knows, and no more: a key that promises SEIPDv2 is sent it.
        Profile::Rfc4880 => (
            sequoia_openpgp::Profile::RFC4880,
            Features::empty().set_seipdv1(),
        ),
    };
    let (cert, _revocation) = CertBuilder::new()
        .set_profile(profile)
        .map_err(failed)?
        .set_features(features)
        .map_err(failed)?
        .set_cipher_suite(CipherSuite::Cv25519)
        .add_userid(user_id)
        .set_validity_period(None)
        .add_signing_subkey()
        .add_storage_encryption_subkey()
        .generate()
        .map_err(failed)?;
    let armored = cert.as_tsk().armored().to_vec().map_err(failed)?;
    String::from_utf8(armored)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Generate("armor is not text".to_owned()))
}
