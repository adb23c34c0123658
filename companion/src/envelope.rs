//! What every request and every answer has, whatever the route: an id, a span in the log,
//! `Cache-Control: no-store`, a body for every error, and an answer even after a panic.

use crate::error::{Error, Fault};
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;

/// The name of one request in log, audit records and answers: the client's, or a new one. Visible
/// ASCII only, so that it can neither forge a line of the log nor break a header.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|value| {
            (1..=LONGEST_REQUEST_ID).contains(&value.len())
                && value.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        Self(given.cloned().unwrap_or_else(|| {
            let id = Uuid::new_v4().to_string();
            HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
        }))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

/// The middleware around all routes.
pub(crate) async fn wrap(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    // The route's pattern, not the path: names of projects and secrets stay out of the log.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        id = id.as_str(),
        method = known_method(request.method()),
        route
    );
    request.extensions_mut().insert(id.clone());
    answer(request, next, id).instrument(span).await
}

/// A method by its name; one that HTTP does not have could be anything that a client sent.
pub(crate) fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("another")
}

async fn answer(request: Request, next: Next, id: RequestId) -> Response {
    let begun = Instant::now();
    let mut response = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_payload| Error::Internal(Fault::new("panic")).into_response());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.render(response, id.as_str());
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, id.0);
    tracing::debug!(
        status = response.status().as_u16(),
        microseconds = begun.elapsed().as_micros(),
        "answered"
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_http_does_not_have_is_not_named() {
        assert_eq!(known_method(&Method::PATCH), "PATCH");
        let strange = Method::from_bytes(b"hunter2").unwrap();
        assert_eq!(known_method(&strange), "another");
    }

    fn id_for(value: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_usable_id_is_taken_over() {
        let longest = "x".repeat(LONGEST_REQUEST_ID);
        for id in ["a", "7f3e-{}", longest.as_str()] {
            assert_eq!(id_for(id.as_bytes()).as_str(), id);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        let long = "x".repeat(LONGEST_REQUEST_ID + 1);
        for id in [
            &b""[..],
            b"a b",
            b"a\tb",
            b"\xff",
            "\u{e4}".as_bytes(),
            long.as_bytes(),
        ] {
            let replaced = id_for(id);
            assert!(Uuid::parse_str(replaced.as_str()).is_ok(), "{id:?}");
        }
    }
}
