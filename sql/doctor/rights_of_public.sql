-- What of pg_secrets PUBLIC may use.
SELECT p.oid::pg_catalog.regprocedure::text
FROM pg_catalog.pg_proc AS p,
    pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
WHERE p.pronamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee = 0
UNION ALL
SELECT c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee = 0
UNION ALL
SELECT n.nspname::text
FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS a
WHERE n.nspname = 'control_plane' AND a.grantee = 0
