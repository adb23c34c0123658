//! From a message back to its value.

use crate::binding::BindingKey;
use crate::keyring::{DecryptionKey, Keyring};
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::{PKESK, Packet, SKESK};
use sequoia_openpgp::parse::stream::{
    DecryptionHelper, DecryptorBuilder, MessageLayer, MessageStructure, VerificationHelper,
};
use sequoia_openpgp::parse::{PacketParser, Parse};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp::{Cert, KeyHandle, Result as PgpResult};
use std::io::Read;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Why a message was not opened. No variant holds anything of the value.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// None of the keys opens it.
    #[error("no key of the keyring opens the message")]
    NoKey,
    /// Not an encrypted OpenPGP message of the form that [`Keyring::seal`] makes, or changed.
    #[error("the message is damaged or not one of ours")]
    Malformed,
    /// A sound message, but made for another row, or without the secret key.
    #[error("the message does not belong to this row, or was not made by this server")]
    NotBound,
    /// The value is longer than the caller allows.
    #[error("the value is longer than {0} bytes")]
    TooLong(usize),
}

impl Keyring {
    /// Opens `message`, which must have been sealed for the row `row`, and gives the value of at
    /// most `limit` bytes.
    ///
    /// # Errors
    /// See [`OpenError`]; on any of them nothing of the plaintext is given out.
    pub fn open(
        &self,
        row: Uuid,
        message: &[u8],
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let policy = StandardPolicy::new();
        let helper = Helper {
            keys: &self.keys,
            used: None,
            tried: false,
            file_name: None,
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
        match (helper.used, helper.file_name) {
            (Some(binding), Some(name)) if binding.matches(&name, row, &value) => Ok(value),
            (Some(_), _) => Err(OpenError::NotBound),
            (None, _) => Err(OpenError::Malformed),
        }
    }
}

#[derive(Debug, Error)]
#[error("no key")]
struct NoKey;

struct Helper<'k> {
    keys: &'k [DecryptionKey],
    used: Option<BindingKey>,
    tried: bool,
    file_name: Option<Zeroizing<Vec<u8>>>,
}

impl VerificationHelper for Helper<'_> {
    fn inspect(&mut self, parser: &PacketParser<'_>) -> PgpResult<()> {
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
        for pkesk in pkesks {
            let Some(recipient) = pkesk.recipient() else {
                continue;
            };
            for own in self.keys {
                if !own.key.key_handle().aliases(&recipient) {
                    continue;
                }
                self.tried = true;
                let mut pair = own.key.clone().into_keypair()?;
                let opened = pkesk
                    .decrypt(&mut pair, algorithm)
                    .is_some_and(|(algorithm, session_key)| decrypt(algorithm, &session_key));
                if opened {
                    self.used = Some(own.binding.clone());
                    return Ok(None);
                }
            }
        }
        if self.tried {
            Err(sequoia_openpgp::Error::MalformedMessage("session key".into()).into())
        } else {
            Err(NoKey.into())
        }
    }
}
