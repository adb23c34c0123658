//! What every request handler is given.

use crate::db::Database;
use crate::figures::RecentFigures;
use crate::jwt::Verifier;
use crate::metrics::Metrics;
use crate::rate_limit::RateLimit;
use std::sync::Arc;

/// The state of the service: a way to the database, what verifies JWTs, and what is counted.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The pool that every statement goes through.
    pub(crate) database: Database,
    /// What the database said of itself a moment ago.
    pub(crate) figures: RecentFigures,
    /// What was counted of requests.
    pub(crate) metrics: Arc<Metrics>,
    /// How often a token may be used, if that is limited.
    pub(crate) limit: Option<Arc<RateLimit>>,
    /// Where the service accepts JWTs.
    pub(crate) jwt: Option<Arc<Verifier>>,
}

impl AppState {
    /// Of a process that begins.
    pub(crate) fn new(database: Database, limit: Option<RateLimit>, jwt: Option<Verifier>) -> Self {
        Self {
            database,
            figures: RecentFigures::default(),
            metrics: Arc::default(),
            limit: limit.map(Arc::new),
            jwt: jwt.map(Arc::new),
        }
    }
}
