//! Where the database is: a libpq URL, with the settings that a service needs added.
//!
//! Several hosts, with commas between, are the servers of one database: the one that takes writes is used,
//! after a failover another.
//!
//! TLS follows `sslmode`: `require`, and `verify-full` as libpq calls it, means encryption *and* a certificate that a root of this
//! machine vouches for (`SSL_CERT_FILE` names further roots) or, where `sslrootcert` names a file, one of its
//! roots alone; and that is made out to the host. `disable` means none. `prefer`,
//! libpq's default, would send secrets in the clear to whoever says that it has no TLS: here it
//! stands for `disable` within this machine and for `require` across a network.

use crate::secret_text::SecretText;
use anyhow::{Context, ensure};
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use url::form_urlencoded;
use zeroize::Zeroizing;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where there are other hosts to try, within the time that a request waits.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_millis(1500);
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
    let (url, root) = own_parameters(url);
    let mut settings: tokio_postgres::Config = url.expose().parse().ok().context(
        "the database's URL cannot be understood: postgresql://user@host:port/db, reserved characters percent-encoded, sslmode one of disable, prefer, require, verify-full",
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
        let several = settings
            .get_hosts()
            .len()
            .max(settings.get_hostaddrs().len())
            > 1;
        settings.connect_timeout(match several {
            true => CONNECT_TIMEOUT_OF_SEVERAL,
            false => CONNECT_TIMEOUT,
        });
    }
    if settings.get_tcp_user_timeout().is_none() {
        settings.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    let mut connector = TlsConnector::builder();
    if let Some(root) = root {
        let pem = std::fs::read(&root)
            .with_context(|| format!("sslrootcert: {} cannot be read", root.display()))?;
        let roots = Certificate::stack_from_pem(&pem).unwrap_or_default();
        ensure!(
            !roots.is_empty(),
            "sslrootcert: {} holds no certificate in PEM",
            root.display()
        );
        connector.disable_built_in_roots(true);
        for root in roots {
            connector.add_root_certificate(root);
        }
    }
    let connector = connector
        .build()
        .context("the machine's TLS library does not start")?;
    Ok(DatabaseTarget {
        settings,
        tls: MakeTlsConnector::new(connector),
    })
}

/// Takes out of a URL what libpq knows and tokio-postgres does not: the modes that check certificates, which
/// `require` does here anyhow, and the file of roots.
fn own_parameters(url: &SecretText) -> (SecretText, Option<PathBuf>) {
    let Some((base, query)) = url.expose().split_once('?') else {
        return (url.clone(), None);
    };
    let mut root = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            Some(("sslrootcert", file)) => {
                let file = percent_decode(file);
                root = Some(file)
                    .filter(|file| file != "system")
                    .map(PathBuf::from);
            }
            _ => kept.push(pair),
        }
    }
    let url = Zeroizing::new([base, "?", &kept.join("&")].concat());
    (SecretText::new(url.to_string()), root)
}

fn percent_decode(text: &str) -> String {
    // A form's plus sign is a space; a URL's is itself.
    let form = ["v=", &text.replace('+', "%2B")].concat();
    let mut pairs = form_urlencoded::parse(form.as_bytes());
    pairs
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
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
            (
                "postgresql://u@localhost/db?sslmode=verify-full&application_name=x",
                SslMode::Require,
            ),
        ] {
            assert_eq!(settings(url).get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn several_hosts_are_tried_within_the_time_of_one() {
        let one = settings("postgresql://u@a/db");
        assert_eq!(one.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        let several = settings("postgresql://u@a:1,b:2,c:3/db");
        assert_eq!(several.get_hosts().len(), 3);
        let timeout = several.get_connect_timeout().unwrap();
        assert!(*timeout * 3 < CONNECT_TIMEOUT);
        assert_eq!(
            several.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        let stated = settings("postgresql://u@a,b/db?connect_timeout=9");
        assert_eq!(stated.get_connect_timeout(), Some(&Duration::from_secs(9)));
    }

    #[test]
    fn a_file_of_roots_must_hold_some() {
        for file in ["/nowhere/a%20b.pem", "/dev/null"] {
            let url = ["postgresql://u:hunter2@h/db?sslrootcert=", file].concat();
            let error = parse(&SecretText::new(url)).unwrap_err();
            let text = format!("{error:#}");
            assert!(
                text.contains("sslrootcert") && !text.contains("hunter2"),
                "{text}"
            );
            assert!(!text.contains("%20"), "{text}");
        }
        let system = SecretText::new("postgresql://u@h/db?sslrootcert=system".to_owned());
        assert!(parse(&system).is_ok());
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
