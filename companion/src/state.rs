//! What every request handler is given.

use crate::db::Database;

/// The state of the service: a way to the database, and nothing else.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The pool that every statement goes through.
    pub(crate) database: Database,
}
