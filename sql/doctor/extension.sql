-- The extension's version, this database, the one that is to hold the extension, and the version that the
-- server has installed.
SELECT
    e.extversion,
    pg_catalog.current_database()::text,
    pg_catalog.current_setting('pg_secrets.database', true),
    (SELECT a.default_version FROM pg_catalog.pg_available_extensions AS a WHERE a.name = 'pg_secrets')
FROM (SELECT) AS one
    LEFT JOIN pg_catalog.pg_extension AS e ON e.extname = 'pg_secrets'
