//! The header Idempotency-Key: a POST that is sent again with the same key, within a day, is answered as the
//! first time and changes nothing. The database keeps the answer, in the transaction of the change; of the
//! request it keeps a keyed hash. An answer with something that is shown once is not kept: then a second
//! request is told with 409 that it was done.

use crate::auth::Caller;
use crate::error::{Error, Fault};
use crate::extract::read_in_time;
use crate::state::AppState;
use crate::transaction::Transaction;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_postgres::Row;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in bytes.
const LONGEST_KEY: usize = 255;

/// The longest answer that is kept, in bytes: what the database takes as a text.
const LONGEST_KEPT: usize = 12 * 1024;

/// The longest answer to a POST of ours, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Members of an answer that are shown once.
const SHOWN_ONCE: [&str; 3] = ["secret", "token", "value"];

/// A POST that changes nothing, and answers with values.
const READ: &str = "/api/projects/{project_id}/read";

const BEGIN: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.begin_request(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::bytea
) AS v";

const END: &str = "
SELECT v.*
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.end_request(
    CASE WHEN caller.subject IS NOT NULL THEN $3::text END, $4::integer, $5::text, $6::text, $7::text
) AS v";

/// The middleware around all routes.
pub(crate) async fn wrap(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let changes = request.method() == Method::POST && route.is_some_and(|p| p.as_str() != READ);
    if !changes || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    once(&state, request, next)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn once(state: &AppState, request: Request, next: Next) -> Result<Response, Error> {
    let (mut parts, body) = request.into_parts();
    let mut caller = Caller::from_request_parts(&mut parts, state).await?;
    let key = key(&parts)?;
    let body = read_in_time(body).await?;
    let digest = digest(&parts, &body);

    let transaction = Arc::new(Transaction::begin(&state.database).await?);
    caller.transaction = Some(Arc::clone(&transaction));
    let begun = state.database.call(&caller, BEGIN, &[&key, &digest]).await;
    match begun {
        Err(error) => {
            transaction.roll_back().await;
            return Err(error);
        }
        Ok(rows) => {
            if let Some(row) = rows.first() {
                let answer = kept(row);
                transaction.commit().await?;
                return answer;
            }
        }
    }
    parts.extensions.insert(Arc::clone(&transaction));
    // Erased when the last handle on it is gone.
    let request = Request::from_parts(parts, Body::from(Bytes::from_owner(body)));
    let response = next.run(request).await;
    if !response.status().is_success() {
        transaction.roll_back().await;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LONGEST_ANSWER)
        .await
        .map_err(|_| Error::Internal(Fault::new("an answer that is too long to be kept")))?;
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let status = i32::from(parts.status.as_u16());
    state
        .database
        .call(
            &caller,
            END,
            &[&key, &status, &to_keep(&body), &text(LOCATION), &text(ETAG)],
        )
        .await?;
    transaction.commit().await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn key(parts: &Parts) -> Result<String, Error> {
    let mut all = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let one = match (all.next(), all.next()) {
        (Some(one), None) => one.as_bytes(),
        _ => &[],
    };
    let fits = (1..=LONGEST_KEY).contains(&one.len()) && one.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(one) {
        Ok(key) if fits => Ok(key.to_owned()),
        _ => Err(Error::bad_request(
            "send one Idempotency-Key of 1 to 255 visible ASCII characters",
        )),
    }
}

/// A digest of all that the request asks for: two requests that differ in it are not the same.
fn digest(parts: &Parts, body: &[u8]) -> Vec<u8> {
    let target = parts.uri.path_and_query();
    let target = target.map_or("/", axum::http::uri::PathAndQuery::as_str);
    let mut digest = Sha256::new();
    let precondition = parts.headers.get(axum::http::header::IF_MATCH);
    for part in [
        parts.method.as_str().as_bytes(),
        target.as_bytes(),
        precondition.map_or(&[][..], HeaderValue::as_bytes),
        body,
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

/// The body as it is kept, where it may be.
fn to_keep(body: &[u8]) -> Option<&str> {
    if body.is_empty() {
        return Some("");
    }
    let json: Value = serde_json::from_slice(body).ok()?;
    let shown_once = |name| json.get(name).is_some_and(|member| !member.is_null());
    let may_be_kept = !SHOWN_ONCE.into_iter().any(shown_once) && body.len() <= LONGEST_KEPT;
    std::str::from_utf8(body).ok().filter(|_| may_be_kept)
}

/// The answer of the first time.
fn kept(row: &Row) -> Result<Response, Error> {
    let status: i32 = row.try_get("status")?;
    let status = u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| Error::Internal(Fault::new("a kept answer without a status")))?;
    let body: String = row.try_get("body")?;
    let is_json = !body.is_empty();
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if is_json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, column) in [(LOCATION, "location"), (ETAG, "etag")] {
        let text: Option<String> = row.try_get(column)?;
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_once_is_not_kept() {
        for body in ["", "{}", r#"{"id":1,"secret":null}"#, "null", "[1]"] {
            assert_eq!(to_keep(body.as_bytes()), Some(body));
        }
        let long = format!("\"{}\"", "x".repeat(LONGEST_KEPT));
        for body in [
            r#"{"token":"x"}"#,
            r#"{"secret":"x"}"#,
            r#"{"value":""}"#,
            "x",
            &long,
        ] {
            assert_eq!(to_keep(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_digest_is_of_the_whole_request_and_of_nothing_else() {
        let of = |target: &str, body: &str| {
            let request = Request::post(target).header("x", "y").body(()).unwrap();
            digest(&request.into_parts().0, body.as_bytes())
        };
        assert_eq!(of("/a?b", "c"), of("/a?b", "c"));
        assert_ne!(of("/a?b", "c"), of("/a?b", "d"));
        assert_ne!(of("/a?b", "c"), of("/a?bc", ""));
        assert_ne!(of("/a?b", "c"), of("/a", "c"));
    }
}
