//! What every request handler is given.

use crate::db::Database;
use crate::jwt::Verifier;
use std::sync::Arc;

/// The state of the service: a way to the database, and what verifies JWTs.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The pool that every statement goes through.
    pub(crate) database: Database,
    /// Where the service accepts JWTs.
    pub(crate) jwt: Option<Arc<Verifier>>,
}
