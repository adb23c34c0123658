-- Beside the indexes that primary keys and unique constraints bring.

CREATE INDEX secrets_project_id_name_idx ON control_plane.secrets (project_id, name);

-- At most one current version per name, whatever races.
CREATE UNIQUE INDEX secrets_current_key ON control_plane.secrets (project_id, name)
    WHERE active AND deleted_at IS NULL;

CREATE INDEX secrets_rotated_from_idx ON control_plane.secrets (rotated_from);

CREATE INDEX secrets_chain_id_idx ON control_plane.secrets (chain_id);

-- 'What is to be destroyed, warned of, purged?' In the order in which it is due.
CREATE INDEX secrets_expires_at_idx ON control_plane.secrets (expires_at, id)
    WHERE destroyed_at IS NULL AND expires_at IS NOT NULL;

CREATE INDEX secrets_unwarned_idx ON control_plane.secrets (expires_at, id)
    WHERE warned_at IS NULL AND destroyed_at IS NULL AND deleted_at IS NULL AND expires_at IS NOT NULL;

CREATE INDEX secrets_purge_at_idx ON control_plane.secrets (purge_at, id)
    WHERE active AND purge_at IS NOT NULL;

-- 'Which secret is due for a new value?'
CREATE INDEX rotations_next_rotation_at_idx ON control_plane.rotations (next_rotation_at)
    WHERE next_rotation_at IS NOT NULL;

-- 'Who read this secret?', 'what did this actor do?', 'what happened in this project?' Each is read
-- backwards, a page at a time: ids sort by time.
CREATE INDEX audit_logs_secret_id_idx ON control_plane.audit_logs (secret_id, id);

CREATE INDEX audit_logs_actor_idx ON control_plane.audit_logs (actor, id);

CREATE INDEX audit_logs_project_id_idx ON control_plane.audit_logs (project_id, id);

-- What was refused is rare among all that was not, and it is what one looks for.
CREATE INDEX audit_logs_denied_idx ON control_plane.audit_logs (id)
    WHERE outcome OPERATOR(pg_catalog.=) 'denied';

CREATE INDEX audit_logs_denied_actor_idx ON control_plane.audit_logs (actor, id)
    WHERE outcome OPERATOR(pg_catalog.=) 'denied';

-- The records of reads in the order in which they became durable.
CREATE UNIQUE INDEX audit_logs_arrival_idx ON control_plane.audit_logs (arrival)
    WHERE arrival IS NOT NULL;

-- 'Is this record chained, and where?'
CREATE INDEX audit_chain_record_id_idx ON control_plane.audit_chain (record_id);

-- 'Who was told of what happened to this secret?'
CREATE INDEX outbox_secret_id_idx ON control_plane.outbox (secret_id);

-- 'Which endpoints have something due, and what?'
CREATE INDEX deliveries_due_idx ON control_plane.deliveries (endpoint_id, next_attempt_at)
    WHERE status OPERATOR(pg_catalog.=) 'pending';

-- 'Is there something of the same secret that comes first?'
CREATE INDEX deliveries_order_idx ON control_plane.deliveries (endpoint_id, chain_id, event_id)
    WHERE status OPERATOR(pg_catalog.=) 'pending';

-- 'How many are under way?' With the time, so that the planner knows it from the others before there are
-- statistics.
CREATE INDEX deliveries_leased_idx ON control_plane.deliveries (endpoint_id, leased_until)
    WHERE status OPERATOR(pg_catalog.=) 'pending' AND leased_until IS NOT NULL;

-- 'What was this endpoint told?', newest first: ids of events sort by time.
CREATE INDEX deliveries_endpoint_id_idx ON control_plane.deliveries (endpoint_id, event_id);

-- 'What is still encrypted to this key?'
CREATE INDEX secrets_key_fingerprint_idx ON control_plane.secrets (key_fingerprint, id);

-- 'Which answers need not be kept any more?'
CREATE INDEX kept_answers_created_at_idx ON control_plane.kept_answers (created_at);
