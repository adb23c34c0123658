-- OpenPGP messages that belong to no secret, for those who know pgcrypto or come from it.

CREATE FUNCTION control_plane.pgp_encrypt(
    value text
) RETURNS bytea
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_pgp_encrypt';

COMMENT ON FUNCTION control_plane.pgp_encrypt(text) IS
    'A message to the server''s primary key; never taken for the value of a secret. Administrators only; recorded as pgp.encrypted.';

CREATE FUNCTION control_plane.pgp_decrypt(
    message bytea,
    password text DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_pgp_decrypt';

COMMENT ON FUNCTION control_plane.pgp_decrypt(bytea, text) IS
    'The text of a message to a key of the server, or with a password of one that pgcrypto''s pgp_sym_encrypt wrote. Administrators only; recorded as pgp.decrypted.';

CREATE FUNCTION control_plane.armor(
    data bytea,
    keys text[] DEFAULT NULL,
    "values" text[] DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_armor';

COMMENT ON FUNCTION control_plane.armor(bytea, text[], text[]) IS
    'Bytes as ASCII armor, with headers if keys and values are given.';

CREATE FUNCTION control_plane.dearmor(
    data text
) RETURNS bytea
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_dearmor';

COMMENT ON FUNCTION control_plane.dearmor(text) IS
    'The bytes that stand in ASCII armor.';
