//! Who is calling. The bearer token (RFC 6750) is taken out of the request here. Tokens that the database
//! made are verified by it, in the same statement that does the work; a JWT is verified here, where the
//! service accepts any.

use crate::envelope::RequestId;
use crate::error::{Error, Fault};
use crate::secret_text::SecretText;
use crate::state::AppState;
use crate::transaction::Transaction;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Longer credentials are not worth looking at.
const LONGEST_TOKEN: usize = 16 << 10;

/// Longer ones are not worth asking the database about.
const LONGEST_FOR_DATABASE: usize = 4096;

/// What the tokens begin with that the database makes.
const OF_THE_DATABASE: &str = "pgs_";

/// What the database is handed in place of a JWT that is not valid: no token of its own, so it refuses,
/// in the words and in the time in which it refuses any, and counts it with the others. The JWT itself
/// stays here: it may be valid elsewhere.
const NOT_VALID: &str = "a JWT that is not valid";

/// A request's credential and circumstances. No statement for a route of `/api` can be sent without it.
#[derive(Debug)]
pub(crate) struct Caller {
    /// What the caller brought.
    pub(crate) credential: Credential,
    /// What the audit record says about the request.
    pub(crate) request: RequestContext,
    /// The transaction that its statements belong to, where they are not one each.
    pub(crate) transaction: Option<Arc<Transaction>>,
}

/// What says who calls.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A token that nobody has believed yet: the database verifies it.
    Token(SecretText),
    /// The subject of a JWT that was verified.
    Subject(String),
}

impl Credential {
    /// # Errors
    /// Where it is too long to be a credential.
    fn of(token: SecretText, state: &AppState) -> Result<Self, Error> {
        match &state.jwt {
            Some(verifier) if !token.expose().starts_with(OF_THE_DATABASE) => {
                Ok(match verifier.subject(token.expose()) {
                    Some(subject) => Self::Subject(subject),
                    None => Self::Token(SecretText::new(NOT_VALID.to_owned())),
                })
            }
            _ if token.expose().len() > LONGEST_FOR_DATABASE => Err(Error::unauthenticated()),
            _ => Ok(Self::Token(token)),
        }
    }
}

/// The second argument of `control_plane.authenticate`.
#[derive(Debug, Serialize)]
pub(crate) struct RequestContext {
    request_id: String,
    client_address: IpAddr,
    application_name: &'static str,
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Error> {
        let token = bearer_token(&parts.headers).ok_or_else(Error::unauthenticated)?;
        let request_id = parts.extensions.get::<RequestId>();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let (Some(request_id), Some(ConnectInfo(peer))) = (request_id, peer) else {
            return Err(Error::Internal(Fault::new(
                "a request without id or peer address",
            )));
        };
        Ok(Self {
            credential: Credential::of(token, state)?,
            request: RequestContext {
                request_id: request_id.as_str().to_owned(),
                client_address: peer.ip().to_canonical(),
                application_name: "pg-secrets",
            },
            transaction: parts.extensions.get().cloned(),
        })
    }
}

/// The token of the one Authorization header; `None` where there is none, more than one, or one of
/// another form than `Bearer` and a token (RFC 6750, section 2.1).
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<SecretText> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    let fits = scheme.eq_ignore_ascii_case("bearer")
        && (1..=LONGEST_TOKEN).contains(&token.len())
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    fits.then(|| SecretText::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn token_of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer_token(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn one_well_formed_header_gives_the_token() {
        for value in ["Bearer pgs_a-b", "bearer pgs_a-b", "BEARER   pgs_a-b "] {
            assert_eq!(token_of(&[value]).as_deref(), Some("pgs_a-b"), "{value}");
        }
    }

    #[test]
    fn anything_else_gives_none() {
        let long = format!("Bearer {}", "a".repeat(LONGEST_TOKEN + 1));
        for values in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Basic dTpw"],
            &["pgs_a"],
            &["Bearer a b"],
            &["Bearer a,b"],
            &["Bearer\"a\""],
            &["Bearer a", "Bearer b"],
            &[long.as_str()],
        ] {
            assert_eq!(token_of(values), None, "{values:?}");
        }
    }
}
