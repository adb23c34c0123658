//! `pg-secrets login`: keeps an address and a token.

use crate::client::access::{Access, variable};
use crate::client::failure::{Failure, Kind};
use crate::client::http::Connection;
use crate::client::login_file::{self, Login};
use crate::client::{address, output, prompt, stdin};
use crate::secret_text::SecretText;
use crate::visible::visible;
use clap::Args;
use uuid::Uuid;

/// The flags of `pg-secrets login`.
#[derive(Debug, Args)]
pub struct LoginArguments {
    /// The companion's address, such as https://secrets.example.com; the token comes by standard input or a
    /// prompt
    #[arg(env = "PG_SECRETS_URL", value_name = "URL", hide_env_values = true)]
    url: String,
    /// Let the token and values go there over http although they leave this machine
    #[arg(long)]
    insecure_http: bool,
}

/// Tries the token, and keeps it.
///
/// # Errors
/// Where the address must not be given a token, where the server does not take it, and where it cannot
/// be kept.
pub(crate) async fn run(arguments: LoginArguments) -> Result<(), Failure> {
    let url = address::parse(&arguments.url, arguments.insecure_http)?;
    let token = token()?;
    let access = Access {
        url: url.clone(),
        token: token.clone(),
    };
    try_out(&Connection::new(&access)?).await?;
    let path = login_file::write(&Login {
        url: url.to_string(),
        insecure_http: arguments.insecure_http,
        token,
    })?;
    output::note(&format!(
        "logged in at {}; the token is in {}",
        visible(url.as_str()),
        login_file::shown(path)
    ));
    for name in ["PG_SECRETS_URL", "PG_SECRETS_TOKEN"] {
        if variable(name)?.is_some() {
            output::note(&format!("{name} is set, and goes before what was kept"));
        }
    }
    Ok(())
}

fn token() -> Result<SecretText, Failure> {
    let typed = if stdin::is_terminal() {
        prompt::hidden("Token (not shown): ")?
    } else {
        stdin::read("the token")?
    };
    let token = typed.expose().trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Failure::new(Kind::Usage, "a token is one word"));
    }
    Ok(SecretText::new(token.to_owned()))
}

/// Asks for the history of a secret that cannot be: whoever the token is of has no such secret, and
/// nobody is refused anything, which the audit would count.
async fn try_out(server: &Connection) -> Result<(), Failure> {
    let nobody = Uuid::new_v4().to_string();
    match server
        .get(&["api", "secrets", &nobody, "versions"], &[])
        .await
    {
        Err(failure) if failure.kind() == Kind::NotFound && failure.is_a_companions() => Ok(()),
        Err(failure) => Err(failure),
        Ok(_) => Err(Failure::new(
            Kind::Failed,
            "the server does not answer as a companion does",
        )),
    }
}
