-- pg_secrets: versioned, rotating, OpenPGP-encrypted secrets inside Postgres.
--
-- The install script is the files of sql/ joined in the order of their names. It runs as the
-- superuser who said CREATE EXTENSION, so nothing that a lesser role could have planted may be
-- looked up by it: the search path is pinned first, and every name below is qualified.
SET LOCAL search_path TO pg_catalog, pg_temp;

DO $check$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'control_plane') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_schema',
            MESSAGE = 'schema "control_plane" exists already, and pg_secrets does not adopt what it did not make',
            HINT = 'Look who owns it and what is in it (\dn+ control_plane), rename or drop it, then run CREATE EXTENSION pg_secrets again.';
    END IF;
END
$check$;

CREATE SCHEMA control_plane;

COMMENT ON SCHEMA control_plane IS 'pg_secrets: secrets, their versions, consumers, audit and events';

-- Refuses where the library was not preloaded, in another database than pg_secrets.database, and in
-- a database that is not UTF8. It has no use after the installation.
CREATE FUNCTION control_plane.assert_installable() RETURNS void
    LANGUAGE c VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_assert_installable';

SELECT control_plane.assert_installable();

DROP FUNCTION control_plane.assert_installable();
