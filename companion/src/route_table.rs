// Every route of the service, and nothing else: the one list. `router.rs` makes its router of it, and the
// tests include it too, so that no route escapes them. A path may stand here once for each method; the
// handler is a path in `crate::routes`.
route_table! {
    get "/healthz" => health::alive;
    get "/readyz" => health::ready;
    get "/metrics" => metrics::handle;

    post "/api/secrets" => create::handle;
    get "/api/secrets" => list::handle;
    get "/api/secrets/{id}" => get::handle;
    delete "/api/secrets/{id}" => delete::handle;
    get "/api/secrets/{id}/versions" => versions::handle;
    get "/api/secrets/{id}/versions/{version}" => version::handle;
    post "/api/secrets/{id}/rotate" => rotate::handle;
    post "/api/secrets/{id}/rollback" => rollback::handle;
    post "/api/secrets/{id}/restore" => restore::handle;
    post "/api/secrets/{id}/purge" => purge::handle;
    post "/api/secrets/{id}/extend-grace" => extend_grace::handle;
    post "/api/secrets/{id}/end-grace" => end_grace::handle;
    put "/api/secrets/{id}/rotation" => set_rotation::handle;
    get "/api/secrets/{id}/consumers" => consumers::handle;
    put "/api/secrets/{id}/consumers/{service}" => register_consumer::handle;
    delete "/api/secrets/{id}/consumers/{service}" => unregister_consumer::handle;

    get "/api/projects/{project_id}/secrets/{name}" => get_by_name::handle;
    post "/api/projects/{project_id}/read" => read::handle;
    get "/api/projects/{project_id}/policy" => get_policy::handle;
    put "/api/projects/{project_id}/policy" => set_policy::handle;

    post "/api/tokens" => create_token::handle;
    get "/api/tokens" => list_tokens::handle;
    delete "/api/tokens/{id}" => revoke_token::handle;
    post "/api/grants" => create_grant::handle;
    get "/api/grants" => list_grants::handle;
    delete "/api/grants" => revoke_grant::handle;

    get "/api/audit" => audit::handle;
    get "/api/audit/head" => audit_head::handle;

    post "/api/webhooks" => create_webhook::handle;
    get "/api/webhooks" => list_webhooks::handle;
    get "/api/webhooks/{id}" => get_webhook::handle;
    patch "/api/webhooks/{id}" => update_webhook::handle;
    delete "/api/webhooks/{id}" => delete_webhook::handle;
    post "/api/webhooks/{id}/rotate-secret" => rotate_webhook_secret::handle;
    post "/api/webhooks/{id}/ping" => ping_webhook::handle;
    post "/api/webhooks/{id}/redeliver" => redeliver::handle;
    get "/api/webhooks/{id}/deliveries" => deliveries::handle;
}
