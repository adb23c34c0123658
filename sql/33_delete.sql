-- Deletion of a whole secret: unreadable at once, restorable until purge_at, gone once purged. Any
-- version's id finds the secret.

CREATE FUNCTION control_plane.delete_secret(
    secret_id uuid,
    reason text DEFAULT NULL
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_delete_secret';

COMMENT ON FUNCTION control_plane.delete_secret(uuid, text) IS
    'Deletes the secret with all its versions; the current one answers. Needs delete.';

CREATE FUNCTION control_plane.restore_secret(
    secret_id uuid
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_restore_secret';

COMMENT ON FUNCTION control_plane.restore_secret(uuid) IS
    'Takes the deletion of a secret back until purge_at; its current version answers. Needs delete.';

CREATE FUNCTION control_plane.purge_secret(
    secret_id uuid,
    reason text DEFAULT NULL
) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_purge_secret';

COMMENT ON FUNCTION control_plane.purge_secret(uuid, text) IS
    'Removes a deleted secret for good; answers how many versions it had. Administrators only.';
