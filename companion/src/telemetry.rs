//! The log: to stderr, as text, or as JSON with `PG_SECRETS_LOG_FORMAT=json`. `RUST_LOG` chooses
//! what is shown (default: this program from info, everything else from warn).
//!
//! Never in the log: bodies, headers, query strings, paths, the text of a database error that the
//! extension did not raise, the payload of a panic. Whatever looks like a secret is masked in every line
//! besides, see `masking.rs`.

use crate::masking::MaskedStderr;
use anyhow::{Context, bail};
use std::panic;
use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

const DEFAULT_FILTER: &str = "warn,pg_secrets_companion=info";

/// Starts the log and silences the payloads of panics.
///
/// # Errors
/// Where `RUST_LOG` or `PG_SECRETS_LOG_FORMAT` cannot be understood.
pub fn start() -> anyhow::Result<()> {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = EnvFilter::try_new(if wanted.is_empty() {
        DEFAULT_FILTER
    } else {
        &wanted
    })
    .context("RUST_LOG cannot be understood")?;
    let json = match std::env::var("PG_SECRETS_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok("" | "text") | Err(_) => false,
        Ok(_) => bail!("PG_SECRETS_LOG_FORMAT must be text or json"),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(MaskedStderr)
        .with_ansi(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = if json {
        Box::new(lines.json())
    } else {
        Box::new(lines)
    };
    // Not `init()`: that would also collect the records of the `log` crate, where tokio-postgres
    // prints parameters and the server's notices.
    let subscriber = Registry::default()
        .with(lines)
        .with(filter)
        .with(filter_fn(may_be_logged));
    tracing::subscriber::set_global_default(subscriber).context("the log was started twice")?;
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string);
        tracing::error!(place = place.as_deref().unwrap_or("unknown"), "panic");
    }));
    Ok(())
}

/// The pool prints whole database errors, which may quote values; its caller reports the code.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("deadpool")
}
