-- What pg_secrets.redact_also lists and this database does not have, by the last part of each name.
SELECT pg_catalog.btrim(l.entry)
FROM pg_catalog.regexp_split_to_table(
        pg_catalog.current_setting('pg_secrets.redact_also', true), ','
    ) AS l (entry)
    CROSS JOIN LATERAL pg_catalog.btrim(pg_catalog.regexp_replace(l.entry, '^.*\.', ''), ' "') AS n (name)
WHERE n.name <> ''
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pg_catalog.lower(proname) = pg_catalog.lower(n.name))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE pg_catalog.lower(relname) = pg_catalog.lower(n.name))
