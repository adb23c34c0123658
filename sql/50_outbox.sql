-- Webhooks: where they go, and the relay's two calls. A claim signs in the database, so that no
-- signing secret leaves it.

CREATE FUNCTION control_plane.create_endpoint(
    project_id text,
    url text,
    service text DEFAULT NULL,
    event_types text[] DEFAULT NULL
) RETURNS control_plane.endpoint
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_create_endpoint';

COMMENT ON FUNCTION control_plane.create_endpoint(text, text, text, text[]) IS
    'Registers an endpoint for a service, or for the whole project; its signing secret is shown this once. Needs manage.';

CREATE FUNCTION control_plane.claim_deliveries(
    batch integer DEFAULT 16,
    lease interval DEFAULT '1 minute'
) RETURNS SETOF control_plane.claimed_delivery
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_claim_deliveries';

COMMENT ON FUNCTION control_plane.claim_deliveries(integer, interval) IS
    'Takes due deliveries for the length of the lease, signed and ready to send. For the relay''s trusted login.';

CREATE FUNCTION control_plane.finish_delivery(
    delivery_id uuid,
    attempt integer,
    status integer DEFAULT NULL,
    error text DEFAULT NULL
) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_finish_delivery';

COMMENT ON FUNCTION control_plane.finish_delivery(uuid, integer, integer, text) IS
    'Tells how a claimed try ended: the HTTP status, or the error where there was none. False if the claim was lost meanwhile.';
