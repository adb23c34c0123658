-- A new value for a secret. The id names the version that the caller believes current: of several
-- racing rotations of one version, one wins.

CREATE FUNCTION control_plane.rotate_secret(
    secret_id uuid,
    value text DEFAULT NULL,
    reason text DEFAULT NULL,
    grace interval DEFAULT NULL
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_rotate_secret';

COMMENT ON FUNCTION control_plane.rotate_secret(uuid, text, text, interval) IS
    'Supersedes the current version by a new one; the old one stays readable for the grace: the one said here, else the project''s, else the server''s. Without a value the secret''s generator makes one. Needs write.';

CREATE FUNCTION control_plane.rollback_secret(
    secret_id uuid,
    to_version integer,
    reason text DEFAULT NULL
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_rollback_secret';

COMMENT ON FUNCTION control_plane.rollback_secret(uuid, integer, text) IS
    'Supersedes the current version by a new one with the value of an older version that is still in grace; nobody sees the value. Needs write.';
