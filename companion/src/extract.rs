//! What handlers take out of a request. Every rejection is one of our own errors and quotes
//! nothing of the request: the text of serde's errors would.

use crate::error::Error;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The longest body that is read, in bytes. How long a value may be is the database's rule.
const LONGEST_BODY: usize = 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A body of JSON, of a form that a person can be told in one line.
pub(crate) trait JsonForm: DeserializeOwned {
    /// The form, for the error that a body of another form gets.
    const FORM: &'static str;
}

/// The request's body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Sync, T: JsonForm> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        let body = read_in_time(request.into_body()).await?;
        parse(&body).map(Self)
    }
}

/// The request's body, where one may be left out.
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

impl<S: Sync, T: JsonForm + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let is_json = is_json(request.headers());
        let body = read_in_time(request.into_body()).await?;
        match body.is_empty() {
            true => Ok(Self(T::default())),
            false if is_json => parse(&body).map(Self),
            false => Err(not_json()),
        }
    }
}

/// The body of a request that takes none, or an empty object: what it held might ask for something
/// that must not be ignored.
pub(crate) struct NoBody;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl JsonForm for Nothing {
    const FORM: &'static str = "{}, or nothing";
}

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        OptionalJsonBody::<Nothing>::from_request(request, state).await?;
        Ok(Self)
    }
}

fn not_json() -> Error {
    Error::Request(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "send the body as Content-Type: application/json".into(),
    )
}

/// A whole body, as long as we take.
///
/// # Errors
/// Where it is longer, or does not arrive in time.
pub(crate) async fn read_in_time(body: Body) -> Result<Zeroizing<Vec<u8>>, Error> {
    timeout(BODY_TIME, read(body)).await.map_err(|_| {
        Error::Request(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time".into(),
        )
    })?
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(given)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = given.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The whole body, in memory that is overwritten when it is no longer needed.
async fn read(body: Body) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut frames = body.into_data_stream();
    let mut whole = Zeroizing::new(Vec::new());
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| Error::bad_request("the body broke off"))?;
        if whole.len() + frame.len() > LONGEST_BODY {
            return Err(Error::Request(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is longer than 1 MiB".into(),
            ));
        }
        if whole.capacity() - whole.len() < frame.len() {
            // Growing in place would free the old memory as it is.
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * (whole.len() + frame.len())));
            larger.extend_from_slice(&whole);
            whole = larger;
        }
        whole.extend_from_slice(&frame);
    }
    Ok(whole)
}

fn parse<T: JsonForm>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            Category::Data => "the body is not of this form",
            Category::Eof => "the body ends too early",
            Category::Syntax | Category::Io => "the body is not valid JSON in UTF-8",
        };
        Error::bad_request(format!(
            "{what} (line {}, column {}); expected: {}",
            error.line(),
            error.column(),
            T::FORM
        ))
    })
}

/// The query's parameters. A route that takes none uses [`NoParameters`]: a parameter that we do
/// not know may ask for something that must not be ignored.
pub(crate) struct QueryOf<T>(pub(crate) T);

/// The query of a route that takes no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        if !decodes_to_utf8(parts.uri.query().unwrap_or_default()) {
            return Err(Error::bad_request("the query is not UTF-8"));
        }
        Query::try_from_uri(&parts.uri)
            .map(|Query(query)| Self(query))
            .map_err(|_| {
                Error::bad_request(
                    "the query has a parameter that this route does not take or that is not of the form it has, or lacks one that it needs",
                )
            })
    }
}

/// The query of a read: it may name the service that reads, as the header does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceQuery {
    pub(crate) service: Option<String>,
}

/// Whether the text is UTF-8 once its percent-encoding (RFC 3986, section 2.1) is undone. The
/// parser of queries would put replacement characters in place of what is not.
fn decodes_to_utf8(encoded: &str) -> bool {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let digit = |place: usize| char::from(*after.get(place)?).to_digit(16);
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits make one byte.
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => decoded.push(first),
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// The parameters in the path. One that is not of its type names nothing that exists: 404.
pub(crate) struct PathOf<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(path)| Self(path))
            .map_err(|rejection| match rejection.status() {
                StatusCode::BAD_REQUEST if !decodes_to_utf8(parts.uri.path()) => {
                    Error::bad_request("the path is not UTF-8")
                }
                _ => Error::no_such_secret(),
            })
    }
}

/// The endpoint that the path names. What is no id names none: 404.
pub(crate) struct EndpointId(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for EndpointId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::<Uuid>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Error::no_such_endpoint()),
        }
    }
}

/// The service that the header `X-Service-Name` names.
#[derive(Debug)]
pub(crate) struct ServiceHeader(Option<String>);

impl ServiceHeader {
    /// The service that a reader names itself by: the header's, or else the query's.
    pub(crate) fn or(self, query: Option<String>) -> Option<String> {
        self.0.or(query)
    }
}

impl<S: Sync> FromRequestParts<S> for ServiceHeader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let mut all = parts.headers.get_all("x-service-name").iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(Self(None)),
            (Some(name), None) => match std::str::from_utf8(name.as_bytes()) {
                Ok(name) => Ok(Self(Some(name.to_owned()))),
                Err(_) => Err(Error::bad_request("X-Service-Name is not UTF-8")),
            },
            _ => Err(Error::bad_request("X-Service-Name was sent more than once")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_text::SecretText;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        name: String,
        #[allow(dead_code)]
        value: SecretText,
    }

    impl JsonForm for Sample {
        const FORM: &'static str = r#"{"name": text, "value": text}"#;
    }

    #[test]
    fn a_bad_body_is_described_and_never_quoted() {
        for body in [
            r#"{"name":"a","value":{"hunter2":1}}"#,
            r#"{"name":"a","value":"v","hunter2":1}"#,
            r#"{"name":hunter2}"#,
            r#"{"name":"hunter2"#,
            r#"{"name":"hunter2"}"#,
            r#"["hunter2"]"#,
            r#""hunter2""#,
            "",
        ] {
            let error = parse::<Sample>(body.as_bytes()).unwrap_err();
            let text = error.to_string();
            assert!(!text.contains("hunter2"), "{text}");
            assert!(
                text.contains("line ") && text.contains(Sample::FORM),
                "{text}"
            );
        }
        assert!(parse::<Sample>(b"{\"name\":\"\xff\",\"value\":\"\"}").is_err());
    }

    #[test]
    fn only_utf8_passes_as_a_query() {
        for good in ["", "a=b", "a=%C3%A4", "a=%zz", "a=100%", "a=%4"] {
            assert!(decodes_to_utf8(good), "{good}");
        }
        for bad in ["a=%FF", "a=%C3", "a=%ed%a0%80"] {
            assert!(!decodes_to_utf8(bad), "{bad}");
        }
    }

    #[test]
    fn json_is_recognised_by_its_media_type() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
