-- Services that read secrets. Reads that name their service register it by themselves.

CREATE FUNCTION control_plane.register_consumer(
    secret_id uuid,
    service text
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_register_consumer';

COMMENT ON FUNCTION control_plane.register_consumer(uuid, text) IS
    'Registers a service as a consumer of a secret before it has read it. Needs manage.';

CREATE FUNCTION control_plane.unregister_consumer(
    secret_id uuid,
    service text
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_unregister_consumer';

COMMENT ON FUNCTION control_plane.unregister_consumer(uuid, text) IS
    'Forgets a service as a consumer of a secret, in all its versions. Needs manage.';
