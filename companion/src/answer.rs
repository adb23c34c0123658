//! The answers that several routes give.

use crate::error::{Error, Fault};
use crate::secret::{SecretValue, SecretVersion};
use axum::Json;
use axum::http::header::{ETAG, LINK, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio_postgres::Row;
use uuid::Uuid;

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// A version that was made: 201, where to find it, and the version without its value.
///
/// # Errors
/// Where the row is not a `secret_version`.
pub(crate) fn created(row: &Row) -> Result<Response, Error> {
    let version = SecretVersion::from_row(row)?;
    let mut response = (StatusCode::CREATED, Json(&version)).into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, header(path_of(version.id))?);
    headers.insert(ETAG, etag(version.id)?);
    Ok(response)
}

/// One version with its value. One in grace says when it was superseded (RFC 9745), when it stops
/// to be readable (RFC 8594), and what to read instead; the row's `current_id` names that.
///
/// # Errors
/// Where the row is not a `secret_value` with `current_id`.
pub(crate) fn revealed(row: &Row) -> Result<Response, Error> {
    let secret = SecretValue::from_row(row)?;
    let current: Option<Uuid> = row.try_get("current_id")?;
    let mut response = Json(&secret).into_response();
    mark(&mut response, &secret.version, current)?;
    Ok(response)
}

/// 304: the reader has the value of the row's version. The headers are those of [`revealed`].
///
/// # Errors
/// Where the row is not a `secret_version` with `current_id`.
pub(crate) fn unchanged(row: &Row) -> Result<Response, Error> {
    let version = SecretVersion::from_row(row)?;
    let current: Option<Uuid> = row.try_get("current_id")?;
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    mark(&mut response, &version, current)?;
    Ok(response)
}

/// Adds what is said of a version beside its value.
fn mark(
    response: &mut Response,
    version: &SecretVersion,
    current: Option<Uuid>,
) -> Result<(), Error> {
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(version.id)?);
    if version.in_grace() {
        if let Some(superseded_at) = version.superseded_at {
            headers.insert(DEPRECATION, header(structured_date(superseded_at))?);
        }
        if let Some(expires_at) = version.expires_at {
            headers.insert(SUNSET, header(http_date(expires_at)?)?);
        }
        if let Some(current) = current {
            let link = ["<", &path_of(current), ">; rel=\"successor-version\""].concat();
            headers.insert(LINK, header(link)?);
        }
    }
    Ok(())
}

/// The entity tag of a version: its id, for a failover may give one number to two versions.
///
/// # Errors
/// None that can happen; see [`header`].
fn etag(id: Uuid) -> Result<HeaderValue, Error> {
    header(["\"", &id.to_string(), "\""].concat())
}

fn path_of(id: Uuid) -> String {
    ["/api/secrets/", &id.to_string()].concat()
}

/// A header's value.
///
/// # Errors
/// Where the text has characters that a header cannot have.
pub(crate) fn header(text: String) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(text)
        .map_err(|_| Error::Internal(Fault::new("a header's value is not well formed")))
}

/// A date of structured fields (RFC 9651, section 3.3.7): seconds since 1970.
fn structured_date(at: Timestamp) -> String {
    ["@", &at.as_second().to_string()].concat()
}

/// An IMF-fixdate (RFC 9110, section 5.6.7).
fn http_date(at: Timestamp) -> Result<String, Error> {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .map_err(|_| Error::Internal(Fault::new("a date has no HTTP form")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_forms_that_their_headers_want() {
        let at: Timestamp = "2026-03-01T05:06:07.890123Z".parse().unwrap();
        assert_eq!(structured_date(at), "@1772341567");
        assert_eq!(http_date(at).unwrap(), "Sun, 01 Mar 2026 05:06:07 GMT");
        assert_eq!(structured_date(Timestamp::UNIX_EPOCH), "@0");
    }

    #[test]
    fn an_etag_is_the_quoted_id() {
        let id = Uuid::nil();
        assert_eq!(
            etag(id).unwrap(),
            "\"00000000-0000-0000-0000-000000000000\""
        );
    }
}
