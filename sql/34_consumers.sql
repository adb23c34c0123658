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

CREATE FUNCTION control_plane.blast_radius(
    secret_id uuid
) RETURNS SETOF control_plane.consumer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_blast_radius';

COMMENT ON FUNCTION control_plane.blast_radius(uuid) IS
    'Who reads a secret, which version, and who was told of the current one; stragglers first. The id of any version finds the secret. Needs list.';

CREATE FUNCTION control_plane.preview(
    secret_id uuid,
    action text
) RETURNS SETOF control_plane.consumer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_preview';

COMMENT ON FUNCTION control_plane.preview(uuid, text) IS
    'Who would break: of rotate (with no grace) and end_grace, who still reads the version with this id; of delete, every consumer. Changes nothing. Needs what the action needs, and refuses as it does.';
