//! The router, made of `route_table.rs`.

use crate::error::Error;
use crate::state::AppState;
use crate::{envelope, idempotency, metrics, rate_limit};
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing;

macro_rules! route_table {
    ($($method:ident $path:literal => $($handler:ident)::+;)*) => {
        fn routes() -> Router<AppState> {
            Router::new()$(.route($path, routing::$method(crate::routes::$($handler)::+)))*
        }

        #[cfg(test)]
        const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];
    };
}

include!("route_table.rs");

/// Every route of the service, inside the envelope that all answers share.
pub(crate) fn router(state: AppState) -> Router {
    routes()
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(state.clone(), idempotency::wrap))
        .layer(from_fn_with_state(state.clone(), rate_limit::wrap))
        .layer(from_fn(envelope::wrap))
        .layer(from_fn_with_state(state.clone(), metrics::count))
        .with_state(state)
}

async fn no_such_route() -> Error {
    Error::Request(StatusCode::NOT_FOUND, "no such route".into())
}

async fn no_such_method() -> Error {
    Error::Request(
        StatusCode::METHOD_NOT_ALLOWED,
        "the header Allow lists the methods of this route".into(),
    )
}

#[cfg(test)]
mod tests;
