-- The server's keys, and what is encrypted to which.

CREATE FUNCTION control_plane.pgp_keys() RETURNS SETOF control_plane.pgp_key
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_pgp_keys';

COMMENT ON FUNCTION control_plane.pgp_keys() IS
    'The keys of the server, and those that something needs and the server does not have. A key that nothing needs can go. Administrators only.';

CREATE FUNCTION control_plane.reencrypt_secrets(
    batch integer DEFAULT 100
) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_reencrypt_secrets';

COMMENT ON FUNCTION control_plane.reencrypt_secrets(integer) IS
    'Encrypts up to so many values and signing secrets anew, to the primary key; answers how many are left under other keys. Administrators only.';

CREATE FUNCTION control_plane.verify_secrets() RETURNS SETOF control_plane.verify_failure
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_verify_secrets';

COMMENT ON FUNCTION control_plane.verify_secrets() IS
    'Decrypts every value and signing secret, and answers those that fail; nothing after a good restore. Administrators only.';
