//! Certificates to test with.

use pg_secrets_openpgp::Keyring;
use sequoia_openpgp::cert::{Cert, CertBuilder};
use sequoia_openpgp::serialize::SerializeInto;
use std::time::{Duration, SystemTime};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn armored(cert: &Cert) -> String {
    String::from_utf8(cert.as_tsk().armored().to_vec().unwrap()).unwrap()
}

pub(crate) fn keyring(material: &str) -> Keyring {
    Keyring::parse(material.as_bytes(), None).unwrap()
}

pub(crate) fn made(builder: CertBuilder<'_>) -> Cert {
    builder.generate().unwrap().0
}

pub(crate) fn encrypting() -> CertBuilder<'static> {
    CertBuilder::new().add_storage_encryption_subkey()
}

/// A certificate that was made some hours ago.
pub(crate) fn old() -> CertBuilder<'static> {
    encrypting().set_creation_time(SystemTime::now() - HOUR * 8)
}
