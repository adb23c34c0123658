-- Who beside the owner has a right on a table, or on a column that grant_project() does not give.
SELECT DISTINCT a.grantee::pg_catalog.regrole::text || ' on ' || c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee NOT IN (0, c.relowner)
UNION
SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END
    || ' on ' || c.oid::pg_catalog.regclass::text || '.' || t.attname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid, pg_catalog.aclexplode(t.attacl) AS a
WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace
    AND a.grantee <> c.relowner
    AND NOT (
        c.relname IN ('secrets', 'secret_consumers') AND t.attname <> 'value_encrypted'
        AND a.privilege_type = 'SELECT' AND a.grantee <> 0
    )
