//! Whose JWTs are accepted, and with which keys. None are, unless there is a key.
//!
//! | variable | flag | meaning |
//! |---|---|---|
//! | `PG_SECRETS_JWT_SECRET` | none | the secret of at least 32 bytes that the issuer signs with by HS256 |
//! | `PG_SECRETS_JWT_SECRET_FILE` | none | a file with it, whose line ends do not count; where the other one is not set |
//! | `PG_SECRETS_JWKS` | `--jwks` | the issuer's public keys (RFC 7517) for RS256 and ES256: a file, or an https URL |
//! | `PG_SECRETS_JWT_AUDIENCE` | `--jwt-audience` | what `aud` must be or contain; required |
//! | `PG_SECRETS_JWT_ISSUER` | `--jwt-issuer` | what `iss` must be; unset: anything, or nothing |

use crate::jwt::published::Source;
use anyhow::{Context, bail, ensure};
use clap::Args;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use zeroize::Zeroizing;

const SECRET: &str = "PG_SECRETS_JWT_SECRET";
const SECRET_FILE: &str = "PG_SECRETS_JWT_SECRET_FILE";

/// The shortest secret for HS256, in bytes (RFC 7518, section 3.2).
const SHORTEST_SECRET: usize = 32;

/// The longest secret that is read, in bytes.
const LONGEST_SECRET: usize = 4096;

/// The flags of `pg-secrets serve` about JWTs. The shared secret comes by the environment alone: arguments
/// can be seen by every user of the machine.
#[derive(Debug, Args)]
pub(crate) struct JwtArguments {
    /// Accept JWTs too that are signed by one of these keys with RS256 or ES256: a file of public keys
    /// (JWKS), or its https URL. A secret for HS256 goes into the variable PG_SECRETS_JWT_SECRET, or into
    /// the file that PG_SECRETS_JWT_SECRET_FILE names
    #[arg(long, env = "PG_SECRETS_JWKS", value_name = "FILE OR URL")]
    jwks: Option<String>,
    /// What the aud of a JWT must be or contain; required where JWTs are accepted
    #[arg(long, env = "PG_SECRETS_JWT_AUDIENCE", value_name = "TEXT")]
    jwt_audience: Option<String>,
    /// What the iss of a JWT must be; unset: anything
    #[arg(long, env = "PG_SECRETS_JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,
}

/// What a JWT is checked by.
#[derive(Debug)]
pub(crate) struct JwtSettings {
    pub(super) secret: Option<SharedSecret>,
    pub(super) published: Option<Source>,
    pub(super) audience: String,
    pub(super) issuer: Option<String>,
}

/// The secret for HS256. Its memory is overwritten when it is dropped.
pub(super) struct SharedSecret(Zeroizing<Vec<u8>>);

impl SharedSecret {
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// # Errors
    /// Where it is so short that it could be found by trying, or longer than any. The text quotes nothing
    /// of it.
    fn new(secret: Zeroizing<Vec<u8>>) -> anyhow::Result<Self> {
        ensure!(
            (SHORTEST_SECRET..=LONGEST_SECRET).contains(&secret.len()),
            "{SECRET} must have {SHORTEST_SECRET} to {LONGEST_SECRET} bytes"
        );
        Ok(Self(secret))
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl JwtArguments {
    /// The settings, or `None` where no JWT is accepted.
    ///
    /// # Errors
    /// Where one is missing, makes no sense, or stands there without the key that it is for: whoever sets
    /// an audience expects it to be checked.
    pub(crate) fn settings(self) -> anyhow::Result<Option<JwtSettings>> {
        let not_empty = |text: &String| !text.is_empty();
        let secret = secret()?;
        let published = self.jwks.filter(not_empty);
        let audience = self.jwt_audience.filter(not_empty);
        let issuer = self.jwt_issuer.filter(not_empty);
        if secret.is_none() && published.is_none() {
            ensure!(
                audience.is_none() && issuer.is_none(),
                "--jwt-audience and --jwt-issuer need --jwks / PG_SECRETS_JWKS, {SECRET} or {SECRET_FILE}"
            );
            return Ok(None);
        }
        let Some(audience) = audience else {
            bail!(
                "--jwt-audience / PG_SECRETS_JWT_AUDIENCE is required where JWTs are accepted: a token for another service must not work here"
            );
        };
        Ok(Some(JwtSettings {
            secret,
            published: published
                .map(|source| source.parse().context("--jwks / PG_SECRETS_JWKS"))
                .transpose()?,
            audience,
            issuer,
        }))
    }
}

/// The shared secret; a variable that is empty counts as not set.
fn secret() -> anyhow::Result<Option<SharedSecret>> {
    let variable = |name| std::env::var_os(name).filter(|text| !text.is_empty());
    if let Some(text) = variable(SECRET) {
        let secret = Zeroizing::new(OsString::into_vec(text));
        return SharedSecret::new(secret).map(Some);
    }
    let Some(path) = variable(SECRET_FILE) else {
        return Ok(None);
    };
    let mut secret = content(Path::new(&path)).context(SECRET_FILE)?;
    while matches!(secret.last(), Some(b'\n' | b'\r')) {
        secret.pop();
    }
    SharedSecret::new(secret).map(Some)
}

fn content(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let cannot = || format!("{} cannot be read", path.display());
    // Room for all of it at once: growing would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(LONGEST_SECRET + 3));
    File::open(path)
        .with_context(cannot)?
        .take(LONGEST_SECRET as u64 + 3)
        .read_to_end(&mut content)
        .with_context(cannot)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(jwks: &str, audience: &str, issuer: &str) -> JwtArguments {
        JwtArguments {
            jwks: Some(jwks.to_owned()),
            jwt_audience: Some(audience.to_owned()),
            jwt_issuer: Some(issuer.to_owned()),
        }
    }

    #[test]
    fn without_a_key_there_is_nothing_to_check_and_without_an_audience_no_key() {
        assert!(arguments("", "", "").settings().unwrap().is_none());
        assert!(arguments("", "us", "").settings().is_err());
        assert!(arguments("", "", "them").settings().is_err());
        assert!(arguments("keys.json", "", "them").settings().is_err());
        let settings = arguments("keys.json", "us", "").settings().unwrap();
        assert!(settings.is_some_and(|settings| settings.issuer.is_none()));
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused_and_none_is_shown() {
        for length in [0, 1, 31, LONGEST_SECRET + 1] {
            let secret = Zeroizing::new(b"k".repeat(length));
            assert!(SharedSecret::new(secret).is_err(), "{length}");
        }
        let secret = SharedSecret::new(Zeroizing::new(b"k".repeat(32))).unwrap();
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
}
