-- Every table of pg_secrets. Keys are uuids made by the extension (version 7, so that they sort by
-- time): a restored row never collides with a new one.

-- One row per name that was ever used, never removed: a version number is never used twice. Every
-- change of a secret's state locks this row first, which puts all races into one order.
CREATE TABLE control_plane.secret_names (
    project_id text NOT NULL,
    name text NOT NULL,
    last_version integer NOT NULL,
    CONSTRAINT secret_names_pkey PRIMARY KEY (project_id, name),
    CONSTRAINT secret_names_last_version_check CHECK (last_version OPERATOR(pg_catalog.>=) 1),
    -- 1 to 255 characters, none of them a control character: a name is never empty, and cannot forge
    -- a line of a log. '.' and '..' could not be named in a URL.
    CONSTRAINT secret_names_project_id_check CHECK (
        pg_catalog.char_length(project_id) BETWEEN 1 AND 255
        AND project_id OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
        AND project_id OPERATOR(pg_catalog.<>) ALL (ARRAY['.', '..'])
    ),
    CONSTRAINT secret_names_name_check CHECK (
        pg_catalog.char_length(name) BETWEEN 1 AND 255
        AND name OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
        AND name OPERATOR(pg_catalog.<>) ALL (ARRAY['.', '..'])
    )
);

-- One row per version. value_encrypted is an OpenPGP message, NULL once the version is destroyed. held_from is
-- when the grace would have ended, where it goes on for somebody who still reads the version.
CREATE TABLE control_plane.secrets (
    id uuid NOT NULL,
    chain_id uuid NOT NULL,
    project_id text NOT NULL,
    name text NOT NULL,
    value_encrypted bytea,
    version integer DEFAULT 1 NOT NULL,
    active boolean DEFAULT true NOT NULL,
    rotated_from uuid,
    rotation_reason text,
    created_by text NOT NULL,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    superseded_at timestamptz,
    expires_at timestamptz,
    warned_at timestamptz,
    destroyed_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    key_fingerprint text,
    held_from timestamptz,
    CONSTRAINT secrets_pkey PRIMARY KEY (id),
    CONSTRAINT secrets_project_id_name_version_key UNIQUE (project_id, name, version),
    CONSTRAINT secrets_project_id_name_fkey FOREIGN KEY (project_id, name)
        REFERENCES control_plane.secret_names (project_id, name),
    CONSTRAINT secrets_rotated_from_fkey FOREIGN KEY (rotated_from)
        REFERENCES control_plane.secrets (id),
    CONSTRAINT secrets_version_check CHECK (version OPERATOR(pg_catalog.>=) 1),
    -- The ciphertext and the key that it needs are there until the version is destroyed, and not after.
    CONSTRAINT secrets_erased_check CHECK (
        (value_encrypted IS NULL) OPERATOR(pg_catalog.=) (destroyed_at IS NOT NULL)
        AND (key_fingerprint IS NULL) OPERATOR(pg_catalog.=) (value_encrypted IS NULL)
    ),
    -- Of an OpenPGP key of version 4 or 6.
    CONSTRAINT secrets_key_fingerprint_check CHECK (
        key_fingerprint OPERATOR(pg_catalog.~) '^([0-9A-F]{40}|[0-9A-F]{64})$'
    ),
    -- The current version has no end; every other one was superseded and has one.
    CONSTRAINT secrets_grace_check CHECK (
        CASE WHEN active
            THEN superseded_at IS NULL AND expires_at IS NULL AND destroyed_at IS NULL
            ELSE superseded_at IS NOT NULL AND expires_at IS NOT NULL
        END
    ),
    CONSTRAINT secrets_purge_check CHECK ((deleted_at IS NULL) OPERATOR(pg_catalog.=) (purge_at IS NULL)),
    CONSTRAINT secrets_rotation_reason_check CHECK (pg_catalog.char_length(rotation_reason) OPERATOR(pg_catalog.<=) 1000)
);

-- Ciphertext is random: compressing it is wasted work, and statistics of it would be copies of it.
ALTER TABLE control_plane.secrets
    ALTER COLUMN value_encrypted SET STORAGE EXTERNAL,
    ALTER COLUMN value_encrypted SET STATISTICS 0;

