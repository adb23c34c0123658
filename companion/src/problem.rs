//! The form of every error answer: problem+json (RFC 9457).

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// An error as a client sees it. Nothing in here may quote a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The last part of the problem's `type`, for programs.
    pub(crate) kind: &'static str,
    /// What kind of problem it is, for people; the same for all problems of a kind.
    pub(crate) title: &'static str,
    /// What is wrong with this request.
    pub(crate) detail: Cow<'static, str>,
    /// Further members, such as `current_id`.
    pub(crate) members: Map<String, Value>,
}

impl Problem {
    /// A problem whose kind and title follow from its status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (kind, title) = match status.as_u16() {
            400 => ("bad-request", "The request is not well formed"),
            401 => ("unauthenticated", "A valid bearer token is required"),
            403 => ("forbidden", "The caller may not do this"),
            404 => (
                "not-found",
                "There is no such thing, or the caller may not see it",
            ),
            405 => ("method-not-allowed", "The route does not take this method"),
            408 => ("request-timeout", "The request took too long to arrive"),
            409 => ("conflict", "What there is does not allow this now"),
            410 => ("gone", "The version is destroyed"),
            412 => ("precondition-failed", "Another version is current"),
            413 => ("too-large", "The request is too large"),
            415 => ("unsupported-media-type", "The body is not JSON"),
            422 => ("unprocessable", "The request cannot be carried out"),
            429 => ("too-many-requests", "The token is used too often"),
            503 => ("unavailable", "The service is not available now"),
            500..=599 => ("internal", "Something went wrong on our side"),
            _ => ("error", "The request failed"),
        };
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            members: Map::new(),
        }
    }

    /// The members of the answer. Those of the standard win over any of `members`.
    pub(crate) fn to_json(&self, request_id: &str) -> Value {
        let mut json = self.members.clone();
        json.insert(
            "type".to_owned(),
            format!("urn:pg-secrets:problem:{}", self.kind).into(),
        );
        json.insert("title".to_owned(), self.title.into());
        json.insert("status".to_owned(), self.status.as_u16().into());
        json.insert("detail".to_owned(), self.detail.as_ref().into());
        json.insert("request_id".to_owned(), request_id.into());
        Value::Object(json)
    }

    /// Turns `response` into the answer for this problem; headers that are set stay.
    pub(crate) fn render(&self, mut response: Response, request_id: &str) -> Response {
        *response.status_mut() = self.status;
        *response.body_mut() = self.to_json(request_id).to_string().into();
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_of_the_database_never_replace_those_of_the_standard() {
        let mut problem = Problem::new(StatusCode::CONFLICT, "not the current version");
        problem.members.insert("current_id".to_owned(), "x".into());
        problem.members.insert("status".to_owned(), 200.into());
        assert_eq!(
            problem.to_json("r1"),
            json!({
                "type": "urn:pg-secrets:problem:conflict",
                "title": "What there is does not allow this now",
                "status": 409,
                "detail": "not the current version",
                "request_id": "r1",
                "current_id": "x",
            })
        );
    }

    #[test]
    fn a_401_says_how_to_authenticate_and_a_503_when_to_come_back() {
        for (status, header, value) in [
            (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, "Bearer"),
            (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "1"),
        ] {
            let answer = Problem::new(status, "").render(Response::default(), "r1");
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()[header], value);
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }
}
