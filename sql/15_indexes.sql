-- Beside the indexes that primary keys and unique constraints bring.

CREATE INDEX secrets_project_id_name_idx ON control_plane.secrets (project_id, name);

-- At most one current version per name, whatever races.
CREATE UNIQUE INDEX secrets_current_key ON control_plane.secrets (project_id, name)
    WHERE active AND deleted_at IS NULL;

CREATE INDEX secrets_rotated_from_idx ON control_plane.secrets (rotated_from);

CREATE INDEX secrets_chain_id_idx ON control_plane.secrets (chain_id);

-- 'Who read this secret?' and 'what did this actor do?'
CREATE INDEX audit_logs_secret_id_idx ON control_plane.audit_logs (secret_id, at);

CREATE INDEX audit_logs_actor_idx ON control_plane.audit_logs (actor, at);

-- The records of reads in the order in which they became durable.
CREATE UNIQUE INDEX audit_logs_arrival_idx ON control_plane.audit_logs (arrival)
    WHERE arrival IS NOT NULL;

-- 'Is this record chained, and where?'
CREATE INDEX audit_chain_record_id_idx ON control_plane.audit_chain (record_id);

-- 'Who was told of what happened to this secret?'
CREATE INDEX outbox_secret_id_idx ON control_plane.outbox (secret_id);

CREATE INDEX endpoints_project_id_idx ON control_plane.endpoints (project_id);

CREATE INDEX deliveries_due_idx ON control_plane.deliveries (next_attempt_at)
    WHERE status OPERATOR(pg_catalog.=) 'pending';

CREATE INDEX deliveries_endpoint_id_idx ON control_plane.deliveries (endpoint_id);

-- 'What is still encrypted to this key?'
CREATE INDEX secrets_key_fingerprint_idx ON control_plane.secrets (key_fingerprint, id);
