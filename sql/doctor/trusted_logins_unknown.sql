-- Logins that act for others and do not exist.
SELECT pg_catalog.btrim(l.name, ' "')
FROM pg_catalog.regexp_split_to_table(
        pg_catalog.current_setting('pg_secrets.trusted_logins', true), ','
    ) AS l (name)
WHERE pg_catalog.btrim(l.name, ' "') <> ''
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles WHERE rolname = pg_catalog.btrim(l.name, ' "')
    )
