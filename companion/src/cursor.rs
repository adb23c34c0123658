//! Where the next page of a list begins, as one opaque word: the last row's id and its name, in base64
//! for URLs (RFC 4648, section 5).

use crate::error::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The place behind the row of this name and id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) name: String,
    pub(crate) id: Uuid,
}

impl Cursor {
    /// The word that a client sends back.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode([self.id.as_bytes(), self.name.as_bytes()].concat())
    }

    /// What a client sent back.
    ///
    /// # Errors
    /// Where it is no such word.
    pub(crate) fn decode(word: &str) -> Result<Self, Error> {
        let decode = || {
            let bytes = URL_SAFE_NO_PAD.decode(word).ok()?;
            let (id, name) = bytes.split_at_checked(16)?;
            let name = std::str::from_utf8(name).ok()?;
            // Postgres has no text with a zero byte.
            (!name.is_empty() && !name.contains('\0')).then_some(Self {
                name: name.to_owned(),
                id: Uuid::from_slice(id).ok()?,
            })
        };
        decode().ok_or_else(|| {
            Error::bad_request("cursor is not a next_cursor that this service answered")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for name in ["a", "stripe/key ?&=+", "\u{e4}\u{1f511}"] {
            let cursor = Cursor {
                name: name.to_owned(),
                id: Uuid::from_u128(7),
            };
            let word = cursor.encode();
            assert!(
                word.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            assert_eq!(Cursor::decode(&word).unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let short = URL_SAFE_NO_PAD.encode([0; 16]);
        let zero = URL_SAFE_NO_PAD.encode([0; 20]);
        let latin = URL_SAFE_NO_PAD.encode([255; 20]);
        for word in ["", "a", "%%%", &short, &zero, &latin] {
            assert!(Cursor::decode(word).is_err(), "{word}");
        }
    }
}
