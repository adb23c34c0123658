//! What goes wrong, as SQLSTATEs `PTnnn`, nnn being the HTTP status: PostgREST and the companion map
//! it without reading text. The message says what happened and to which object, DETAIL is one JSON
//! object for programs, HINT says what to do. None of them ever holds a value.

use serde_json::{Value, json};
use uuid::Uuid;

/// What an operation of the extension gives.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// One error, raised as an ERROR at the border to Postgres.
#[derive(Debug)]
pub(crate) struct Error {
    status: Status,
    pub(crate) message: String,
    pub(crate) detail: Option<Value>,
    pub(crate) hint: Option<String>,
    /// Whether it says that the audit itself does not work.
    unrecordable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    BadInput,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Gone,
    TooLarge,
    Unprocessable,
    Internal,
    Unavailable,
}

impl Error {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            detail: None,
            hint: None,
            unrecordable: false,
        }
    }

    /// The SQLSTATE's five characters.
    pub(crate) fn sqlstate(&self) -> [u8; 5] {
        *match self.status {
            Status::BadInput => b"PT400",
            Status::Unauthenticated => b"PT401",
            Status::Forbidden => b"PT403",
            Status::NotFound => b"PT404",
            Status::Conflict => b"PT409",
            Status::Gone => b"PT410",
            Status::TooLarge => b"PT413",
            Status::Unprocessable => b"PT422",
            Status::Internal => b"PT500",
            Status::Unavailable => b"PT503",
        }
    }

    /// Whether a request was understood and refused: for want of rights, because of the state of what it
    /// names, or because what is stored cannot be given out.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.unrecordable
            && matches!(
                self.status,
                Status::Forbidden
                    | Status::NotFound
                    | Status::Gone
                    | Status::Unprocessable
                    | Status::Unavailable
            )
    }

    /// Whether it says that something is too large.
    pub(crate) fn is_too_large(&self) -> bool {
        self.status == Status::TooLarge
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// PT400: the caller's input is not of the right form.
    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self::new(Status::BadInput, message)
    }

    /// PT400: an argument is NULL that must not be.
    pub(crate) fn null(argument: &str) -> Self {
        Self::bad_input(format!("{argument} must not be null"))
    }

    /// PT401: nobody was authenticated, or the token is not valid.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Status::Unauthenticated, message)
    }

    /// PT403: the caller is known and may not.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Status::Forbidden, message)
    }

    /// PT404: the secret is not there, or not for this caller; the two are told apart by nothing.
    pub(crate) fn no_such_secret() -> Self {
        Self::new(Status::NotFound, "no such secret")
    }

    /// PT404: of several names those at these positions, counted from 1, are not there. The names
    /// themselves stay out of the error: somebody may have put a value in a name's place.
    pub(crate) fn missing(positions: &[usize]) -> Self {
        Self::new(Status::NotFound, "no such secret").with_detail(json!({"missing": positions}))
    }

    /// PT404: the secret is there, and has no version of this number.
    pub(crate) fn no_such_version() -> Self {
        Self::new(Status::NotFound, "no such version")
            .with_hint("secret_versions() lists those that there are.")
    }

    /// PT404: the endpoint is not there, or not for this caller.
    pub(crate) fn no_such_endpoint() -> Self {
        Self::new(Status::NotFound, "no such endpoint")
    }

    /// PT404 for what is not a secret.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Status::NotFound, message)
    }

    /// PT409: another version is current by now.
    pub(crate) fn superseded(current: Uuid) -> Self {
        Self::new(Status::Conflict, "this version is not the current one")
            .with_detail(json!({"current_id": current}))
            .with_hint("Look at the current version, and repeat with its id if the change is still wanted.")
    }

    /// PT409: the name is taken.
    pub(crate) fn name_taken(current: Uuid) -> Self {
        Self::new(Status::Conflict, "a secret of this name exists already")
            .with_detail(json!({"current_id": current}))
            .with_hint("Rotate it to give it a new value, or delete it first.")
    }

    /// PT409: what is there does not allow it.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(Status::Conflict, message)
    }

    /// PT409: a request was done, and its answer, which is shown once, was not kept.
    pub(crate) fn shown_once() -> Self {
        Self::conflict("this request was done already, and its answer is not kept: it held something that is shown once")
            .with_hint("Where that is lost, make another one, and revoke or replace the first.")
    }

    /// PT409: the state of the secret does not allow it. `current` is the version that is or was
    /// current.
    pub(crate) fn wrong_state(message: impl Into<String>, current: Uuid) -> Self {
        Self::new(Status::Conflict, message).with_detail(json!({"current_id": current}))
    }

    /// PT409: somebody made the extension's schema before it.
    pub(crate) fn schema_exists() -> Self {
        Self::new(
            Status::Conflict,
            "schema \"control_plane\" exists already, and pg_secrets does not adopt what it did not make",
        )
        .with_hint(
            "Look who owns it and what is in it (\\dn+ control_plane), rename or drop it, then run CREATE EXTENSION pg_secrets again.",
        )
    }

    /// PT409: the project has `most` endpoints, and may have no more.
    pub(crate) fn too_many_endpoints(most: i32) -> Self {
        Self::new(
            Status::Conflict,
            "the project has as many endpoints as it may have",
        )
        .with_hint(format!(
            "Delete one, or raise pg_secrets.endpoints_per_project ({most})."
        ))
    }

    /// PT409: nothing is sent to an endpoint that is disabled.
    pub(crate) fn endpoint_disabled() -> Self {
        Self::new(Status::Conflict, "the endpoint is disabled")
            .with_hint("Enable it first: update_endpoint(endpoint_id => …, enabled => true), or PATCH it with {\"enabled\": true}.")
    }

    /// PT410: the version was destroyed.
    pub(crate) fn destroyed(current: Option<Uuid>) -> Self {
        Self::new(
            Status::Gone,
            "this version's grace is over, and its value can no longer be read",
        )
        .with_detail(json!({"current_id": current}))
        .with_hint("Read the current version.")
    }

    /// PT413: too large a value or answer.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(Status::TooLarge, message)
    }

    /// PT422: well-formed, and still not to be done.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(Status::Unprocessable, message)
    }

    /// PT503: something that the server needs is missing: the key, the preload.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Status::Unavailable, message)
    }

    /// PT503: a read cannot be recorded, so it does not happen.
    pub(crate) fn unrecordable(message: impl Into<String>) -> Self {
        Self {
            unrecordable: true,
            ..Self::unavailable(message)
        }
    }

    /// PT500: an assumption of ours does not hold.
    pub(crate) fn internal(what: &str) -> Self {
        Self::new(
            Status::Internal,
            format!("pg_secrets: internal error ({what})"),
        )
    }
}
