-- Who may execute what only pg_secrets itself calls.
SELECT DISTINCT a.grantee::pg_catalog.regrole::text || ' on ' || p.proname::text
FROM pg_catalog.pg_proc AS p, pg_catalog.aclexplode(p.proacl) AS a
WHERE p.pronamespace = 'control_plane'::pg_catalog.regnamespace
    AND p.proname IN ('set_execute', 'store_usage', 'audit_change', 'protect_audit')
    AND a.grantee NOT IN (0, p.proowner)
