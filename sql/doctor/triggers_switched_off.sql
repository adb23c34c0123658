-- Triggers of ours that do not fire always.
SELECT pg_catalog.format('%s on %s', t.tgname, t.tgrelid::pg_catalog.regclass)
FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace
    AND NOT t.tgisinternal AND t.tgenabled <> 'A'