-- Who reads which version. last_used_at is NULL for a consumer that was registered by hand and
-- has not read yet; last_verified_at is the last read whose token or grant was bound to the service.
CREATE TABLE control_plane.secret_consumers (
    secret_id uuid NOT NULL,
    service varchar(50) NOT NULL,
    last_used_at timestamptz,
    last_verified_at timestamptz,
    CONSTRAINT secret_consumers_pkey PRIMARY KEY (secret_id, service),
    CONSTRAINT secret_consumers_secret_id_fkey FOREIGN KEY (secret_id)
        REFERENCES control_plane.secrets (id) ON DELETE CASCADE,
    CONSTRAINT secret_consumers_service_check CHECK (
        service OPERATOR(pg_catalog.<>) '' AND service OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
    )
);

-- One row per access and per change: ids and names, never a value. No foreign keys: what a row
-- names may be rolled back or purged, the row stays. arrival grows with the order in which the records
-- of reads became durable (it begins with a time, so that what one server wrote never has the number of
-- what another did); NULL where a record was written in the transaction of its change.
CREATE TABLE control_plane.audit_logs (
    id uuid NOT NULL,
    at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    action text NOT NULL,
    outcome text NOT NULL,
    actor text NOT NULL,
    login text,
    project_id text,
    secret_id uuid,
    name text,
    version integer,
    service text,
    client_address inet,
    application_name text,
    request_id text,
    detail jsonb,
    arrival bigint,
    CONSTRAINT audit_logs_pkey PRIMARY KEY (id)
);

-- Records that were written in the transaction of their change, until they are chained.
CREATE TABLE control_plane.audit_unchained (
    record_id uuid NOT NULL,
    CONSTRAINT audit_unchained_pkey PRIMARY KEY (record_id)
);

-- The order of all records, each link hashed over the one before it: sql/41_chain.sql says how. segment
-- names the server and the timeline that wrote the link: a standby that was promoted, or a restored
-- database, goes on in a segment of its own, with the next number.
CREATE TABLE control_plane.audit_chain (
    seq bigint NOT NULL,
    segment uuid NOT NULL,
    record_id uuid NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_chain_pkey PRIMARY KEY (segment, seq),
    CONSTRAINT audit_chain_seq_check CHECK (seq OPERATOR(pg_catalog.>=) 1),
    CONSTRAINT audit_chain_hash_check CHECK (pg_catalog.octet_length(hash) OPERATOR(pg_catalog.=) 32)
);

-- Heads of the chain that were signed: each says what the link with that number is. A checkpoint is the
-- head up to which retention has removed links and records.
CREATE TABLE control_plane.audit_heads (
    seq bigint NOT NULL,
    kind text NOT NULL,
    segment uuid NOT NULL,
    hash bytea NOT NULL,
    signed_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    signed text NOT NULL,
    CONSTRAINT audit_heads_pkey PRIMARY KEY (segment, seq, kind),
    CONSTRAINT audit_heads_kind_check CHECK (kind OPERATOR(pg_catalog.=) ANY (ARRAY['head', 'checkpoint'])),
    CONSTRAINT audit_heads_hash_check CHECK (pg_catalog.octet_length(hash) OPERATOR(pg_catalog.=) 32)
);

-- Up to which arrival the audit was gone through, by what it was gone through for, in which segment.
CREATE TABLE control_plane.audit_progress (
    segment uuid NOT NULL,
    purpose text NOT NULL,
    arrival bigint NOT NULL,
    CONSTRAINT audit_progress_pkey PRIMARY KEY (segment, purpose)
);

-- Uses of a version that could not be stored yet, because somebody is changing its secret.
CREATE TABLE control_plane.usage_deferred (
    secret_id uuid NOT NULL,
    service varchar(50) NOT NULL,
    used_at timestamptz NOT NULL,
    verified_at timestamptz,
    CONSTRAINT usage_deferred_pkey PRIMARY KEY (secret_id, service)
);

-- Events, written in the transaction of the change that they tell of. body is what a webhook
-- carries, kept as text so that every try sends the same bytes.
CREATE TABLE control_plane.outbox (
    id uuid NOT NULL,
    type text NOT NULL,
    project_id text NOT NULL,
    secret_id uuid,
    name text,
    body text NOT NULL,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
);

