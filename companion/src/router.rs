//! The whole route table.

use crate::error::Error;
use crate::routes::{
    audit, audit_head, consumers, create, create_grant, create_token, create_webhook, delete,
    delete_webhook, deliveries, end_grace, extend_grace, get, get_by_name, get_policy, get_webhook,
    health, list, list_grants, list_tokens, list_webhooks, metrics as numbers, ping_webhook, purge,
    read, redeliver, register_consumer, restore, revoke_grant, revoke_token, rollback, rotate,
    rotate_webhook_secret, set_policy, set_rotation, unregister_consumer, update_webhook, version,
    versions,
};
use crate::state::AppState;
use crate::{envelope, idempotency, metrics, rate_limit};
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing;

/// Every route of the service, inside the envelope that all answers share.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/healthz", routing::get(health::alive))
        .route("/readyz", routing::get(health::ready))
        .route("/metrics", routing::get(numbers::handle))
        .route(
            "/api/secrets",
            routing::post(create::handle).get(list::handle),
        )
        .route(
            "/api/secrets/{id}",
            routing::get(get::handle).delete(delete::handle),
        )
        .route("/api/secrets/{id}/versions", routing::get(versions::handle))
        .route(
            "/api/secrets/{id}/versions/{version}",
            routing::get(version::handle),
        )
        .route("/api/secrets/{id}/rotate", routing::post(rotate::handle))
        .route(
            "/api/secrets/{id}/rollback",
            routing::post(rollback::handle),
        )
        .route("/api/secrets/{id}/restore", routing::post(restore::handle))
        .route("/api/secrets/{id}/purge", routing::post(purge::handle))
        .route(
            "/api/secrets/{id}/extend-grace",
            routing::post(extend_grace::handle),
        )
        .route(
            "/api/secrets/{id}/end-grace",
            routing::post(end_grace::handle),
        )
        .route(
            "/api/secrets/{id}/rotation",
            routing::put(set_rotation::handle),
        )
        .route(
            "/api/secrets/{id}/consumers",
            routing::get(consumers::handle),
        )
        .route(
            "/api/secrets/{id}/consumers/{service}",
            routing::put(register_consumer::handle).delete(unregister_consumer::handle),
        )
        .route(
            "/api/projects/{project_id}/secrets/{name}",
            routing::get(get_by_name::handle),
        )
        .route(
            "/api/projects/{project_id}/policy",
            routing::get(get_policy::handle).put(set_policy::handle),
        )
        .route(
            "/api/projects/{project_id}/read",
            routing::post(read::handle),
        )
        .route(
            "/api/tokens",
            routing::post(create_token::handle).get(list_tokens::handle),
        )
        .route("/api/tokens/{id}", routing::delete(revoke_token::handle))
        .route(
            "/api/grants",
            routing::post(create_grant::handle)
                .get(list_grants::handle)
                .delete(revoke_grant::handle),
        )
        .route("/api/audit", routing::get(audit::handle))
        .route("/api/audit/head", routing::get(audit_head::handle))
        .route(
            "/api/webhooks",
            routing::post(create_webhook::handle).get(list_webhooks::handle),
        )
        .route(
            "/api/webhooks/{id}",
            routing::get(get_webhook::handle)
                .patch(update_webhook::handle)
                .delete(delete_webhook::handle),
        )
        .route(
            "/api/webhooks/{id}/rotate-secret",
            routing::post(rotate_webhook_secret::handle),
        )
        .route(
            "/api/webhooks/{id}/ping",
            routing::post(ping_webhook::handle),
        )
        .route(
            "/api/webhooks/{id}/redeliver",
            routing::post(redeliver::handle),
        )
        .route(
            "/api/webhooks/{id}/deliveries",
            routing::get(deliveries::handle),
        )
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
