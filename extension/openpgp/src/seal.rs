//! From a value to its message.

use crate::binding::Place;
use crate::keyring::Keyring;
use sequoia_openpgp::Packet;
use sequoia_openpgp::packet::Literal;
use sequoia_openpgp::serialize::Serialize;
use sequoia_openpgp::serialize::stream::{Encryptor, Message, Recipient};
use sequoia_openpgp::types::DataFormat;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// A message and the key that opens it.
#[derive(Debug)]
pub struct Sealed {
    /// The OpenPGP message, in binary.
    pub message: Vec<u8>,
    /// The fingerprint of the key (its certificate's), in upper-case hex.
    pub fingerprint: String,
}

/// Why a value could not be sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// The primary key's validity ended while the server ran.
    #[error("key {0} has expired; extend its validity or put another key first")]
    Expired(String),
    /// The cryptographic library failed.
    #[error("the value could not be encrypted to key {0}")]
    Failed(String),
}

impl Keyring {
    /// Seals `value` for its place to the primary key: one public-key packet, one integrity
    /// protected data packet (SEIPDv2 with AEAD for a version 6 key, RFC 9580 section 5.13.2), in it
    /// one literal packet of the binary format that holds the value and nothing else.
    ///
    /// # Errors
    /// Where the key has expired meanwhile, or the library fails.
    pub fn seal(&self, place: Place, value: &[u8]) -> Result<Sealed, SealError> {
        self.seal_named(&self.recipient.binding.file_name(place, value), value)
    }

    /// The same with any file name of the literal packet.
    pub(crate) fn seal_named(&self, file_name: &str, value: &[u8]) -> Result<Sealed, SealError> {
        let to = &self.recipient;
        if to.expires.is_some_and(|end| end <= SystemTime::now()) {
            return Err(SealError::Expired(to.fingerprint.clone()));
        }
        let seal = || -> sequoia_openpgp::Result<Vec<u8>> {
            let mut message = Vec::with_capacity(value.len() + 512);
            let recipient = Recipient::new(to.features.clone(), Some(to.handle.clone()), &to.key);
            let mut encrypted =
                Encryptor::for_recipients(Message::new(&mut message), [recipient]).build()?;
            // Written as a whole: a writer of literal packets would set four megabytes aside.
            let mut literal = Literal::new(DataFormat::Binary);
            literal.set_filename(file_name)?;
            // The row says when it was made; a second time in here would only differ from it.
            literal.set_date(UNIX_EPOCH)?;
            literal.set_body(value.to_vec());
            Packet::from(literal).serialize(&mut encrypted)?;
            encrypted.finalize()?;
            Ok(message)
        };
        let message = seal().map_err(|_| SealError::Failed(to.fingerprint.clone()))?;
        Ok(Sealed {
            message,
            fingerprint: to.fingerprint.clone(),
        })
    }
}
