//! A client of the REST service. It checks in every answer what every answer promises.

use anyhow::{Context, ensure};
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method};
use serde_json::Value;
use std::time::Duration;

/// A client with or without a token.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    url: String,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// A header as text; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// A member of the body as text; empty where there is none.
    #[must_use]
    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }

    /// The member `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// Itself, if the status is this.
    ///
    /// # Errors
    /// The answer, where it is another.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(
            self.status == status,
            "{} in place of {status}: {}",
            self.status,
            self.body
        );
        Ok(self)
    }
}

impl Api {
    /// A client of the service at `url`.
    ///
    /// # Panics
    /// Where the machine's TLS library does not start.
    #[must_use]
    pub fn new(url: &str, token: Option<&str>) -> Self {
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("an HTTP client");
        Self {
            client,
            url: url.to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// The same client with another token: to make one of its own takes long.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// GET.
    ///
    /// # Errors
    /// Where there is no answer, or one that breaks a promise.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::GET, path, None, &[]).await
    }

    /// GET as a service.
    ///
    /// # Errors
    /// As `get`.
    pub async fn get_as(&self, service: &str, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::GET, path, None, &[("x-service-name", service)])
            .await
    }

    /// POST.
    ///
    /// # Errors
    /// As `get`.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.call(Method::POST, path, Some(body.to_string()), &[])
            .await
    }

    /// PATCH.
    ///
    /// # Errors
    /// As `get`.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.call(Method::PATCH, path, Some(body.to_string()), &[])
            .await
    }

    /// PUT without a body.
    ///
    /// # Errors
    /// As `get`.
    pub async fn put(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::PUT, path, None, &[]).await
    }

    /// PUT of a body.
    ///
    /// # Errors
    /// As `get`.
    pub async fn put_json(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.call(Method::PUT, path, Some(body.to_string()), &[])
            .await
    }

    /// POST without a body.
    ///
    /// # Errors
    /// As `get`.
    pub async fn post_nothing(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::POST, path, None, &[]).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// As `get`.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::DELETE, path, None, &[]).await
    }

    /// POST of a body that need not be JSON.
    ///
    /// # Errors
    /// As `get`.
    pub async fn post_text(&self, path: &str, body: &str) -> anyhow::Result<Answer> {
        self.call(Method::POST, path, Some(body.to_owned()), &[])
            .await
    }

    /// Any request, its method in lower case or upper: the body is sent as it is, with a Content-Type where `headers` have one.
    ///
    /// # Errors
    /// As `get`.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let method = method.to_uppercase().parse()?;
        self.call(method, path, body.map(str::to_owned), headers)
            .await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            let stated = |(name, _): &(&str, &str)| *name == CONTENT_TYPE.as_str();
            if !headers.iter().any(stated) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).context("the body is not JSON")?,
        };
        let answer = Answer {
            status,
            headers,
            body,
        };
        answer
            .check()
            .with_context(|| format!("{status} {path}: {}", answer.body))?;
        Ok(answer)
    }
}

impl Answer {
    /// Nothing may be stored on the way, and every error is problem+json.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.header(CACHE_CONTROL.as_str()) == "no-store",
            "an answer that may be stored"
        );
        if self.status >= 400 {
            ensure!(
                self.header(CONTENT_TYPE.as_str()) == "application/problem+json",
                "an error that is not problem+json"
            );
            ensure!(
                self.body["status"] == self.status,
                "the body's status differs"
            );
            ensure!(
                !self.text("title").is_empty() && !self.text("detail").is_empty(),
                "an error without title or detail"
            );
        }
        Ok(())
    }
}
