-- How long a superseded version stays readable, once it is superseded. The id is that version's.

CREATE FUNCTION control_plane.extend_grace(
    secret_id uuid,
    by interval
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_extend_grace';

COMMENT ON FUNCTION control_plane.extend_grace(uuid, interval) IS
    'Lets a version in grace stay readable for longer. Needs write.';

CREATE FUNCTION control_plane.end_grace(
    secret_id uuid
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_end_grace';

COMMENT ON FUNCTION control_plane.end_grace(uuid) IS
    'Destroys a version in grace at once: its ciphertext is erased. Needs write.';
