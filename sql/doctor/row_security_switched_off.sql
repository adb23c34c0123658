-- Tables that roles select from, whose row security does not decide which rows.
SELECT c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace
    AND c.relname IN ('secrets', 'secret_consumers')
    AND NOT c.relrowsecurity
