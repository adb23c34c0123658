//! The connection to a companion.
//!
//! No redirection is followed and no proxy of the environment is asked: the token goes to the address
//! that it is for. What is sent and what arrives lies in memory that erases itself, but for the buffers
//! of the HTTP library.

use crate::client::access::Access;
use crate::client::address;
use crate::client::failure::{Failure, Kind};
use crate::client::problem;
use crate::visible::visible;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::time::Duration;
use url::Url;
use zeroize::{Zeroize, Zeroizing};

const SERVICE: HeaderName = HeaderName::from_static("x-service-name");

/// How long one request may take. The server gives up waiting for its audit long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take until there is a connection.
const PATIENCE_FOR_CONNECTION: Duration = Duration::from_secs(10);

/// The longest answer, in bytes; the database gives 256 MB of values at most.
const LONGEST_ANSWER: usize = 512 << 20;

/// A client of one companion, with its token.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    url: Url,
    authorization: HeaderValue,
    service: Option<HeaderValue>,
}

/// The body of an answer that is no error, and the server's clock.
pub(crate) struct Answer {
    body: Zeroizing<Vec<u8>>,
    /// When the server answered, by its own clock if it says so.
    pub(crate) at: Timestamp,
}

impl Answer {
    /// The body as it is read here; what a newer server says besides is left alone.
    ///
    /// # Errors
    /// Where it has another form.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        // The parser's own words would quote the body.
        serde_json::from_slice(&self.body).map_err(|_| not_ours())
    }
}

impl Connection {
    /// A client for an address and a token; nothing is sent yet.
    ///
    /// # Errors
    /// Where the token cannot be one, and where the machine's TLS does not start.
    pub(crate) fn new(access: &Access) -> Result<Self, Failure> {
        let header = Zeroizing::new(["Bearer ", access.token.expose()].concat());
        let mut authorization = HeaderValue::from_str(&header).map_err(|_| {
            Failure::new(Kind::Denied, "the token has characters that no token has")
        })?;
        authorization.set_sensitive(true);
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("pg-secrets/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE_FOR_CONNECTION)
            .timeout(PATIENCE)
            .build()
            .map_err(|_| Failure::new(Kind::Failed, "the machine's TLS does not start"))?;
        Ok(Self {
            client,
            url: access.url.clone(),
            authorization,
            service: None,
        })
    }

    /// The same, reading under the name of a service.
    ///
    /// # Errors
    /// Where no header can hold the name.
    pub(crate) fn reading_as(mut self, service: Option<&str>) -> Result<Self, Failure> {
        let header = |name: &str| HeaderValue::from_bytes(name.as_bytes());
        self.service = service.map(header).transpose().map_err(|_| {
            Failure::new(
                Kind::Usage,
                "the service's name must not hold control characters",
            )
        })?;
        Ok(self)
    }

    /// GET.
    ///
    /// # Errors
    /// Where there is no answer, or one that is an error.
    pub(crate) async fn get(
        &self,
        route: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, route, query)?).await
    }

    /// POST of a JSON body.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) async fn post(
        &self,
        route: &[&str],
        query: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<Answer, Failure> {
        let request = self
            .request(Method::POST, route, query)?
            .header(CONTENT_TYPE, "application/json")
            .body(json(body)?);
        self.send(request).await
    }

    fn request(
        &self,
        method: Method,
        route: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = address::route(&self.url, route)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        Ok(match &self.service {
            Some(service) => request.header(SERVICE, service.clone()),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let at = clock(response.headers()).unwrap_or_else(Timestamp::now);
        if status.is_redirection() {
            return Err(redirected(response.headers()));
        }
        let body = body(response).await?;
        if status.is_success() {
            return Ok(Answer { body, at });
        }
        Err(problem::failure(status.as_u16(), &body))
    }
}

/// The body in a buffer that erases itself once the last of it is sent.
fn json(body: &impl Serialize) -> Result<Bytes, Failure> {
    let failed = |_| Failure::new(Kind::Failed, "the request cannot be written as JSON");
    // Twice: first to know how long it is, for growing would leave copies behind.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, body).map_err(failed)?;
    let mut written = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *written, body).map_err(failed)?;
    Ok(Bytes::from_owner(written))
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0 += text.len();
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn body(response: Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    let mut body = Zeroizing::new(Vec::with_capacity(announced.min(1 << 20)));
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(unreachable)?;
        if body.len() + piece.len() > LONGEST_ANSWER {
            return Err(Failure::new(
                Kind::Failed,
                "the server's answer is too long",
            ));
        }
        append(&mut body, &piece);
        // Ours alone now, as a rule.
        if let Ok(mut piece) = piece.try_into_mut() {
            piece.zeroize();
        }
    }
    Ok(body)
}

/// Appends without leaving a copy behind where the buffer moves.
pub(crate) fn append(buffer: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    let needed = buffer.len() + piece.len();
    if needed > buffer.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(buffer.capacity() * 2)));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(piece);
}

fn clock(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let zoned = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(zoned.timestamp())
}

fn redirected(headers: &HeaderMap) -> Failure {
    let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
    let to = to.map_or_else(String::new, |to| format!(" to {}", visible(to)));
    Failure::new(
        Kind::Failed,
        format!(
            "the server sends us elsewhere{to}, and a token is not carried along; give the address that answers itself"
        ),
    )
}

/// The address stays out of it: it names projects and secrets.
fn unreachable(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::new(Kind::Unreachable, "the server does not answer in time");
    }
    let mut text = "the server cannot be reached".to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        // The last one says what it was.
        if error.source().is_none() {
            text = format!("{text}: {}", visible(&error.to_string()));
        }
        cause = error.source();
    }
    Failure::new(Kind::Unreachable, text)
}

fn not_ours() -> Failure {
    Failure::new(
        Kind::Failed,
        "the server does not answer as a companion does",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_serde_writes_and_a_buffer_grows_to_what_was_appended() {
        let body = json(&serde_json::json!({"value": "a\"\u{1}ü"})).unwrap();
        assert_eq!(&*body, "{\"value\":\"a\\\"\\u0001ü\"}".as_bytes());
        let mut buffer = Zeroizing::new(Vec::new());
        for _ in 0..1000 {
            append(&mut buffer, b"abc");
        }
        assert_eq!(&buffer[..], "abc".repeat(1000).as_bytes());
    }
}
