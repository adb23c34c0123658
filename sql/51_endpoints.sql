-- Where webhooks go, and what became of them.

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

CREATE FUNCTION control_plane.list_endpoints(
    project_id text
) RETURNS SETOF control_plane.endpoint
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_list_endpoints';

COMMENT ON FUNCTION control_plane.list_endpoints(text) IS
    'The endpoints of a project, without their signing secrets. Needs manage.';

CREATE FUNCTION control_plane.get_endpoint(
    endpoint_id uuid
) RETURNS control_plane.endpoint
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_get_endpoint';

COMMENT ON FUNCTION control_plane.get_endpoint(uuid) IS
    'One endpoint, without its signing secret. Needs manage.';

CREATE FUNCTION control_plane.update_endpoint(
    endpoint_id uuid,
    url text DEFAULT NULL,
    event_types text[] DEFAULT NULL,
    enabled boolean DEFAULT NULL
) RETURNS control_plane.endpoint
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_update_endpoint';

COMMENT ON FUNCTION control_plane.update_endpoint(uuid, text, text[], boolean) IS
    'Changes what is given and leaves the rest; an empty event_types is all events. Another URL, or being enabled again, forgets earlier failures. Needs manage.';

CREATE FUNCTION control_plane.delete_endpoint(
    endpoint_id uuid
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_delete_endpoint';

COMMENT ON FUNCTION control_plane.delete_endpoint(uuid) IS
    'Removes an endpoint and what waits for it. Needs manage.';

CREATE FUNCTION control_plane.rotate_endpoint_secret(
    endpoint_id uuid,
    overlap interval DEFAULT '24 hours'
) RETURNS control_plane.endpoint
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_rotate_endpoint_secret';

COMMENT ON FUNCTION control_plane.rotate_endpoint_secret(uuid, interval) IS
    'Gives an endpoint a new signing secret, shown this once. For the length of the overlap the one before signs too; 0 ends it at once. Needs manage.';

CREATE FUNCTION control_plane.ping_endpoint(
    endpoint_id uuid
) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_ping_endpoint';

COMMENT ON FUNCTION control_plane.ping_endpoint(uuid) IS
    'Sends the event endpoint.ping to this endpoint alone; answers the delivery. Needs manage.';

CREATE FUNCTION control_plane.list_deliveries(
    endpoint_id uuid,
    status text DEFAULT NULL,
    before uuid DEFAULT NULL,
    "limit" integer DEFAULT 50
) RETURNS SETOF control_plane.delivery
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_sort = off
    SET jit = off
    AS 'MODULE_PATHNAME', 'pgs_list_deliveries';

COMMENT ON FUNCTION control_plane.list_deliveries(uuid, text, uuid, integer) IS
    'What an endpoint was told, newest first, with every try; before is the event_id of the last one of the page before. Needs manage.';

CREATE FUNCTION control_plane.redeliver(
    endpoint_id uuid,
    delivery_id uuid DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_redeliver';

COMMENT ON FUNCTION control_plane.redeliver(uuid, uuid, timestamptz, timestamptz) IS
    'Sends one delivery once more, or all that are not delivered yet (dead letters, and those that wait for a try) and were made from since on and before until; with the same webhook-id. Answers how many. Needs manage.';

CREATE FUNCTION control_plane.sweep_deliveries() RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_sweep_deliveries';

COMMENT ON FUNCTION control_plane.sweep_deliveries() IS
    'Removes a batch of events and deliveries that are over for longer than pg_secrets.delivery_retention; whether there may be more. Administrators only.';
