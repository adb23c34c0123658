//! What the companion is told at its start. Each flag has an environment variable; the flag wins.
//!
//! | variable | flag | default | meaning |
//! |---|---|---|---|
//! | `DATABASE_URL` | `--database-url` | none | where the database is, see `database_url.rs`; a password only in the variable |
//! | `PGPASSWORD` | none | none | the password, where the URL has none |
//! | `PG_SECRETS_TOKEN` | none | none | reencrypt, token: the token of an administrator, where the login acts for others |
//! | `PG_SECRETS_LISTEN` | `--listen` | `127.0.0.1:8484` | address and port of the REST service |
//! | `PG_SECRETS_POOL_SIZE` | `--pool-size` | `16` | connections to the database for requests and relay |
//! | `PG_SECRETS_TLS_CERT`, `PG_SECRETS_TLS_KEY` | `--tls-cert`, `--tls-key` | none | files of a certificate (those between it and its root behind it) and its key, PEM: the REST service speaks TLS alone |
//! | `PG_SECRETS_RATE_LIMIT` | `--rate-limit` | unlimited | how often a second each token may be used with this process |
//! | `PG_SECRETS_WEBHOOK_ALLOW` | `--webhook-allow` | unset | networks (CIDR, comma between) that webhooks go to, http or https, and nowhere else; unset: https to globally routable addresses |
//! | `PG_SECRETS_WEBHOOK_TIMEOUT` | `--webhook-timeout` | `10s` | how long one delivery may take, at most 45 s |
//! | `PG_SECRETS_POLL_INTERVAL` | `--poll-interval` | `2s` | how often the relay looks for due deliveries without being woken |
//! | `PG_SECRETS_KEY_FILE` | `--key-file` | none | decrypt: the file of secret keys, as the server takes it |
//! | `PG_SECRETS_KEY_PASSPHRASE`, `PG_SECRETS_KEY_PASSPHRASE_FILE` | none | none | decrypt: the passphrase of locked keys, or a file with it, see `key_file.rs` |
//! | `PG_SECRETS_JWKS`, `PG_SECRETS_JWT_…` | `--jwks`, `--jwt-…` | none | which JWTs are accepted, see `jwt/settings.rs` |
//! | `RUST_LOG`, `PG_SECRETS_LOG_FORMAT` | none | see `telemetry.rs` | what is logged, and how |
//!
//! Durations are written `2s`, `500ms`, `PT2S`, or as a number of seconds.

use crate::client::ClientCommand;
use crate::database_url::{self, DatabaseTarget};
use crate::jwt::{JwtArguments, JwtSettings};
use crate::secret_text::SecretText;
use crate::tls_listener;
use crate::webhooks::destination::AllowList;
use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_native_tls::TlsAcceptor;
use uuid::Uuid;

/// The longest that a delivery may take: it has to be over, and its outcome stored, before the
/// lease of one minute ends.
const LONGEST_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(45);

/// The companion of the pg_secrets extension, and a client of one.
#[derive(Debug, Parser)]
#[command(name = "pg-secrets", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `pg-secrets` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve REST, and send webhooks
    Serve(ServeArguments),
    /// Make an OpenPGP secret key for the database server
    Keygen(KeygenArguments),
    /// Encrypt everything anew, to the primary key of the server
    ///
    /// For administrators. A login that is listed in pg_secrets.trusted_logins acts for the subject of
    /// the token in PG_SECRETS_TOKEN; any other has the rights of its role. Each batch is a transaction
    /// of its own: stop this at any time, and run it again.
    Reencrypt(ReencryptArguments),
    /// Make, list and revoke bearer tokens
    ///
    /// For administrators. A login that is listed in pg_secrets.trusted_logins acts for the subject of
    /// the token in PG_SECRETS_TOKEN; any other has the rights of its role.
    Token(TokenArguments),
    /// Look at an installation, and say what is wrong with it
    ///
    /// Best run as a superuser of the database: what the login may not look at is reported as not checked. It
    /// stores a random value in the project pg-secrets-doctor, looks for it in logs and views, and removes
    /// it; the name, and the records of the audit, are left. The first line sums up, and the exit code is for
    /// monitors: 0 where all is well, 1 where something could not be checked, 2 where something is wrong, 3
    /// where nothing could be asked.
    Doctor(DoctorArguments),
    /// Read a value out of a dump, without a server; without --id, list what the dump holds
    Decrypt(DecryptArguments),
    /// The commands that ask a companion.
    #[command(flatten)]
    Client(ClientCommand),
}

