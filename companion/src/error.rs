//! Everything that can go wrong with a request, and what becomes of it.
//!
//! The database's errors are told apart by SQLSTATE, never by their text. Only an error that the
//! extension raised itself (`PTnnn`) is shown: the text of any other may quote a value, so of
//! those not even the log gets more than [`Fault`] holds.

use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deadpool_postgres::PoolError;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request itself is at fault. The text is ours and quotes nothing of the request.
    #[error("{1}")]
    Request(StatusCode, Cow<'static, str>),
    /// The extension refused, and says so in words meant for the client.
    #[error("the database refused: {}", .0.status)]
    Refused(Box<Problem>),
    /// Two changes met; the same request may succeed when sent again.
    #[error("serialization failure or deadlock")]
    Contention,
    /// The database did not accept a parameter (SQLSTATE class 22).
    #[error("invalid parameter")]
    Parameter,
    /// A constraint was violated (SQLSTATE class 23).
    #[error("constraint violated")]
    Constraint,
    /// The database cannot be used now.
    #[error("unavailable: {0}")]
    Unavailable(Fault),
    /// A fault of ours, or of the installation.
    #[error("internal: {0}")]
    Internal(Fault),
}

/// What the log may know of a fault: nothing in here can hold a value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What failed, in our own words.
    pub(crate) what: &'static str,
    /// The database's code, where it answered.
    pub(crate) sqlstate: Option<String>,
    /// ERROR, FATAL or PANIC.
    pub(crate) severity: Option<String>,
    /// The function of the server's source that raised it.
    pub(crate) routine: Option<String>,
}

impl Fault {
    /// A fault without a word from the database.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            ..Self::default()
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.what)?;
        for (name, part) in [
            ("sqlstate", &self.sqlstate),
            ("severity", &self.severity),
            ("routine", &self.routine),
        ] {
            if let Some(part) = part {
                write!(formatter, " {name}={part}")?;
            }
        }
        Ok(())
    }
}

/// What an SQLSTATE means for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Refused(StatusCode),
    Contention,
    Parameter,
    Constraint,
    Unavailable,
    Internal,
}

/// `PTnnn` carries the HTTP status; the rest are Postgres' own codes (its manual, appendix A).
fn classify(sqlstate: &str) -> Class {
    if let Some(digits) = sqlstate.strip_prefix("PT") {
        return digits
            .parse()
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|status| status.is_client_error() || status.is_server_error())
            .map_or(Class::Internal, Class::Refused);
    }
    match sqlstate {
        "40001" | "40P01" | "55P03" => Class::Contention,
        // 42501: the companion's login was not given EXECUTE, which is no fault of the request.
        "57P01" | "57P02" | "57P03" | "57014" | "25006" | "42501" => Class::Unavailable,
        _ => match sqlstate.get(..2) {
            Some("08" | "53") => Class::Unavailable,
            Some("22") => Class::Parameter,
            Some("23") => Class::Constraint,
            _ => Class::Internal,
        },
    }
}

/// Whether a connection is useless after `error`: its server has become read-only (tokio-postgres
/// looks at that only while it connects), or its prepared statements no longer fit the schema.
pub(crate) fn spoils_connection(error: &tokio_postgres::Error) -> bool {
    error.is_closed()
        || error
            .code()
            .is_some_and(|code| matches!(code.code(), "25006" | "0A000" | "26000"))
}

impl Error {
    /// The request is at fault, with 400; `detail` quotes nothing of it.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Request(StatusCode::BAD_REQUEST, detail.into())
    }

    /// The request brings no usable bearer token.
    pub(crate) fn unauthenticated() -> Self {
        Self::Request(
            StatusCode::UNAUTHORIZED,
            "send one header 'Authorization: Bearer <token>'".into(),
        )
    }

    /// The answer for a secret that does not exist or that the caller may not see.
    pub(crate) fn no_such_secret() -> Self {
        Self::Request(StatusCode::NOT_FOUND, "no such secret".into())
    }

    /// 404, for an id that is none.
    pub(crate) fn no_such_endpoint() -> Self {
        Self::Request(StatusCode::NOT_FOUND, "no such endpoint".into())
    }

    /// 412, for a condition that contradicts the request's own path.
    pub(crate) fn precondition_failed() -> Self {
        Self::Request(
            StatusCode::PRECONDITION_FAILED,
            "If-Match does not name the version that the path names".into(),
        )
    }

    /// The same error as it is answered to a request with a condition: a conflict over which version is current
    /// is 412, with the same members.
    pub(crate) fn of_precondition(self) -> Self {
        match self {
            Self::Refused(problem)
                if problem.status == StatusCode::CONFLICT
                    && problem.members.contains_key("current_id") =>
            {
                let Problem {
                    detail, members, ..
                } = *problem;
                Self::Refused(Box::new(Problem {
                    members,
                    ..Problem::new(StatusCode::PRECONDITION_FAILED, detail)
                }))
            }
            other => other,
        }
    }

    /// What a person at a terminal is told.
    pub(crate) fn for_people(&self) -> String {
        match self {
            Self::Refused(problem) => problem.detail.as_ref().to_owned(),
            other => other.to_string(),
        }
    }

    fn problem(&self) -> Problem {
        match self {
            Self::Request(status, detail) => Problem::new(*status, detail.clone()),
            Self::Refused(problem) => problem.as_ref().clone(),
            Self::Contention => Problem {
                kind: "retry",
                title: "Another change got in the way",
                ..Problem::new(
                    StatusCode::CONFLICT,
                    "nothing was changed; send the request again",
                )
            },
            Self::Parameter => Problem::new(
                StatusCode::BAD_REQUEST,
                "the database does not accept one of the request's values",
            ),
            Self::Constraint => Problem::new(
                StatusCode::CONFLICT,
                "the request contradicts what the database holds",
            ),
            Self::Unavailable(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be used now",
            ),
            Self::Internal(_) => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the log has the particulars under this request_id",
            ),
        }
    }
}

