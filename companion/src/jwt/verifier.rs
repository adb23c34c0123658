//! Whether a JWT is valid, and whose it is.

use crate::jwt::key::Key;
use crate::jwt::published::Published;
use crate::jwt::settings::JwtSettings;
use crate::jwt::signature;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;
use std::sync::Arc;

/// The longest JWT that is looked at, in bytes.
const LONGEST_JWT: usize = 16 << 10;

/// How far the issuer's clock and ours may be apart, in seconds.
const LEEWAY: u64 = 30;

/// The longest subject, in characters; the database's own limit.
const LONGEST_SUBJECT: usize = 255;

/// Verifies JWTs.
pub(crate) struct Verifier {
    shared: Option<Key>,
    published: Option<Arc<Published>>,
    audience: String,
    issuer: Option<String>,
}

/// What is read of the claims beside that which the library checks.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default, deserialize_with = "time")]
    iat: Option<f64>,
    // The library takes an array too, which RFC 7519 does not have.
    #[serde(default, rename = "iss")]
    _issuer: Option<String>,
}

/// A time that is there; `null` is none, and no time either.
fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(deserializer).map(Some)
}

impl Verifier {
    /// Takes the settings, and begins to read the keys that the issuer publishes.
    ///
    /// # Errors
    /// Where the file of keys cannot be used.
    pub(crate) fn start(settings: JwtSettings) -> anyhow::Result<Self> {
        signature::install();
        let secret = settings.secret.as_ref();
        Ok(Self {
            shared: secret
                .map(|secret| Key::shared(secret.expose()))
                .transpose()?,
            published: settings.published.map(Published::start).transpose()?,
            audience: settings.audience,
            issuer: settings.issuer,
        })
    }

    /// The subject of a JWT, byte for byte, or `None` where it is not valid. Why it is not is for nobody
    /// to know.
    pub(crate) fn subject(&self, token: &str) -> Option<String> {
        if token.len() > LONGEST_JWT {
            return None;
        }
        let header = decode_header(token).ok().filter(is_of_a_jwt)?;
        let name = header.kid.as_deref();
        if let Some(published) = &self.published {
            let keys = published.keys();
            // Each key is for its own algorithm, so what the header says of that can choose among them,
            // and change nothing else.
            let may_be_shared = self.shared.is_some() && header.alg == Algorithm::HS256;
            match keys.find(name) {
                Some(key) if name.is_some() || !may_be_shared => return self.verified(token, key),
                _ if may_be_shared => {}
                _ => {
                    published.look_again();
                    return None;
                }
            }
        }
        self.verified(token, self.shared.as_ref()?)
    }

    fn verified(&self, token: &str, key: &Key) -> Option<String> {
        let claims = decode::<Claims>(token, &key.material, &self.validation(key.algorithm));
        let Claims { sub, iat, .. } = claims.ok()?.claims;
        let latest = get_current_timestamp() + LEEWAY;
        #[allow(clippy::cast_precision_loss)]
        let issued = iat.is_none_or(|at| at <= latest as f64);
        (issued && is_subject(&sub)).then_some(sub)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.audience]);
        let mut required = vec!["exp", "aud", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

/// Whether the header says that this is a JWT, or an access token (RFC 9068), or nothing: issuers sign
/// other things with the same keys, such as notices of logout.
fn is_of_a_jwt(header: &Header) -> bool {
    header.typ.as_deref().is_none_or(|kind| {
        ["jwt", "at+jwt", "application/at+jwt"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known))
    })
}

/// Whether the database takes it for a subject. It checks that again; what it would refuse is answered
/// here as any other token that is not valid.
fn is_subject(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.chars().count() <= LONGEST_SUBJECT
        && !text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}
