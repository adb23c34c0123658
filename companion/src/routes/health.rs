//! `GET /healthz` and `GET /readyz`: for whoever watches the process. Neither needs a token.

use crate::figures::Figures;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

const STATEMENT: &str = "
SELECT coalesce(
    pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('control_plane')::oid, 'USAGE')
    AND pg_catalog.has_function_privilege(
        pg_catalog.to_regprocedure('control_plane.authenticate(text, jsonb)')::oid, 'EXECUTE'
    ),
    false
) AS usable";

/// How long the database may take for the answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The process lives.
#[derive(Debug, Serialize)]
pub(crate) struct Alive {
    status: &'static str,
}

/// What the service needs, and whether each is there.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    status: &'static str,
    checks: Checks,
}

/// One word for each check: `ok`, `failed`, or `unknown` where another failure hides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Checks {
    /// A statement came back in time.
    pub(crate) database: &'static str,
    /// The functions of `control_plane` are there, and the companion's login may call them.
    pub(crate) extension: &'static str,
    /// The server has a key.
    pub(crate) key: &'static str,
    /// The workers of the extension run.
    pub(crate) workers: &'static str,
}

impl Checks {
    /// Asks the database.
    pub(crate) async fn run(state: &AppState) -> Self {
        let rows = timeout(LIMIT, state.database.run(STATEMENT, &[])).await;
        let usable = match &rows {
            Ok(Ok(rows)) => rows.first().and_then(|row| row.try_get("usable").ok()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the readiness check failed");
                None
            }
            Err(_) => None,
        };
        let (database, extension) = match usable {
            Some(true) => ("ok", "ok"),
            Some(false) => ("ok", "failed"),
            None => ("failed", "unknown"),
        };
        let figures = match usable {
            Some(true) => state.figures.get(&state.database).await,
            _ => None,
        };
        let word = |passed: Option<bool>| match passed {
            Some(true) => "ok",
            Some(false) => "failed",
            None => "unknown",
        };
        Self {
            database,
            extension,
            key: word(figures.as_ref().map(|figures| figures.key_available)),
            workers: word(figures.as_ref().map(Figures::workers_run)),
        }
    }

    /// Whether requests can be served.
    pub(crate) fn passed(self) -> bool {
        [self.database, self.extension, self.key, self.workers] == ["ok"; 4]
    }
}

/// 200 as long as the process answers at all.
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// 200 where requests can be served, else 503 with the checks that failed.
pub(crate) async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let checks = Checks::run(&state).await;
    let (code, status) = if checks.passed() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    (code, Json(Readiness { status, checks }))
}