-- Where a service, or a whole project (service IS NULL), wants its webhooks. The signing secret
-- is sealed like any value; until previous_until the one before it signs too. event_types NULL means
-- all. slot is the endpoint's place among its project's, of which there are only so many. generation
-- counts the new beginnings: another URL, or being enabled again. The last columns say how it goes:
-- nothing is sent before not_before, slow_downs counts the answers in a row that asked for less, answering
-- is false when the last try got no answer soon, and failing_since is the first failure since the last
-- success.
CREATE TABLE control_plane.endpoints (
    id uuid NOT NULL,
    project_id text NOT NULL,
    service varchar(50),
    url text NOT NULL,
    event_types text[],
    secret_encrypted bytea NOT NULL,
    key_fingerprint text NOT NULL,
    previous_secret_encrypted bytea,
    previous_key_fingerprint text,
    previous_until timestamptz,
    enabled boolean DEFAULT true NOT NULL,
    disabled_reason text,
    created_by text NOT NULL,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    not_before timestamptz,
    slow_downs integer DEFAULT 0 NOT NULL,
    answering boolean DEFAULT true NOT NULL,
    failing_since timestamptz,
    slot integer NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    CONSTRAINT endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT endpoints_project_id_slot_key UNIQUE (project_id, slot),
    CONSTRAINT endpoints_slot_check CHECK (slot OPERATOR(pg_catalog.>) 0),
    CONSTRAINT endpoints_service_check CHECK (
        service OPERATOR(pg_catalog.<>) '' AND service OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
    ),
    CONSTRAINT endpoints_key_fingerprint_check CHECK (
        key_fingerprint OPERATOR(pg_catalog.~) '^([0-9A-F]{40}|[0-9A-F]{64})$'
    ),
    CONSTRAINT endpoints_previous_key_fingerprint_check CHECK (
        previous_key_fingerprint OPERATOR(pg_catalog.~) '^([0-9A-F]{40}|[0-9A-F]{64})$'
    ),
    CONSTRAINT endpoints_previous_check CHECK (
        (previous_secret_encrypted IS NULL) OPERATOR(pg_catalog.=) (previous_until IS NULL)
        AND (previous_key_fingerprint IS NULL) OPERATOR(pg_catalog.=) (previous_until IS NULL)
    ),
    CONSTRAINT endpoints_disabled_check CHECK (disabled_reason IS NULL OR NOT enabled),
    CONSTRAINT endpoints_url_check CHECK (pg_catalog.char_length(url) OPERATOR(pg_catalog.<=) 2000)
);

ALTER TABLE control_plane.endpoints
    ALTER COLUMN secret_encrypted SET STORAGE EXTERNAL,
    ALTER COLUMN secret_encrypted SET STATISTICS 0,
    ALTER COLUMN previous_secret_encrypted SET STORAGE EXTERNAL,
    ALTER COLUMN previous_secret_encrypted SET STATISTICS 0;

-- One row per event and endpoint. A claim holds the row until leased_until by the database's
-- clock; attempts is also the claim's fence: only the claim that counted it may finish it, and
-- attempts_before is how many of them were made before the delivery was asked for once more; generation
-- is the endpoint's when it was last claimed, so that nothing follows for its new URL from what the old
-- one answers. What is of
-- one secret (chain_id) reaches an endpoint in the order of the events' ids; NULL has no order. No
-- foreign key to the endpoints: its check would look with the snapshot of the rotating transaction,
-- and fail for an endpoint that is newer than that.
CREATE TABLE control_plane.deliveries (
    id uuid NOT NULL,
    event_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    chain_id uuid,
    status text DEFAULT 'pending' NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    attempts_before integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    leased_until timestamptz,
    last_status integer,
    last_error text,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    finished_at timestamptz,
    generation integer,
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_event_id_endpoint_id_key UNIQUE (event_id, endpoint_id),
    CONSTRAINT deliveries_event_id_fkey FOREIGN KEY (event_id)
        REFERENCES control_plane.outbox (id) ON DELETE CASCADE,
    CONSTRAINT deliveries_status_check CHECK (status OPERATOR(pg_catalog.=) ANY (ARRAY['pending', 'delivered', 'failed']))
);

