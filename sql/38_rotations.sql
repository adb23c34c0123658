-- Values that the database makes, and how often.

CREATE FUNCTION control_plane.set_rotation(
    secret_id uuid,
    rotate_every interval DEFAULT NULL,
    length integer DEFAULT NULL,
    alphabet text DEFAULT NULL
) RETURNS control_plane.rotation
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_set_rotation';

COMMENT ON FUNCTION control_plane.set_rotation(uuid, interval, integer, text) IS
    'Says how a secret''s new values are made where a rotation brings none, length characters of an alphabet (alnum, hex, base64url, ascii, or the characters themselves), and how often it is due. What is NULL is taken back. The id of any version finds the secret. Needs manage.';
