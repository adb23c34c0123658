//! What ties a message to its row.
//!
//! The literal packet's file name (RFC 9580, section 5.9) holds the row's id and a MAC over kind and id
//! of the row and the value. The MAC's key is derived from the secret key, so that a message made by somebody who has
//! only the public key is refused, and so is a message that was moved to another row. The file
//! name lies inside the encryption; an ordinary OpenPGP program ignores it and prints the value.

use hmac::{Hmac, KeyInit, Mac};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{SecretKeyMaterial, SecretParts, UnspecifiedRole};
use sequoia_openpgp::serialize::MarshalInto;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Separates this use of the secret key from every other one.
const KEY_LABEL: &[u8] = b"pg_secrets binding key, version 1";
const MESSAGE_LABEL: &[u8] = b"pg_secrets row, version 1";
const REQUEST_LABEL: &[u8] = b"pg_secrets request, version 1";

/// The place of a message: the row that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What the row is.
    pub kind: PlaceKind,
    /// Its id, unique among those of its kind.
    pub id: Uuid,
}

/// What a row with a message is: a message of one kind is none of the other, whatever their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// A version of a secret.
    Version,
    /// A webhook endpoint with its signing secret.
    Endpoint,
}

impl PlaceKind {
    /// Goes into the MAC; never changed, or no message could be read any more.
    const fn label(self) -> &'static [u8] {
        match self {
            PlaceKind::Version => b"version",
            PlaceKind::Endpoint => b"endpoint",
        }
    }
}

impl Place {
    /// The version of a secret with this id.
    pub const fn version(id: Uuid) -> Self {
        Self {
            kind: PlaceKind::Version,
            id,
        }
    }

    /// The endpoint with this id.
    pub const fn endpoint(id: Uuid) -> Self {
        Self {
            kind: PlaceKind::Endpoint,
            id,
        }
    }

    /// The rows that a file name may stand for; which one it is, if any, the MAC says.
    pub(crate) fn named(file_name: &[u8]) -> Option<[Self; 2]> {
        let id = Uuid::try_parse_ascii(file_name.get(..36)?).ok()?;
        Some([Self::version(id), Self::endpoint(id)])
    }
}

/// The key of the MAC, derived from one secret encryption key.
#[derive(Clone)]
pub(crate) struct BindingKey(Zeroizing<[u8; 32]>);

impl BindingKey {
    /// Derives the key. `None` if the secret key is still locked by a passphrase.
    pub(crate) fn derive(key: &Key<SecretParts, UnspecifiedRole>) -> Option<Self> {
        let SecretKeyMaterial::Unencrypted(secret) = key.secret() else {
            return None;
        };
        let serialized = secret.map(|mpis| mpis.to_vec()).ok().map(Zeroizing::new)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&serialized).ok()?;
        mac.update(KEY_LABEL);
        Some(Self(Zeroizing::new(mac.finalize().into_bytes().into())))
    }

    fn mac(&self, place: Place, value: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes a key of any length");
        mac.update(MESSAGE_LABEL);
        mac.update(place.kind.label());
        mac.update(place.id.as_bytes());
        mac.update(value);
        mac
    }

    /// A hash of a request that nobody can check guesses against who has not the secret key.
    pub(crate) fn of_request(&self, request: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes a key of any length");
        mac.update(REQUEST_LABEL);
        mac.update(request);
        mac.finalize().into_bytes().into()
    }

    /// The file name for `value` in `place`: id, a dot, the MAC in hex. 101 bytes of ASCII, so
    /// within the 255 that the packet allows.
    pub(crate) fn file_name(&self, place: Place, value: &[u8]) -> String {
        let tag = self.mac(place, value).finalize().into_bytes();
        let mut name = format!("{}.", place.id.hyphenated());
        for byte in tag {
            name.push_str(&format!("{byte:02x}"));
        }
        name
    }

    /// Whether `file_name` was made by [`Self::file_name`] for this place and value; in constant
    /// time as far as the MAC is concerned.
    pub(crate) fn matches(&self, file_name: &[u8], place: Place, value: &[u8]) -> bool {
        let prefix = format!("{}.", place.id.hyphenated());
        let Some(hex) = file_name.strip_prefix(prefix.as_bytes()) else {
            return false;
        };
        let Some(tag) = decode_hex(hex) else {
            return false;
        };
        self.mac(place, value).verify_slice(&tag).is_ok()
    }
}

fn decode_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(hex).ok()?;
    if !text.is_ascii() || text.len() % 2 != 0 {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
