//! How often one token may be used, where that is limited. Each token may be used so many times a second, and
//! as many times at once; what is more is answered with 429 and when to come back (the generic cell rate
//! algorithm). Tokens are known by a hash under a key of this process. It protects the database from one
//! client that runs wild; other companions count for themselves.

use crate::auth::bearer_token;
use crate::error::Error;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many tokens are counted at a time. Whoever invents more is not counted, and is none of ours.
const MOST_TOKENS: usize = 100_000;

/// The limit, and who used how much of it.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// The time that one use takes up.
    each: Duration,
    /// How much of it may be taken up at once.
    burst: Duration,
    hasher: RandomState,
    /// When what was used so far is paid for.
    paid_at: Mutex<HashMap<u64, Instant>>,
}

impl RateLimit {
    /// A limit of so many uses a second.
    pub(crate) fn new(per_second: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self {
            each,
            burst: Duration::from_secs(1) - each,
            hasher: RandomState::new(),
            paid_at: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a use of a token; else how long to wait for the next.
    fn take(&self, token: &str, now: Instant) -> Result<(), Duration> {
        let token = self.hasher.hash_one(token);
        // What a panic left here is a time like any other.
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        if paid_at.len() >= MOST_TOKENS && !paid_at.contains_key(&token) {
            paid_at.retain(|_, at| *at > now);
            if paid_at.len() >= MOST_TOKENS {
                return Ok(());
            }
        }
        let at = paid_at.entry(token).or_insert(now);
        let ahead = at.saturating_duration_since(now);
        if ahead > self.burst {
            return Err(ahead - self.burst);
        }
        *at = now + ahead + self.each;
        Ok(())
    }
}

/// The middleware around the routes.
pub(crate) async fn wrap(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let wait = state.limit.as_ref().and_then(|limit| {
        let token = bearer_token(request.headers())?;
        limit.take(token.expose(), Instant::now()).err()
    });
    let Some(wait) = wait else {
        return next.run(request).await;
    };
    let error = Error::Request(
        StatusCode::TOO_MANY_REQUESTS,
        "the header Retry-After says in how many seconds to come back".into(),
    );
    let mut response = error.into_response();
    let seconds = HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64);
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_be_used_so_often_and_others_are_not_concerned() {
        let (limit, now) = (RateLimit::new(10), Instant::now());
        for _ in 0..10 {
            assert!(limit.take("a", now).is_ok());
        }
        let wait = limit.take("a", now).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert!(limit.take("b", now).is_ok());
        assert!(limit.take("a", now + wait).is_ok());
        assert!(limit.take("a", now + wait).is_err());
        let later = now + Duration::from_secs(60);
        let taken = (0..20).filter(|_| limit.take("a", later).is_ok()).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn invented_tokens_take_no_more_memory_than_there_is_for_them() {
        let (limit, now) = (RateLimit::new(1), Instant::now());
        for number in 0..MOST_TOKENS + 10 {
            assert!(limit.take(&number.to_string(), now).is_ok());
        }
        assert_eq!(limit.paid_at.lock().unwrap().len(), MOST_TOKENS);
        assert!(limit.take("0", now).is_err());
        let later = now + Duration::from_secs(2);
        assert!(limit.take("new", later).is_ok());
        assert_eq!(limit.paid_at.lock().unwrap().len(), 1);
    }
}
