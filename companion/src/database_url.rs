//! Where the database is: a libpq URL, with the settings that a service needs added.
//!
//! TLS follows `sslmode`: `require` means encryption *and* a certificate that a root of this
//! machine vouches for (`SSL_CERT_FILE` names further roots), `disable` means none. `prefer`,
//! libpq's default, would send secrets in the clear to whoever says that it has no TLS: here it
//! stands for `disable` within this machine and for `require` across a network.

use crate::secret_text::SecretText;
use anyhow::Context;
use native_tls::TlsConnector;
use postgres_native_tls::MakeTlsConnector;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(60);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How to connect to the database.
#[derive(Clone)]
pub(crate) struct DatabaseTarget {
    /// tokio-postgres' settings; their `Debug` hides the password.
    pub(crate) settings: tokio_postgres::Config,
    /// What makes connections private, where the settings ask for it.
    pub(crate) tls: MakeTlsConnector,
}

impl std::fmt::Debug for DatabaseTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DatabaseTarget")
    }
}

impl DatabaseTarget {
    /// Whether the URL held a password.
    pub(crate) fn has_password(&self) -> bool {
        self.settings.get_password().is_some()
    }

    /// Uses `password` where the URL held none.
    pub(crate) fn or_password(mut self, password: Option<&SecretText>) -> Self {
        if let Some(password) = password.filter(|_| !self.has_password()) {
            self.settings.password(password.expose());
        }
        self
    }
}

/// The server gives up before we do: a statement that nobody waits for any more must not keep its
/// place there.
const SESSION_OPTIONS: &str = "-c statement_timeout=25s -c lock_timeout=10s";

/// Understands a URL such as `postgresql://user@host/db`, `postgresql://user@%2Frun%2Fpg/db` or
/// `postgresql:///db?host=/run/pg`.
///
/// # Errors
/// Where it is no such URL. The error does not quote it, for it may hold a password.
pub(crate) fn parse(url: &SecretText) -> anyhow::Result<DatabaseTarget> {
    let mut settings: tokio_postgres::Config = url.expose().parse().ok().context(
        "the database's URL cannot be understood: postgresql://user@host:port/db, reserved characters percent-encoded, sslmode one of disable, prefer, require",
    )?;
    settings.ssl_mode(ssl_mode(&settings));
    // After a failover a list of hosts leads to the one that takes writes; on a standby every
    // call would fail, since even reads are recorded.
    settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
    settings.keepalives_idle(KEEPALIVES_IDLE);
    if settings.get_application_name().is_none() {
        settings.application_name("pg-secrets");
    }
    if settings.get_options().is_none() {
        settings.options(SESSION_OPTIONS);
    }
    if settings.get_connect_timeout().is_none() {
        settings.connect_timeout(CONNECT_TIMEOUT);
    }
    if settings.get_tcp_user_timeout().is_none() {
        settings.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    let connector = TlsConnector::new().context("the machine's TLS library does not start")?;
    Ok(DatabaseTarget {
        settings,
        tls: MakeTlsConnector::new(connector),
    })
}

fn ssl_mode(settings: &tokio_postgres::Config) -> SslMode {
    match settings.get_ssl_mode() {
        SslMode::Prefer if stays_within_this_machine(settings) => SslMode::Disable,
        SslMode::Prefer => SslMode::Require,
        stated => stated,
    }
}

fn stays_within_this_machine(settings: &tokio_postgres::Config) -> bool {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    };
    settings.get_hostaddrs().iter().all(IpAddr::is_loopback)
        && (settings.get_hosts().iter().all(local) || !settings.get_hostaddrs().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> tokio_postgres::Config {
        parse(&SecretText::new(url.to_owned())).unwrap().settings
    }

    #[test]
    fn a_socket_folder_is_a_host_in_both_spellings() {
        for url in [
            "postgresql://u@%2Frun%2Fpg/db",
            "postgresql://u@/db?host=/run/pg",
            "postgresql:///db?host=/run/pg&user=u&port=5433",
            "postgres://u@%2Frun%2Fpg:5433/db",
        ] {
            let settings = settings(url);
            assert_eq!(
                settings.get_hosts(),
                [Host::Unix("/run/pg".into())],
                "{url}"
            );
            assert_eq!(settings.get_dbname(), Some("db"));
            assert_eq!(settings.get_user(), Some("u"));
        }
    }

    #[test]
    fn nothing_goes_across_a_network_in_the_clear_unless_told_to() {
        for (url, mode) in [
            ("postgresql://u@%2Frun%2Fpg/db", SslMode::Disable),
            ("postgresql://u@localhost/db", SslMode::Disable),
            ("postgresql://u@127.0.0.1/db", SslMode::Disable),
            ("postgresql://u@[::1]/db", SslMode::Disable),
            ("postgresql://u@db.example/db", SslMode::Require),
            ("postgresql://u@10.0.0.1/db", SslMode::Require),
            ("postgresql://u@localhost,db.example/db", SslMode::Require),
            (
                "postgresql://u@localhost/db?hostaddr=10.0.0.1",
                SslMode::Require,
            ),
            (
                "postgresql://u@db.example/db?sslmode=disable",
                SslMode::Disable,
            ),
            (
                "postgresql://u@localhost/db?sslmode=require",
                SslMode::Require,
            ),
        ] {
            assert_eq!(settings(url).get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn the_environments_password_fills_in_and_never_replaces() {
        let password = SecretText::new("env".to_owned());
        for (url, expected) in [
            ("postgresql://u@h/db", "env"),
            ("postgresql://u:url@h/db", "url"),
        ] {
            let target = parse(&SecretText::new(url.to_owned())).unwrap();
            let target = target.or_password(Some(&password));
            assert_eq!(target.settings.get_password(), Some(expected.as_bytes()));
            assert!(!format!("{target:?}").contains(expected));
        }
    }

    #[test]
    fn an_error_does_not_quote_the_url() {
        for url in [
            "postgresql://u:hunter2@h:port/db",
            "hunter2",
            "postgresql://h/db?hunter2=1",
        ] {
            let error = parse(&SecretText::new(url.to_owned())).unwrap_err();
            assert!(!format!("{error:?} {error:#}").contains("hunter2"));
        }
    }
}
