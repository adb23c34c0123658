//! Text that must not be seen: secret values, bearer tokens, webhook signing secrets.

use bytes::BytesMut;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use zeroize::Zeroizing;

/// A secret as text. Its memory is overwritten when it is dropped, its `Debug` prints
/// `[redacted]`, and it has neither `Display` nor `Serialize`: the one way into an answer is
/// [`Revealed`].
///
/// tokio-postgres prints a statement's parameters at level debug; a parameter of this type shows
/// nothing there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over without a copy.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every call is a place where a secret could get out.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    /// One copy out of the request's buffer. A text with escapes passes through a buffer of
    /// serde_json too, which is freed without being overwritten.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = SecretText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText::new(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<SecretText, E> {
                Ok(SecretText::new(text))
            }
        }

        deserializer.deserialize_string(Text)
    }
}

impl ToSql for SecretText {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.expose().to_sql(kind, out)
    }

    accepts!(TEXT, VARCHAR);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for SecretText {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        String::from_sql(kind, raw).map(Self::new)
    }

    accepts!(TEXT, VARCHAR);
}

/// A secret that is meant to stand in an answer.
pub(crate) struct Revealed<'a>(&'a SecretText);

impl<'a> Revealed<'a> {
    /// For what is written without a field of its own.
    pub(crate) fn of(secret: &'a SecretText) -> Self {
        Self(secret)
    }

    /// For `#[serde(serialize_with)]` of a field that an answer is to show.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize_field<S: Serializer>(
        secret: &'a SecretText,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Self(secret).serialize(serializer)
    }
}

impl Serialize for Revealed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        value: SecretText,
    }

    #[test]
    fn debug_shows_nothing_of_it_wherever_it_is_nested() {
        let holder = Holder {
            value: SecretText::new("hunter2".to_owned()),
        };
        let shown = format!("{holder:?} {holder:#?} {:?}", Some(&holder.value));
        assert!(!shown.contains("hunter2"));
        assert_eq!(shown.matches("[redacted]").count(), 3);
    }

    #[test]
    fn it_reads_plain_and_escaped_text_and_nothing_else() {
        for (json, text) in [
            (r#"{"value":"plain"}"#, "plain"),
            (r#"{"value":""}"#, ""),
            (r#"{"value":"a\"b\u00e4\n"}"#, "a\"b\u{e4}\n"),
        ] {
            let holder: Holder = serde_json::from_str(json).unwrap();
            assert_eq!(holder.value.expose(), text);
        }
        for json in [r#"{"value":1}"#, r#"{"value":null}"#, r#"{"value":["a"]}"#] {
            assert!(serde_json::from_str::<Holder>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn only_revealed_puts_it_into_json() {
        #[derive(Serialize)]
        struct Answer {
            #[serde(serialize_with = "Revealed::serialize_field")]
            value: SecretText,
        }
        let answer = Answer {
            value: SecretText::new("a\"b".to_owned()),
        };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"value":"a\"b"}"#
        );
    }
}
