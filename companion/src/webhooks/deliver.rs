//! One webhook, sent once. The headers are those of the Standard Webhooks scheme (specification
//! 1.0.0); the signature comes from the database.

use crate::config::WebhookConfig;
use crate::error::Error;
use crate::secret_text::SecretText;
use crate::webhooks::destination::{self, AllowList, AllowedAddresses, Refused};
use anyhow::Context;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use std::sync::Arc;
use tokio_postgres::Row;
use url::Url;
use uuid::Uuid;

/// How many bytes of an answer are read, so that the connection can be used again. Nothing is done
/// with them.
const ANSWER_READ: usize = 16 * 1024;

/// A row of `control_plane.claim_deliveries`: what to send.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Whose outcome is to be stored.
    pub(crate) id: Uuid,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver answered with this HTTP status.
    Answered(u16),
    /// There was no answer, for this reason. Never a word of the receiver's.
    Failed(&'static str),
    /// Nothing may be sent there.
    Refused(Refused),
}

impl Outcome {
    /// Whether the receiver took it: any status from 200 to 299.
    pub(crate) fn is_delivered(self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }

    /// The HTTP status, as `finish_delivery` takes it.
    pub(crate) fn status(self) -> Option<i32> {
        match self {
            Self::Answered(status) => Some(status.into()),
            Self::Failed(_) | Self::Refused(_) => None,
        }
    }

    /// The error, as `finish_delivery` takes it.
    pub(crate) fn error(self) -> Option<String> {
        match self {
            Self::Answered(_) => None,
            Self::Failed(kind) => Some(kind.to_owned()),
            Self::Refused(refused) => Some(refused.to_string()),
        }
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
        let client = reqwest::Client::builder()
            .user_agent(concat!("pg-secrets/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .dns_resolver(Arc::new(AllowedAddresses(config.allow.clone())))
            .build()
            .context("the HTTP client does not start")?;
        Ok(Self {
            client,
            allow: config.allow.clone(),
        })
    }

    /// Sends one webhook and waits for the answer's status, at most for the configured time.
    pub(crate) async fn send(&self, delivery: &Delivery) -> Outcome {
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
            Ok(answer) => {
                let status = answer.status().as_u16();
                drain(answer).await;
                Outcome::Answered(status)
            }
            Err(error) => failure(&error),
        }
    }
}

async fn drain(mut answer: reqwest::Response) {
    let mut left = ANSWER_READ;
    while let Ok(Some(part)) = answer.chunk().await {
        match left.checked_sub(part.len()) {
            Some(rest) => left = rest,
            None => break,
        }
    }
}

fn failure(error: &reqwest::Error) -> Outcome {
    if let Some(refused) = refusal(error) {
        return Outcome::Refused(refused);
    }
    Outcome::Failed(if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_builder() {
        "invalid request"
    } else {
        "broken connection"
    })
}

/// The refusal that the resolver put at the bottom of an error, if it is that.
fn refusal(error: &reqwest::Error) -> Option<Refused> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref() {
            return Some(*refused);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn delivery(url: &str) -> Delivery {
        Delivery {
            id: Uuid::nil(),
            attempt: 1,
            url: SecretText::new(url.to_owned()),
            webhook_id: "id".to_owned(),
            webhook_timestamp: 1,
            webhook_signature: "v1,".to_owned(),
            body: "{}".to_owned(),
        }
    }

    fn sender(allow: AllowList) -> Sender {
        Sender::new(&WebhookConfig {
            allow,
            timeout: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_refused_address_is_not_connected_to() {
        let outcome = sender(AllowList::global())
            .send(&delivery("https://localhost/"))
            .await;
        assert_eq!(outcome, Outcome::Refused(Refused::Address));
        assert_eq!(outcome.status(), None);
        assert_eq!(
            outcome.error().as_deref(),
            Some("refused destination: the address is not allowed")
        );
    }

    #[tokio::test]
    async fn what_cannot_be_sent_fails_with_a_short_kind() {
        let sender = sender("127.0.0.0/8".parse().unwrap());
        for (url, kind) in [
            ("no url", "invalid URL"),
            ("https://999.1.1.1/", "invalid URL"),
        ] {
            assert_eq!(sender.send(&delivery(url)).await, Outcome::Failed(kind));
        }
    }

    #[test]
    fn a_delivery_shows_no_url_in_debug() {
        let shown = format!("{:?}", delivery("https://hooks.example/hunter2"));
        assert!(!shown.contains("hunter2"));
    }
}
