-- Libraries that sessions load by themselves, so behind all that the server has loaded.
SELECT s.name || ' = ' || s.setting
FROM pg_catalog.pg_settings AS s
WHERE s.name IN ('session_preload_libraries', 'local_preload_libraries') AND s.setting <> ''
UNION
SELECT coalesce(r.rolname::text || ': ', '') || coalesce(d.datname::text || ': ', '') || one
FROM pg_catalog.pg_db_role_setting AS s
    CROSS JOIN pg_catalog.unnest(s.setconfig) AS one
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
WHERE one ~ '^(session|local)_preload_libraries=.'