-- The tries of a delivery that are over. answer is the beginning of what the receiver said, with what may
-- be a secret taken out.
CREATE TABLE control_plane.delivery_attempts (
    delivery_id uuid NOT NULL,
    attempt integer NOT NULL,
    at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    duration_ms integer,
    status integer,
    error text,
    answer text,
    CONSTRAINT delivery_attempts_pkey PRIMARY KEY (delivery_id, attempt),
    CONSTRAINT delivery_attempts_delivery_id_fkey FOREIGN KEY (delivery_id)
        REFERENCES control_plane.deliveries (id) ON DELETE CASCADE
);

-- Who may do what. A grantee is a database role or a subject that a trusted login authenticates;
-- the two never mix. role_oid says which role of that name, within the cluster with that system
-- identifier: a role that was dropped and made again has none of it. project_id NULL is every project;
-- name_prefix is what the names in it begin with, byte for byte, and NULL is all of them. A grant that is
-- bound to a service lets its holder read under that service's name alone. One that has expired is none.
CREATE TABLE control_plane.grants (
    id uuid NOT NULL,
    kind text NOT NULL,
    grantee text NOT NULL,
    role_oid oid,
    cluster bigint NOT NULL,
    permission text NOT NULL,
    project_id text,
    service varchar(50),
    granted_by text NOT NULL,
    granted_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    name_prefix text,
    expires_at timestamptz,
    CONSTRAINT grants_pkey PRIMARY KEY (id),
    CONSTRAINT grants_key UNIQUE NULLS NOT DISTINCT (grantee, kind, permission, project_id, service, name_prefix),
    CONSTRAINT grants_name_prefix_check CHECK (
        name_prefix IS NULL OR (
            project_id IS NOT NULL
            AND pg_catalog.char_length(name_prefix) BETWEEN 1 AND 255
            AND name_prefix OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
        )
    ),
    CONSTRAINT grants_kind_check CHECK (kind OPERATOR(pg_catalog.=) ANY (ARRAY['role', 'subject'])),
    CONSTRAINT grants_role_oid_check CHECK (
        (kind OPERATOR(pg_catalog.=) 'role') OPERATOR(pg_catalog.=) (role_oid IS NOT NULL)
    ),
    CONSTRAINT grants_permission_check CHECK (
        permission OPERATOR(pg_catalog.=) ANY (ARRAY['list', 'read', 'write', 'delete', 'manage', 'audit', 'admin'])
    ),
    -- An administrator has every project; there is no such thing as half of one.
    CONSTRAINT grants_admin_check CHECK (
        permission OPERATOR(pg_catalog.<>) 'admin' OR (project_id IS NULL AND service IS NULL)
    ),
    CONSTRAINT grants_service_check CHECK (
        service IS NULL OR (
            permission OPERATOR(pg_catalog.=) 'read' AND service OPERATOR(pg_catalog.<>) ''
            AND service OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
        )
    )
);

-- Bearer tokens, kept as the SHA-256 of their text. last_used_at is stored by a worker, at most once a minute.
CREATE TABLE control_plane.tokens (
    id uuid NOT NULL,
    token_sha256 bytea NOT NULL,
    subject text NOT NULL,
    service varchar(50),
    expires_at timestamptz,
    revoked_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT tokens_pkey PRIMARY KEY (id),
    CONSTRAINT tokens_token_sha256_key UNIQUE (token_sha256),
    CONSTRAINT tokens_service_check CHECK (
        service OPERATOR(pg_catalog.<>) '' AND service OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
    )
);

-- Where the extension was installed: which cluster, by the number that initdb gave it, and which database of
-- it. There is one row; a restore adds the original's, and a copy has that alone. Then the database does
-- nothing by itself until confirm_restored() makes it one row again, with the place where it is. The name is the
-- first of our tables' names: pg_dump writes them in that order, so a restore knows what it is before it has
-- anything that it could act on.
CREATE TABLE control_plane.active_installations (
    id uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL,
    cluster bigint NOT NULL,
    database oid NOT NULL,
    recorded_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    CONSTRAINT active_installations_pkey PRIMARY KEY (id)
);

