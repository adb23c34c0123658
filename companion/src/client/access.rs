//! Which companion, and with which token.
//!
//! | variable | meaning |
//! |---|---|
//! | `PG_SECRETS_URL` | the companion's address, in place of the one that login kept |
//! | `PG_SECRETS_TOKEN` | the token, in place of the one that login kept |
//!
//! The token that login kept goes to the address that it was kept for, and to no other.

use crate::client::address;
use crate::client::failure::{Failure, Kind};
use crate::client::login_file;
use crate::secret_text::SecretText;
use clap::Args;
use url::Url;

/// The companion, for every command that asks one.
#[derive(Debug, Args)]
pub struct ConnectionArguments {
    /// Send the token and values over http although they leave this machine
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

/// An address and the token for it.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) url: Url,
    pub(crate) token: SecretText,
}

impl ConnectionArguments {
    /// Takes both from the environment, or else from what login kept.
    ///
    /// # Errors
    /// Where one is missing, where the address must not be given a token, and where the token was kept
    /// for another address.
    pub(crate) fn access(&self) -> Result<Access, Failure> {
        let url = variable("PG_SECRETS_URL")?;
        let token = variable("PG_SECRETS_TOKEN")?.map(SecretText::new);
        let (url, token) = match (url, token) {
            (Some(url), Some(token)) => (address::parse(&url, self.insecure_http)?, token),
            (url, token) => {
                let kept = login_file::read()?.ok_or_else(not_logged_in)?;
                let allowed = self.insecure_http || (url.is_none() && kept.insecure_http);
                let at = address::parse(url.as_deref().unwrap_or(&kept.url), allowed)?;
                if token.is_none() && Url::parse(&kept.url).ok().as_ref() != Some(&at) {
                    return Err(Failure::new(
                        Kind::Denied,
                        "PG_SECRETS_URL names another server than the one that you logged in to, and its token goes nowhere else; set PG_SECRETS_TOKEN too, or log in there",
                    ));
                }
                (at, token.unwrap_or(kept.token))
            }
        };
        Ok(Access { url, token })
    }
}

fn not_logged_in() -> Failure {
    Failure::new(
        Kind::Denied,
        "you are not logged in; run pg-secrets login, or set PG_SECRETS_URL and PG_SECRETS_TOKEN",
    )
}

/// A variable of the environment; one that is empty counts as not set.
///
/// # Errors
/// Where it is not UTF-8.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::new(Kind::Usage, format!("{name} is not UTF-8")))
        }
    }
}
