-- Who beside the owner has a right on a table.
SELECT DISTINCT a.grantee::pg_catalog.regrole::text || ' on ' || c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee NOT IN (0, c.relowner)
