//! One webhook, sent once. The headers are those of the Standard Webhooks scheme (specification
//! 1.0.0); the signature comes from the database.

use crate::config::WebhookConfig;
use crate::error::Error;
use crate::secret_text::SecretText;
use crate::webhooks::destination::{self, AllowList, AllowedAddresses, Refused};
use anyhow::Context;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;
use url::Url;
use uuid::Uuid;

/// How many bytes of an answer are read, so that the connection can be used again.
const ANSWER_READ: usize = 16 * 1024;

/// How many of them are handed on. The database keeps half of that, once it is masked.
const ANSWER_TOLD: usize = 2 * 1024;

/// How long an answer's body may take once its status is there, which is what counts.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// A row of `control_plane.claim_deliveries`: what to send.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Whose outcome is to be stored.
    pub(crate) id: Uuid,
    /// To which endpoint.
    pub(crate) endpoint: Uuid,
    /// Which try this is; only the latest may be finished.
    pub(crate) attempt: i32,
    /// May carry a token of the receiver's.
    url: SecretText,
    webhook_id: String,
    webhook_timestamp: i64,
    webhook_signature: String,
    body: String,
}

impl Delivery {
    /// # Errors
    /// Where the row is not a `claimed_delivery`.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("delivery_id")?,
            endpoint: row.try_get("endpoint_id")?,
            attempt: row.try_get("attempt")?,
            url: row.try_get("url")?,
            webhook_id: row.try_get("webhook_id")?,
            webhook_timestamp: row.try_get("webhook_timestamp")?,
            webhook_signature: row.try_get("webhook_signature")?,
            body: row.try_get("body")?,
        })
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver answered.
    Answered(Answer),
    /// There was no answer, for this reason. Never a word of the receiver's.
    Failed(&'static str),
    /// Nothing may be sent there.
    Refused(Refused),
}

/// What a receiver answered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// For how many seconds it wants nothing more.
    pub(crate) retry_after: Option<i32>,
    /// The beginning of its body, for the database alone: it may hold anything.
    pub(crate) beginning: Option<String>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

impl Outcome {
    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Failed(_) | Self::Refused(_) => None,
        }
    }

    /// Whether the receiver took it: any status from 200 to 299.
    pub(crate) fn is_delivered(&self) -> bool {
        self.answer()
            .is_some_and(|answer| (200..=299).contains(&answer.status))
    }

    /// The HTTP status, as `finish_delivery` takes it.
    pub(crate) fn status(&self) -> Option<i32> {
        self.answer().map(|answer| answer.status.into())
    }

    /// The error, as `finish_delivery` takes it.
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Answered(_) => None,
            Self::Failed(kind) => Some((*kind).to_owned()),
            Self::Refused(refused) => Some(refused.to_string()),
        }
    }

    /// The wait that the receiver asked for, in seconds.
    pub(crate) fn retry_after(&self) -> Option<i32> {
        self.answer().and_then(|answer| answer.retry_after)
    }

    /// The beginning of the answer's body.
    pub(crate) fn beginning(&self) -> Option<&str> {
        self.answer()?.beginning.as_deref()
    }
}

/// What sends webhooks: no redirects, no proxy, no address that is not allowed.
pub(crate) struct Sender {
    client: reqwest::Client,
    allow: AllowList,
}

impl Sender {
    /// # Errors
    /// Where the machine's TLS library does not start.
    pub(crate) fn new(config: &WebhookConfig) -> anyhow::Result<Self> {
        Self::with_resolver(config, AllowedAddresses::new(config.allow.clone()))
    }

    pub(super) fn with_resolver(
        config: &WebhookConfig,
        resolver: AllowedAddresses,
    ) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("pg-secrets/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .dns_resolver(Arc::new(resolver))
            .build()
            .context("the HTTP client does not start")?;
        Ok(Self {
            client,
            allow: config.allow.clone(),
        })
    }

    /// Sends one webhook and waits for the answer's status, at most for the configured time. Answers
    /// how that ended, and after how many milliseconds.
    pub(crate) async fn send(&self, delivery: &Delivery) -> (Outcome, i32) {
        let begun = Instant::now();
        let outcome = self.attempt(delivery).await;
        let duration = i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX);
        (outcome, duration)
    }

    async fn attempt(&self, delivery: &Delivery) -> Outcome {
        let Ok(url) = delivery.url.expose().parse::<Url>() else {
            return Outcome::Failed("invalid URL");
        };
        if let Err(refused) = destination::check(&url, &self.allow) {
            return Outcome::Refused(refused);
        }
        let sent = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &delivery.webhook_id)
            .header("webhook-timestamp", delivery.webhook_timestamp)
            .header("webhook-signature", &delivery.webhook_signature)
            .body(delivery.body.clone())
            .send()
            .await;
        match sent {
            Ok(response) => Outcome::Answered(Answer {
                status: response.status().as_u16(),
                retry_after: retry_after(response.headers()),
                beginning: beginning(response).await,
            }),
            Err(error) => failure(&error),
        }
    }
}

/// The seconds of Retry-After (RFC 9110, section 10.2.3). A date counts from the answer's own date, so
/// that neither clock matters.
fn retry_after(headers: &HeaderMap) -> Option<i32> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let after = text(RETRY_AFTER)?.trim();
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large to read is a long time as well.
        return Some(after.parse().unwrap_or(i32::MAX));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok();
    let wait = date(after)?.timestamp().as_second() - date(text(DATE)?)?.timestamp().as_second();
    Some(i32::try_from(wait.max(0)).unwrap_or(i32::MAX))
}

/// Reads the body to its end, or to its limit, and gives what it begins with; nothing of a body that is
/// encoded, which could be far longer than it is.
async fn beginning(mut response: reqwest::Response) -> Option<String> {
    let encoded = response.headers().contains_key(CONTENT_ENCODING);
    let mut kept: Vec<u8> = Vec::new();
    let mut cut = false;
    let mut left = ANSWER_READ;
    // What does not come in time is not waited for; the status is there.
    let read = timeout(ANSWER_TIME, async {
        loop {
            let part = match response.chunk().await {
                Ok(Some(part)) => part,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let room = ANSWER_TOLD.saturating_sub(kept.len());
            kept.extend_from_slice(&part[..part.len().min(room)]);
            cut |= part.len() > room;
            match left.checked_sub(part.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
    });
    cut |= !read.await.unwrap_or(false);
    // Postgres has no text with a zero byte.
    let mut text = String::from_utf8_lossy(&kept).replace('\0', "");
    if cut {
        // The beginning of a key might not look like one, and would not be masked.
        let end = text.trim_end_matches(|c: char| !c.is_whitespace()).len();
        text.truncate(end);
    }
    Some(text).filter(|text| !text.is_empty() && !encoded)
}

fn failure(error: &reqwest::Error) -> Outcome {
    if let Some(refused) = cause::<Refused>(error) {
        return Outcome::Refused(*refused);
    }
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Outcome::Failed(if error.is_timeout() {
        "timeout"
    } else if cause::<native_tls::Error>(error).is_some() {
        "tls"
    } else if cause::<io::Error>(error).is_some_and(refused) {
        "connection refused"
    } else if error.is_connect() {
        "connect"
    } else if error.is_builder() {
        "invalid request"
    } else {
        "broken connection"
    })
}

/// The first of an error's causes that is of this kind.
fn cause<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
pub(super) mod tests;
