-- Logins that act for others and have rights of their own.
SELECT r.rolname::text
FROM pg_catalog.regexp_split_to_table(
        pg_catalog.current_setting('pg_secrets.trusted_logins', true), ','
    ) AS l (name)
    JOIN pg_catalog.pg_roles AS r ON r.rolname = pg_catalog.btrim(l.name, ' "')
WHERE r.rolsuper OR r.rolcreaterole OR r.rolbypassrls
    OR pg_catalog.pg_has_role(
        r.oid,
        (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'control_plane'),
        'MEMBER'
    )