/// The database, for every command that needs one.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArguments {
    /// Where the database is: postgresql://user@host/db, or postgresql://user@%2Fsocket%2Ffolder/db;
    /// a URL with a password goes into the environment [env: DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

/// The flags of `pg-secrets serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// Address and port to listen on
    #[arg(long, env = "PG_SECRETS_LISTEN", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// How many connections to the database
    #[arg(long, env = "PG_SECRETS_POOL_SIZE", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pool_size: u16,
    /// A certificate, and those between it and its root behind it (PEM): then the service speaks TLS alone
    #[arg(
        long,
        env = "PG_SECRETS_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM, PKCS #8)
    #[arg(
        long,
        env = "PG_SECRETS_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// How often a second each token may be used; unset: as often as it likes
    #[arg(long, env = "PG_SECRETS_RATE_LIMIT", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate_limit: Option<u32>,
    /// Networks that webhooks go to, http or https, and nowhere else (CIDR, comma between); unset:
    /// https to globally routable addresses
    #[arg(long, env = "PG_SECRETS_WEBHOOK_ALLOW", value_name = "NETWORKS")]
    webhook_allow: Option<String>,
    /// How long one delivery may take
    #[arg(long, env = "PG_SECRETS_WEBHOOK_TIMEOUT", default_value = "10s", value_parser = duration)]
    webhook_timeout: Duration,
    /// How often to look for due deliveries without being woken
    #[arg(long, env = "PG_SECRETS_POLL_INTERVAL", default_value = "2s", value_parser = duration)]
    poll_interval: Duration,
    #[command(flatten)]
    jwt: JwtArguments,
}

/// The flags of `pg-secrets keygen`.
#[derive(Debug, Args)]
pub struct KeygenArguments {
    /// The form of the key
    #[arg(long, value_enum, default_value = "rfc9580")]
    pub(crate) profile: KeyProfile,
    /// The name that the key carries
    #[arg(long, value_name = "TEXT", default_value = "pg_secrets")]
    pub(crate) user_id: String,
    /// A new file for the key, readable by its owner alone; without it the key goes to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The flags of `pg-secrets reencrypt`.
#[derive(Debug, Args)]
pub struct ReencryptArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// How many values are re-encrypted in one transaction
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10000))]
    pub(crate) batch: u16,
}

/// What `pg-secrets token` is to do.
#[derive(Debug, Args)]
pub struct TokenArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a subject, and print it, this once
    Create {
        /// Whose grants the token has
        subject: String,
        /// The one service that it reads for
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// When it ends, as 2027-01-31T12:00:00Z; without it never
        #[arg(long, value_name = "TIME")]
        expires_at: Option<jiff::Timestamp>,
    },
    /// List tokens, without their text
    List {
        /// Of this subject alone
        #[arg(long, value_name = "NAME")]
        subject: Option<String>,
    },
    /// Revoke a token: the next request that brings it fails
    Revoke {
        /// The token's id, as list prints it
        id: Uuid,
    },
}

/// The flags of `pg-secrets doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// A file that the server logs to, where it is on this machine; unset: those of its logging collector,
    /// read through the database
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Vec<PathBuf>,
}

/// The flags of `pg-secrets decrypt`.
#[derive(Debug, Args)]
pub struct DecryptArguments {
    /// OpenPGP secret keys, in the forms that the server takes; a passphrase comes by
    /// PG_SECRETS_KEY_PASSPHRASE or PG_SECRETS_KEY_PASSPHRASE_FILE alone
    #[arg(long, env = "PG_SECRETS_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// A dump in pg_dump's plain format; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) dump: PathBuf,
    /// Which version's value to read
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<Uuid>,
    /// A new file for the value, readable by its owner alone; without it the value goes to stdout
    #[arg(long, value_name = "FILE", requires = "id")]
    pub(crate) output: Option<PathBuf>,
}

/// Which OpenPGP a key is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyProfile {
    /// Version 6 keys, the current standard
    Rfc9580,
    /// Version 4 keys, which GnuPG reads too
    Rfc4880,
}

/// The settings of the service, checked.
pub(crate) struct Config {
    pub(crate) database: DatabaseTarget,
    pub(crate) listen: SocketAddr,
    pub(crate) pool_size: usize,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) rate_limit: Option<u32>,
    pub(crate) webhooks: WebhookConfig,
    pub(crate) jwt: Option<JwtSettings>,
}

