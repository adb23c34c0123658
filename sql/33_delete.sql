-- Deletion of a whole secret: unreadable at once, kept until purge_at.

CREATE FUNCTION control_plane.delete_secret(
    secret_id uuid,
    reason text DEFAULT NULL
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_delete_secret';

COMMENT ON FUNCTION control_plane.delete_secret(uuid, text) IS
    'Deletes the secret with all its versions; the current one answers. Needs delete.';