/// The parts of a database error that are of use here.
struct Raised<'a> {
    sqlstate: &'a str,
    severity: &'a str,
    routine: Option<&'a str>,
    message: &'a str,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
}

impl From<Raised<'_>> for Error {
    fn from(raised: Raised<'_>) -> Self {
        let fault = Fault {
            what: "the database failed the statement",
            sqlstate: Some(raised.sqlstate.to_owned()),
            severity: Some(raised.severity.to_owned()),
            routine: raised.routine.map(str::to_owned),
        };
        match classify(raised.sqlstate) {
            Class::Refused(status) => Self::Refused(Box::new(Problem {
                members: members(raised.detail),
                ..Problem::new(status, sentence(raised.message, raised.hint))
            })),
            Class::Contention => Self::Contention,
            Class::Parameter => Self::Parameter,
            Class::Constraint => Self::Constraint,
            Class::Unavailable => Self::Unavailable(fault),
            Class::Internal => Self::Internal(fault),
        }
    }
}

/// Message and hint as one text.
fn sentence(message: &str, hint: Option<&str>) -> String {
    match hint {
        None => message.to_owned(),
        Some(hint) if message.ends_with(['.', '!', '?']) => [message, " ", hint].concat(),
        Some(hint) => [message, ". ", hint].concat(),
    }
}

/// DETAIL's members, where it is the JSON object that the contract says it is.
fn members(detail: Option<&str>) -> Map<String, Value> {
    detail
        .and_then(|detail| serde_json::from_str(detail).ok())
        .unwrap_or_default()
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(raised) = error.as_db_error() {
            return Raised {
                sqlstate: raised.code().code(),
                severity: raised.severity(),
                routine: raised.routine(),
                message: raised.message(),
                detail: raised.detail(),
                hint: raised.hint(),
            }
            .into();
        }
        let connection = error.is_closed()
            || error
                .source()
                .is_some_and(|source| source.is::<std::io::Error>());
        if connection {
            Self::Unavailable(Fault::new("the connection to the database broke"))
        } else {
            Self::Internal(Fault::new(
                "a statement's parameters or columns do not fit the database's",
            ))
        }
    }
}

impl From<PoolError> for Error {
    /// Without a connection nothing is wrong with the request, whatever the cause.
    fn from(error: PoolError) -> Self {
        Self::Unavailable(match error {
            PoolError::Timeout(_) => {
                Fault::new("no connection to the database became free in time")
            }
            PoolError::Backend(error) => match error.as_db_error() {
                Some(raised) => Fault {
                    what: "the database refused the connection",
                    sqlstate: Some(raised.code().code().to_owned()),
                    severity: Some(raised.severity().to_owned()),
                    routine: raised.routine().map(str::to_owned),
                },
                None => Fault::new(
                    "the database cannot be reached, or asks for a password that neither DATABASE_URL nor PGPASSWORD gives",
                ),
            },
            _ => Fault::new("the connection pool is closed"),
        })
    }
}

impl IntoResponse for Error {
    /// Logs what is ours to mend; the envelope, which knows the request's id, writes the body.
    fn into_response(self) -> Response {
        match &self {
            Self::Unavailable(_) => tracing::warn!(error = %self, "request failed"),
            Self::Internal(_) => tracing::error!(error = %self, "request failed"),
            Self::Refused(problem) if problem.status.is_server_error() => {
                tracing::warn!(error = %self, detail = %problem.detail, "request failed");
            }
            _ => {}
        }
        let problem = self.problem();
        let mut response = problem.status.into_response();
        response.extensions_mut().insert(problem);
        response
    }
}

#[cfg(test)]
mod tests;