INSERT INTO control_plane.active_installations (cluster, database)
SELECT c.system_identifier, d.oid
FROM pg_catalog.pg_control_system() AS c
JOIN pg_catalog.pg_database AS d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database();

-- What a project has otherwise than the server. grace NULL is the server's. hold_for_stragglers: a grace that
-- is over goes on while a straggler is left, for hold_limit at most.
CREATE TABLE control_plane.policies (
    project_id text NOT NULL,
    grace interval,
    hold_for_stragglers boolean DEFAULT false NOT NULL,
    hold_limit interval NOT NULL,
    CONSTRAINT policies_pkey PRIMARY KEY (project_id),
    CONSTRAINT policies_project_id_check CHECK (
        pg_catalog.char_length(project_id) BETWEEN 1 AND 255
        AND project_id OPERATOR(pg_catalog.!~) '[\u0001-\u001f\u007f-\u009f\u2028\u2029]'
        AND project_id OPERATOR(pg_catalog.<>) ALL (ARRAY['.', '..'])
    ),
    CONSTRAINT policies_grace_check CHECK (grace OPERATOR(pg_catalog.>=) '0'),
    CONSTRAINT policies_hold_limit_check CHECK (hold_limit OPERATOR(pg_catalog.>) '0')
);

-- How the values of a secret are made (length characters of alphabet, which is a name or the characters
-- themselves), and how often; either may be missing. A secret is known here by its chain, which has the id
-- of its first version.
CREATE TABLE control_plane.rotations (
    chain_id uuid NOT NULL,
    rotate_every interval,
    length integer,
    alphabet text,
    next_rotation_at timestamptz,
    CONSTRAINT rotations_pkey PRIMARY KEY (chain_id),
    CONSTRAINT rotations_chain_id_fkey FOREIGN KEY (chain_id)
        REFERENCES control_plane.secrets (id) ON DELETE CASCADE,
    CONSTRAINT rotations_generator_check CHECK ((length IS NULL) OPERATOR(pg_catalog.=) (alphabet IS NULL)),
    CONSTRAINT rotations_length_check CHECK (length BETWEEN 1 AND 4096),
    CONSTRAINT rotations_alphabet_check CHECK (pg_catalog.char_length(alphabet) BETWEEN 2 AND 256),
    CONSTRAINT rotations_rotate_every_check CHECK (rotate_every OPERATOR(pg_catalog.>) '0'),
    CONSTRAINT rotations_schedule_check CHECK (
        (rotate_every IS NULL) OPERATOR(pg_catalog.=) (next_rotation_at IS NULL)
    ),
    CONSTRAINT rotations_purpose_check CHECK (rotate_every IS NOT NULL OR length IS NOT NULL)
);

-- What was answered to a request that its sender may send again (the header Idempotency-Key), for a day:
-- whose it was, the key that it brought, and a keyed hash of all that it asked for, which may hold a value.
-- body is NULL where the answer held something that is shown once; no answer is kept with a value in it.
CREATE TABLE control_plane.kept_answers (
    subject text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer,
    body text,
    location text,
    etag text,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp() NOT NULL,
    CONSTRAINT kept_answers_pkey PRIMARY KEY (subject, key),
    CONSTRAINT kept_answers_request_hash_check CHECK (pg_catalog.octet_length(request_hash) OPERATOR(pg_catalog.=) 32),
    CONSTRAINT kept_answers_status_check CHECK (status BETWEEN 200 AND 299)
);

-- The rows are the user's, not the extension's: pg_dump takes them along.
SELECT pg_catalog.pg_extension_config_dump('control_plane.secret_names', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.secrets', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.secret_consumers', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.audit_logs', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.audit_unchained', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.audit_chain', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.audit_heads', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.audit_progress', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.usage_deferred', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.outbox', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.endpoints', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.deliveries', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.delivery_attempts', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.grants', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.tokens', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.active_installations', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.policies', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.rotations', '');

SELECT pg_catalog.pg_extension_config_dump('control_plane.kept_answers', '');
