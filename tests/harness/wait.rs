//! Waiting for what happens by itself.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Asks again and again until the answer is there.
///
/// # Errors
/// Where it is not there when `limit` is over, or asking fails.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
