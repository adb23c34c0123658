//! The issuer's public keys, read from where he publishes them, and read again as he changes them.

use crate::jwt::key_set::{KeySet, LONGEST_SET};
use anyhow::{Context, bail, ensure};
use reqwest::redirect::Policy;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use url::{Host, Url};

/// How often the keys are read again.
const INTERVAL: Duration = Duration::from_secs(300);

/// How soon again at the earliest, whatever tokens name.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

/// How long a server may take for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the keys are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    File(PathBuf),
    Url(Url),
}

impl FromStr for Source {
    type Err = anyhow::Error;

    /// A URL, or else the path of a file.
    ///
    /// # Errors
    /// Where it is a URL by which somebody on the way could give his own keys, or that holds credentials.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url: Url = text.parse().context("not a URL")?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => bail!("the URL must be an https one"),
        }
        ensure!(
            url.username().is_empty() && url.password().is_none(),
            "the URL must hold no credentials"
        );
        Ok(Self::Url(url))
    }
}

/// The keys as they were last read.
pub(super) struct Published {
    keys: RwLock<Arc<KeySet>>,
    asked_for: Notify,
}

impl Published {
    /// Reads the keys, and goes on reading them as long as the runtime lives. Those of a URL may come
    /// later: until then no token is accepted.
    ///
    /// # Errors
    /// Where the file cannot be used.
    pub(super) fn start(source: Source) -> anyhow::Result<Arc<Self>> {
        let first = match &source {
            Source::File(path) => read_file(path).context("--jwks / PG_SECRETS_JWKS")?,
            Source::Url(_) => KeySet::default(),
        };
        let reader = Reader::new(source)?;
        let published = Arc::new(Self {
            keys: RwLock::new(Arc::new(first)),
            asked_for: Notify::new(),
        });
        tokio::spawn(Arc::clone(&published).keep_reading(reader));
        Ok(published)
    }

    /// The keys.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        let keys = self.keys.read();
        Arc::clone(&keys.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Has the keys read again soon: a token named one that is not there.
    pub(super) fn look_again(&self) {
        self.asked_for.notify_one();
    }

    async fn keep_reading(self: Arc<Self>, reader: Reader) {
        loop {
            match reader.read().await {
                Ok(keys) => {
                    tracing::debug!(keys = keys.len(), "the keys of JWTs were read");
                    let mut known = self
                        .keys
                        .write()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    *known = Arc::new(keys);
                }
                // Those that were read before stay: an issuer that cannot be reached has not
                // withdrawn them.
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the keys of JWTs cannot be read"
                    );
                }
            }
            sleep(SHORTEST_INTERVAL).await;
            // An error means that nobody asked in that time.
            let _ = timeout(INTERVAL, self.asked_for.notified()).await;
        }
    }
}

/// Reads the source.
enum Reader {
    File(PathBuf),
    Url(Url, reqwest::Client),
}

impl Reader {
    /// # Errors
    /// Where the HTTP client does not start.
    fn new(source: Source) -> anyhow::Result<Self> {
        let url = match source {
            Source::File(path) => return Ok(Self::File(path)),
            Source::Url(url) => url,
        };
        let client = reqwest::Client::builder()
            .user_agent(concat!("pg-secrets/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(PATIENCE)
            .build()
            .context("the HTTP client does not start")?;
        Ok(Self::Url(url, client))
    }

    /// # Errors
    /// Where they cannot be read, or are none. The text names no path and no URL.
    async fn read(&self) -> anyhow::Result<KeySet> {
        match self {
            Self::File(path) => read_file(path),
            Self::Url(url, client) => {
                let answer = client.get(url.clone()).send().await;
                let mut answer = answer.ok().context("the server does not answer")?;
                ensure!(
                    answer.status() == reqwest::StatusCode::OK,
                    "the server answers {}",
                    answer.status().as_u16()
                );
                let mut body = Vec::new();
                while let Some(part) = answer.chunk().await.ok().context("the answer broke off")? {
                    ensure!(
                        body.len() + part.len() <= LONGEST_SET,
                        "the answer is longer than any set of keys"
                    );
                    body.extend_from_slice(&part);
                }
                KeySet::parse(&body)
            }
        }
    }
}

fn read_file(path: &Path) -> anyhow::Result<KeySet> {
    let cannot = || format!("{} cannot be read", path.display());
    let mut content = Vec::new();
    File::open(path)
        .with_context(cannot)?
        .take(LONGEST_SET as u64 + 1)
        .read_to_end(&mut content)
        .with_context(cannot)?;
    ensure!(
        content.len() <= LONGEST_SET,
        "{} is longer than any set of keys",
        path.display()
    );
    KeySet::parse(&content).with_context(|| format!("{} cannot be used", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_or_by_a_connection_that_nobody_can_change() {
        for url in [
            "https://issuer.example/keys",
            "http://127.0.0.1:8000/keys",
            "http://[::1]/keys",
            "http://localhost/keys",
        ] {
            assert!(matches!(url.parse(), Ok(Source::Url(_))), "{url}");
        }
        assert!(matches!("/etc/keys.json".parse(), Ok(Source::File(_))));
        for text in [
            "http://issuer.example/keys",
            "http://localhost.example/keys",
            "http://10.0.0.1/keys",
            "ftp://127.0.0.1/keys",
            "file:///etc/keys.json",
            "https://user:hunter2@issuer.example/keys",
            "https://",
        ] {
            let error = text.parse::<Source>().expect_err(text);
            assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        }
    }
}
