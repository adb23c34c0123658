-- One secret from its creation to its deletion, by SQL alone.
SELECT project_id, name, version, active, created_by, state FROM control_plane.create_secret('shop', 'db', 'first');
SELECT version, state, value FROM control_plane.get_secret_by_name('shop', 'db', service => 'worker');
SELECT control_plane.secret_id('shop', 'db') AS first_id \gset
SELECT version, rotated_from = :'first_id' AS from_first, rotation_reason FROM control_plane.rotate_secret(:'first_id', 'second', 'quarterly', '1 hour');
SELECT version, state, value FROM control_plane.get_secret(:'first_id');
SELECT version, state, expires_at - superseded_at AS grace FROM control_plane.secret_versions(:'first_id');
SELECT name, version, state FROM control_plane.list_secrets('shop');
-- The second of two rotations of one version learns which one won.
SELECT control_plane.rotate_secret(:'first_id', 'third');
-- A grace of zero.
SELECT version FROM control_plane.rotate_secret(control_plane.secret_id('shop', 'db'), 'third', grace => '0');
SELECT value FROM control_plane.get_secret_by_name('shop', 'db', 2);
SELECT version, value FROM control_plane.get_secrets('shop');
SELECT version, value FROM control_plane.get_secrets('shop', ARRAY['db', 'other']);
-- Back to what is still there, and nothing longer than it must be.
SELECT version FROM control_plane.rollback_secret(control_plane.secret_id('shop', 'db'), 1, 'the third one fails');
SELECT version, state, value FROM control_plane.get_secret_by_name('shop', 'db');
SELECT version, state, expires_at - superseded_at AS grace FROM control_plane.extend_grace(:'first_id', '30 minutes');
SELECT version, state, destroyed_at = expires_at AS at_once FROM control_plane.end_grace(:'first_id');
-- A policy for the project, and values that the database makes.
SELECT * FROM control_plane.set_policy('shop', '90 minutes');
SELECT rotate_every, length, alphabet, next_rotation_at FROM control_plane.set_rotation(:'first_id', length => 32, alphabet => 'hex');
SELECT version FROM control_plane.rotate_secret(control_plane.secret_id('shop', 'db'));
SELECT version, value ~ '^[0-9a-f]{32}$' AS made FROM control_plane.get_secret_by_name('shop', 'db');
SELECT version, state, expires_at - superseded_at AS grace FROM control_plane.secret_versions(:'first_id') WHERE version = 4;
-- Deleted, restored, deleted again, and made anew under the next number.
SELECT version, purge_at - deleted_at AS kept FROM control_plane.delete_secret(:'first_id', 'no longer used');
SELECT value FROM control_plane.get_secret(:'first_id');
SELECT name, version, state FROM control_plane.list_secrets('shop', 'deleted');
SELECT version, state, deleted_at, purge_at FROM control_plane.restore_secret(:'first_id');
SELECT version, state FROM control_plane.delete_secret(:'first_id');
SELECT version, rotated_from FROM control_plane.create_secret('shop', 'db', 'fifth');
SELECT control_plane.purge_secret(:'first_id', 'nobody will ask for it');
SELECT version, state FROM control_plane.secret_versions(control_plane.secret_id('shop', 'db'));
SELECT action, outcome, actor, name, version, service, detail - ARRAY['rotated_from', 'from', 'to'] AS detail FROM control_plane.audit_logs ORDER BY id;
SELECT type, body::jsonb -> 'data' ->> 'name' AS name, body::jsonb -> 'data' ->> 'new_version' AS new_version, body::jsonb -> 'data' ->> 'rolled_back_to' AS rolled_back_to FROM control_plane.outbox ORDER BY id;
