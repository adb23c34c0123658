-- Fills control_plane.secrets up to `versions` versions: five of each name, the newest current, the others
-- destroyed but for one in grace. None of them can be read; they are there. Run by dev/bench/versions.sh, with
-- the psql variable `versions`, and again with more.
SET client_min_messages = warning;

SET maintenance_work_mem = '256MB';

ALTER TABLE control_plane.secrets DISABLE TRIGGER ALL;

ALTER TABLE control_plane.secret_names DISABLE TRIGGER ALL;

SELECT count(*) / 5 AS first, :versions / 5 AS last FROM control_plane.secrets WHERE project_id = 'many' \gset

INSERT INTO control_plane.secret_names
SELECT 'many', 'name ' || n, 5 FROM generate_series(:first + 1, :last) AS n;

INSERT INTO control_plane.secrets (
    id, chain_id, project_id, name, version, active, created_by,
    superseded_at, expires_at, destroyed_at, value_encrypted, key_fingerprint
)
SELECT
    lpad(to_hex(n::bigint * 8 + v), 32, '0')::uuid,
    lpad(to_hex(n), 32, '0')::uuid,
    'many', 'name ' || n, v, v = 5, 'bench',
    CASE WHEN v < 5 THEN now() END,
    CASE WHEN v < 5 THEN now() + interval '1 day' + n * interval '1 second' END,
    CASE WHEN v < 4 THEN now() END,
    CASE WHEN v >= 4 THEN decode(repeat('ab', 200), 'hex') END,
    CASE WHEN v >= 4 THEN repeat('A', 40) END
FROM generate_series(:first + 1, :last) AS n, generate_series(1, 5) AS v;

ALTER TABLE control_plane.secrets ENABLE TRIGGER ALL;

ALTER TABLE control_plane.secret_names ENABLE TRIGGER ALL;

VACUUM ANALYZE control_plane.secrets;

VACUUM ANALYZE control_plane.secret_names;

CHECKPOINT;