/// The settings of the relay.
#[derive(Debug)]
pub(crate) struct WebhookConfig {
    pub(crate) allow: AllowList,
    pub(crate) timeout: Duration,
    pub(crate) poll_interval: Duration,
}

impl DatabaseArguments {
    /// Where the database is, from the flag or else from the environment.
    ///
    /// # Errors
    /// Where it is not said, or cannot be understood. The text quotes no part of the URL.
    pub(crate) fn target(self) -> anyhow::Result<DatabaseTarget> {
        let database = match self.database_url {
            Some(url) => {
                let target = database_url::parse(&SecretText::new(url))?;
                ensure!(
                    !target.has_password(),
                    "a password in --database-url can be seen by every user of this machine; set DATABASE_URL instead"
                );
                target
            }
            None => match std::env::var("DATABASE_URL").map(SecretText::new) {
                Ok(url) if !url.expose().is_empty() => database_url::parse(&url)?,
                Ok(_) | Err(std::env::VarError::NotPresent) => bail!(
                    "DATABASE_URL is not set; for example postgresql://secrets_companion@localhost/app"
                ),
                Err(std::env::VarError::NotUnicode(_)) => bail!("DATABASE_URL is not UTF-8"),
            },
        };
        let password = std::env::var("PGPASSWORD").ok().map(SecretText::new);
        Ok(database.or_password(password.as_ref()))
    }
}

impl Config {
    /// Checks the flags, and adds what comes by environment alone.
    ///
    /// # Errors
    /// Where a setting is missing or makes no sense. The text quotes no part of the database's URL.
    pub(crate) fn new(arguments: ServeArguments) -> anyhow::Result<Self> {
        let database = arguments.database.target()?;
        let allow = match arguments.webhook_allow {
            Some(networks) => networks
                .parse()
                .context("--webhook-allow / PG_SECRETS_WEBHOOK_ALLOW")?,
            None => AllowList::global(),
        };
        let tls = match (&arguments.tls_cert, &arguments.tls_key) {
            (Some(certificate), Some(key)) => Some(tls_listener::acceptor(certificate, key)?),
            _ => None,
        };
        ensure!(
            !arguments.webhook_timeout.is_zero()
                && arguments.webhook_timeout <= LONGEST_WEBHOOK_TIMEOUT,
            "--webhook-timeout must be more than nothing and at most 45s"
        );
        ensure!(
            arguments.poll_interval >= Duration::from_millis(10),
            "--poll-interval must be at least 10ms"
        );
        Ok(Self {
            database,
            listen: arguments.listen,
            pool_size: arguments.pool_size.into(),
            tls,
            rate_limit: arguments.rate_limit,
            webhooks: WebhookConfig {
                allow,
                timeout: arguments.webhook_timeout,
                poll_interval: arguments.poll_interval,
            },
            jwt: arguments.jwt.settings()?,
        })
    }
}

/// A length of time, as flags have it.
///
/// # Errors
/// Where it is none.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "not a duration such as 2s, 500ms or PT2S".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_several_forms() {
        for (text, milliseconds) in [("2", 2000), ("2s", 2000), ("500ms", 500), ("PT2S", 2000)] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "-1", "-2s", "soon", "1.5.2"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    fn serve(flags: &[&str]) -> anyhow::Result<Config> {
        let line = ["pg-secrets", "serve"].iter().chain(flags);
        match Cli::try_parse_from(line)?.command {
            Command::Serve(arguments) => Config::new(arguments),
            _ => bail!("not serve"),
        }
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        for url in [
            "postgresql://u:hunter2@h/db",
            "postgresql://h/db?password=hunter2",
        ] {
            let error = serve(&["--database-url", url]).err().unwrap();
            assert!(!format!("{error:?}").contains("hunter2"));
            assert!(format!("{error}").contains("DATABASE_URL"));
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let url = ["--database-url", "postgresql://u@localhost/db"];
        assert!(serve(&url).is_ok());
        for flags in [
            ["--webhook-allow", ""],
            ["--webhook-allow", "everything"],
            ["--webhook-timeout", "0"],
            ["--webhook-timeout", "46s"],
            ["--poll-interval", "0s"],
            ["--pool-size", "0"],
            ["--rate-limit", "0"],
            ["--tls-cert", "/nowhere"],
            ["--tls-key", "/nowhere"],
        ] {
            assert!(serve(&[url, flags].concat()).is_err(), "{flags:?}");
        }
    }
}
