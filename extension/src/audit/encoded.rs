//! The form in which a record stands in the ring: numbers in their own width, texts behind their
//! length. The audit worker, which takes it apart, must not fail for it: what is not of this form is
//! refused before it gets there, and once more behind it.

use uuid::Uuid;

/// The columns of a record; texts in the order of [`TEXTS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoded<'t> {
    pub(super) id: Uuid,
    /// Microseconds since 2000.
    pub(super) at: i64,
    pub(super) secret_id: Option<Uuid>,
    pub(super) version: Option<i32>,
    pub(super) texts: [Option<&'t str>; TEXTS],
}

/// How many texts a record has.
pub(super) const TEXTS: usize = 11;

// Where each text stands.
pub(super) const ACTION: usize = 0;
pub(super) const OUTCOME: usize = 1;
pub(super) const ACTOR: usize = 2;
pub(super) const LOGIN: usize = 3;
pub(super) const PROJECT_ID: usize = 4;
pub(super) const NAME: usize = 5;
pub(super) const SERVICE: usize = 6;
pub(super) const CLIENT_ADDRESS: usize = 7;
pub(super) const APPLICATION_NAME: usize = 8;
pub(super) const REQUEST_ID: usize = 9;
pub(super) const DETAIL: usize = 10;

/// The length of a text that is NULL.
const NULL: u16 = u16::MAX;

impl<'t> Encoded<'t> {
    /// Its bytes; `None` where a text is longer than any may be.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.at.to_be_bytes());
        bytes.push(u8::from(self.secret_id.is_some()));
        bytes.extend_from_slice(self.secret_id.unwrap_or_default().as_bytes());
        bytes.push(u8::from(self.version.is_some()));
        bytes.extend_from_slice(&self.version.unwrap_or_default().to_be_bytes());
        for text in self.texts {
            let length = match text {
                Some(text) => u16::try_from(text.len()).ok().filter(|n| *n != NULL)?,
                None => NULL,
            };
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        Some(bytes)
    }

    /// Takes them apart; `None` where they are not of this form to the last byte.
    pub(super) fn from_bytes(bytes: &'t [u8]) -> Option<Self> {
        let mut rest = bytes;
        let id = Uuid::from_bytes(number(&mut rest)?);
        let at = i64::from_be_bytes(number(&mut rest)?);
        let has_secret = flag(&mut rest)?;
        let secret_id = Uuid::from_bytes(number(&mut rest)?);
        let has_version = flag(&mut rest)?;
        let version = i32::from_be_bytes(number(&mut rest)?);
        let mut texts = [None; TEXTS];
        for text in &mut texts {
            let length = u16::from_be_bytes(number(&mut rest)?);
            if length != NULL {
                let (own, others) = rest.split_at_checked(usize::from(length))?;
                // A text of Postgres holds no NUL.
                *text = Some(
                    std::str::from_utf8(own)
                        .ok()
                        .filter(|t| !t.contains('\0'))?,
                );
                rest = others;
            }
        }
        rest.is_empty().then_some(Self {
            id,
            at,
            secret_id: has_secret.then_some(secret_id),
            version: has_version.then_some(version),
            texts,
        })
    }
}

fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (own, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*own)
}

fn flag(rest: &mut &[u8]) -> Option<bool> {
    match number::<1>(rest)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}
