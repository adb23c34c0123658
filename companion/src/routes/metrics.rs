//! `GET /metrics`: for Prometheus. Needs no token, and names nothing.

use crate::state::AppState;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

/// 200 with the numbers, whatever is wrong: those that cannot be had are missing.
pub(crate) async fn handle(
    State(state): State<AppState>,
) -> ([(HeaderName, &'static str); 1], String) {
    let figures = state.figures.get(&state.database).await;
    let text = state.metrics.render(&state.database, figures.as_ref());
    let form = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, form)], text)
}
