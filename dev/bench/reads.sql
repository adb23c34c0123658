-- What dev/bench/reads.sh reads: one secret, by a role that may; and a table of records with the indexes of
-- the audit's own, into which a reader writes by itself. Run with the psql variable `home`.
\set library :home '/pg_secrets_bench.so'

SET client_min_messages = warning;

CREATE EXTENSION pg_secrets;

CREATE FUNCTION bench_open_with(key_file text, id uuid, message bytea) RETURNS text
LANGUAGE c VOLATILE STRICT AS :'library', 'bench_open_with_wrapper';

CREATE ROLE reader LOGIN;

SELECT FROM control_plane.create_secret('bench', 'name', encode(sha256('a value'), 'hex'));

SELECT FROM control_plane.grant_project('reader', 'read', 'bench');

CREATE TABLE record (LIKE control_plane.audit_logs INCLUDING ALL);

GRANT INSERT ON record TO reader;

GRANT USAGE ON SCHEMA control_plane TO reader;

GRANT SELECT ON control_plane.versions, control_plane.grants TO reader;
