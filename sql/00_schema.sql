-- pg_secrets: versioned, rotating, OpenPGP-encrypted secrets inside Postgres.
--
-- The install script is the files of sql/ joined in the order of their names. It runs as the
-- superuser who said CREATE EXTENSION, so nothing that a lesser role could have planted may be
-- looked up by it: the search path is pinned first, and every name below is qualified.
SET LOCAL search_path TO pg_catalog, pg_temp;

-- Refuses where the library was not preloaded, in another database than pg_secrets.database, in one
-- that is not UTF8, and where somebody has made the schema already. It has no use afterwards.
CREATE FUNCTION pg_temp.pg_secrets_assert_installable() RETURNS void
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'pgs_assert_installable';

SELECT pg_temp.pg_secrets_assert_installable();

DROP FUNCTION pg_temp.pg_secrets_assert_installable();

CREATE SCHEMA control_plane;

COMMENT ON SCHEMA control_plane IS 'pg_secrets: secrets, their versions, consumers, audit and events';
