-- What the functions answer with.

-- A version without its value. state is active, grace, destroyed or deleted.
CREATE TYPE control_plane.secret_version AS (
    id uuid,
    chain_id uuid,
    project_id text,
    name text,
    version integer,
    active boolean,
    rotated_from uuid,
    rotation_reason text,
    created_by text,
    created_at timestamptz,
    superseded_at timestamptz,
    expires_at timestamptz,
    warned_at timestamptz,
    destroyed_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    key_fingerprint text,
    state text
);

CREATE TYPE control_plane.secret_value AS (
    id uuid,
    chain_id uuid,
    project_id text,
    name text,
    version integer,
    active boolean,
    rotated_from uuid,
    rotation_reason text,
    created_by text,
    created_at timestamptz,
    superseded_at timestamptz,
    expires_at timestamptz,
    warned_at timestamptz,
    destroyed_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    key_fingerprint text,
    state text,
    value text
);

CREATE TYPE control_plane.secret_summary AS (
    id uuid,
    chain_id uuid,
    project_id text,
    name text,
    version integer,
    active boolean,
    rotated_from uuid,
    rotation_reason text,
    created_by text,
    created_at timestamptz,
    superseded_at timestamptz,
    expires_at timestamptz,
    warned_at timestamptz,
    destroyed_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    key_fingerprint text,
    state text,
    consumers bigint,
    stragglers bigint,
    last_rotated_at timestamptz
);

-- The rule of what state a version is in, by the clock and not by a sweeper: a version whose
-- grace is over counts as destroyed although its ciphertext may still wait to be erased.
CREATE VIEW control_plane.versions AS
SELECT
    s.id,
    s.chain_id,
    s.project_id::text AS project_id,
    s.name::text AS name,
    s.version,
    s.active,
    s.rotated_from,
    s.rotation_reason,
    s.created_by,
    s.created_at,
    s.superseded_at,
    s.expires_at,
    s.warned_at,
    s.destroyed_at,
    s.deleted_at,
    s.purge_at,
    s.key_fingerprint,
    CASE
        WHEN s.destroyed_at IS NOT NULL OR s.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() THEN 'destroyed'
        WHEN s.deleted_at IS NOT NULL THEN 'deleted'
        WHEN s.active THEN 'active'
        ELSE 'grace'
    END AS state,
    s.value_encrypted
FROM control_plane.secrets AS s;

-- The current version of every secret, with who reads it. A straggler last read an older version
-- of the same secret and has not read the current one.
CREATE VIEW control_plane.summaries AS
SELECT
    v.id,
    v.chain_id,
    v.project_id,
    v.name,
    v.version,
    v.active,
    v.rotated_from,
    v.rotation_reason,
    v.created_by,
    v.created_at,
    v.superseded_at,
    v.expires_at,
    v.warned_at,
    v.destroyed_at,
    v.deleted_at,
    v.purge_at,
    v.key_fingerprint,
    v.state,
    usage.consumers,
    usage.stragglers,
    CASE WHEN v.rotated_from IS NOT NULL THEN v.created_at END AS last_rotated_at
FROM control_plane.versions AS v
CROSS JOIN LATERAL (
    SELECT
        pg_catalog.count(*) AS consumers,
        pg_catalog.count(*) FILTER (WHERE reader.read_any AND NOT reader.read_current) AS stragglers
    FROM (
        SELECT
            c.service,
            pg_catalog.bool_or(c.last_used_at IS NOT NULL) AS read_any,
            pg_catalog.bool_or(c.last_used_at IS NOT NULL AND c.secret_id OPERATOR(pg_catalog.=) v.id) AS read_current
        FROM control_plane.secrets AS s
        JOIN control_plane.secret_consumers AS c ON c.secret_id OPERATOR(pg_catalog.=) s.id
        WHERE s.chain_id OPERATOR(pg_catalog.=) v.chain_id
        GROUP BY c.service
    ) AS reader
) AS usage
WHERE v.active;

-- A service that reads a secret, or is expected to. last_version is the version that it read last, with
-- that version's state; both are NULL where it has not read any. verified says whether a read of that
-- version came with a token or grant that is bound to the service. endpoints is how many would tell it of a
-- rotation, its own and the project's; told_at is when one of its own was told of the current version.
-- sessions is how many sessions it has: NULL, for nothing in the database can tell.
CREATE TYPE control_plane.consumer AS (
    service text,
    verified boolean,
    last_version integer,
    last_state text,
    last_used_at timestamptz,
    straggler boolean,
    endpoints bigint,
    told_at timestamptz,
    sessions bigint
);

-- The consumers of every secret. A straggler last read an older version and has not read the current one,
-- whoever vouches for the reads.
CREATE VIEW control_plane.consumers AS
SELECT
    reader.chain_id,
    reader.service,
    reader.verified,
    reader.last_version,
    reader.last_state,
    reader.last_used_at,
    reader.straggler,
    hooks.endpoints,
    told.told_at,
    NULL::bigint AS sessions
FROM (
    SELECT DISTINCT ON (v.chain_id, c.service::text)
        v.chain_id,
        v.project_id,
        c.service::text AS service,
        c.last_verified_at IS NOT NULL AS verified,
        CASE WHEN c.last_used_at IS NOT NULL THEN v.version END AS last_version,
        CASE WHEN c.last_used_at IS NOT NULL THEN v.state END AS last_state,
        c.last_used_at,
        c.last_used_at IS NOT NULL
            AND NOT pg_catalog.bool_or(v.active AND c.last_used_at IS NOT NULL)
                OVER (PARTITION BY v.chain_id, c.service::text) AS straggler
    FROM control_plane.versions AS v
    JOIN control_plane.secret_consumers AS c ON c.secret_id OPERATOR(pg_catalog.=) v.id
    -- What it read comes before what it is expected to read.
    ORDER BY v.chain_id, c.service::text, c.last_used_at DESC NULLS LAST, v.version DESC
) AS reader
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) AS endpoints
    FROM control_plane.endpoints AS e
    WHERE e.project_id OPERATOR(pg_catalog.=) reader.project_id
        AND e.enabled
        AND (e.service IS NULL OR e.service::text OPERATOR(pg_catalog.=) reader.service)
        AND (e.event_types IS NULL OR 'secret.rotated' OPERATOR(pg_catalog.=) ANY (e.event_types))
) AS hooks
CROSS JOIN LATERAL (
    SELECT pg_catalog.min(d.finished_at) AS told_at
    FROM control_plane.secrets AS s
    JOIN control_plane.outbox AS o ON o.secret_id OPERATOR(pg_catalog.=) s.id
    JOIN control_plane.deliveries AS d ON d.event_id OPERATOR(pg_catalog.=) o.id
    JOIN control_plane.endpoints AS e ON e.id OPERATOR(pg_catalog.=) d.endpoint_id
    WHERE s.chain_id OPERATOR(pg_catalog.=) reader.chain_id
        AND s.active
        AND o.type OPERATOR(pg_catalog.=) 'secret.rotated'
        AND d.status OPERATOR(pg_catalog.=) 'delivered'
        AND e.service::text OPERATOR(pg_catalog.=) reader.service
) AS told;

-- Who still reads which version: has read it, and no newer one since. verified: the same by verified reads
-- alone. Whoever uses a service's name without being bound to it does not make its verified reads undone.
CREATE VIEW control_plane.current_reads AS
SELECT
    reads.secret_id,
    reads.service,
    reads.last_used_at,
    reads.verified
FROM (
    SELECT
        c.secret_id,
        c.service::text AS service,
        c.last_used_at,
        c.last_verified_at IS NOT NULL AND NOT coalesce(moved.verified_at OPERATOR(pg_catalog.>=) c.last_verified_at, false) AS verified,
        coalesce(moved.used_at OPERATOR(pg_catalog.>=) c.last_used_at, false) AS moved
    FROM control_plane.secret_consumers AS c
    JOIN control_plane.secrets AS s ON s.id OPERATOR(pg_catalog.=) c.secret_id
    CROSS JOIN LATERAL (
        SELECT
            pg_catalog.max(m.last_used_at) AS used_at,
            pg_catalog.max(m.last_verified_at) AS verified_at
        FROM control_plane.secrets AS newer
        JOIN control_plane.secret_consumers AS m ON m.secret_id OPERATOR(pg_catalog.=) newer.id
        WHERE newer.chain_id OPERATOR(pg_catalog.=) s.chain_id
            AND newer.version OPERATOR(pg_catalog.>) s.version
            AND m.service OPERATOR(pg_catalog.=) c.service
    ) AS moved
    WHERE c.last_used_at IS NOT NULL
) AS reads
WHERE reads.verified OR NOT reads.moved;

-- What holds for a project. grace is NULL where the server's holds.
CREATE TYPE control_plane.policy AS (
    project_id text,
    grace interval,
    hold_for_stragglers boolean,
    hold_limit interval
);

-- How a secret is rotated by itself; all but chain_id are NULL where nothing is set.
CREATE TYPE control_plane.rotation AS (
    chain_id uuid,
    rotate_every interval,
    length integer,
    alphabet text,
    next_rotation_at timestamptz
);

-- A grant as grant_project and project_grants show it.
CREATE TYPE control_plane.project_grant AS (
    id uuid,
    kind text,
    grantee text,
    permission text,
    project_id text,
    service text,
    granted_by text,
    granted_at timestamptz,
    name_prefix text,
    expires_at timestamptz
);

-- A token without its hash.
CREATE TYPE control_plane.token AS (
    id uuid,
    subject text,
    service text,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_by text,
    created_at timestamptz,
    last_used_at timestamptz
);

-- An endpoint. create_endpoint and rotate_endpoint_secret alone show its signing secret, once.
-- disabled_reason is gone (the receiver said so) or failing (for too long), where we disabled it;
-- previous_secret_until is the time until which the signing secret before this one signs too.
CREATE TYPE control_plane.endpoint AS (
    id uuid,
    project_id text,
    service text,
    url text,
    event_types text[],
    enabled boolean,
    created_by text,
    created_at timestamptz,
    disabled_reason text,
    failing_since timestamptz,
    not_before timestamptz,
    previous_secret_until timestamptz,
    secret text
);

-- Endpoints as that type shows them, without a signing secret.
CREATE VIEW control_plane.endpoint_rows AS
SELECT
    e.id,
    e.project_id,
    e.service::text AS service,
    e.url,
    e.event_types,
    e.enabled,
    e.created_by,
    e.created_at,
    e.disabled_reason,
    e.failing_since,
    CASE WHEN e.not_before OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN e.not_before END AS not_before,
    CASE WHEN e.previous_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN e.previous_until END
        AS previous_secret_until
FROM control_plane.endpoints AS e;

-- One event for one endpoint, and its tries so far: an array of objects, the first try first.
CREATE TYPE control_plane.delivery AS (
    id uuid,
    endpoint_id uuid,
    event_id uuid,
    webhook_id text,
    type text,
    secret_id uuid,
    name text,
    status text,
    attempts integer,
    next_attempt_at timestamptz,
    last_status integer,
    last_error text,
    created_at timestamptz,
    finished_at timestamptz,
    tries jsonb
);

-- One webhook to send: the request's body and the three headers of the Standard Webhooks scheme.
CREATE TYPE control_plane.claimed_delivery AS (
    delivery_id uuid,
    endpoint_id uuid,
    attempt integer,
    url text,
    webhook_id text,
    webhook_timestamp bigint,
    webhook_signature text,
    body text
);

-- How many versions and endpoints need which key. A version whose grace is over needs none any more.
CREATE VIEW control_plane.key_usage AS
SELECT
    sealed.key_fingerprint,
    pg_catalog.count(*) FILTER (WHERE sealed.kind OPERATOR(pg_catalog.=) 'version') AS versions,
    pg_catalog.count(*) FILTER (WHERE sealed.kind OPERATOR(pg_catalog.=) 'endpoint') AS endpoints
FROM (
    SELECT v.key_fingerprint, 'version' AS kind
    FROM control_plane.versions AS v
    WHERE v.state OPERATOR(pg_catalog.<>) 'destroyed'
    UNION ALL
    SELECT e.key_fingerprint, 'endpoint' AS kind
    FROM control_plane.endpoints AS e
    UNION ALL
    -- While it still signs beside the new one.
    SELECT e.previous_key_fingerprint, 'endpoint' AS kind
    FROM control_plane.endpoints AS e
    WHERE e.previous_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
) AS sealed
GROUP BY sealed.key_fingerprint;

-- A key of the server, or one that something needs and the server does not have (available is false).
CREATE TYPE control_plane.pgp_key AS (
    fingerprint text,
    algorithm text,
    created timestamptz,
    "primary" boolean,
    available boolean,
    versions bigint,
    endpoints bigint
);

-- Something that cannot be decrypted. kind is version or endpoint.
CREATE TYPE control_plane.verify_failure AS (
    id uuid,
    key_fingerprint text,
    kind text,
    problem text
);

-- What verify_audit() found. problem is changed, removed, inserted or reordered, with the record (and its
-- number in the chain) that is the first of its kind; or cut or rewritten, where the chain is not what the
-- signed head says, or ends before a number that was asked for; or unverifiable. unchained counts the records of the last moment, which no link
-- covers yet.
CREATE TYPE control_plane.audit_verdict AS (
    intact boolean,
    from_seq bigint,
    to_seq bigint,
    unchained bigint,
    problem text,
    seq bigint,
    record_id uuid,
    explanation text
);

-- A record of the audit: the columns of audit_logs, in their order, without arrival.
CREATE TYPE control_plane.audit_record AS (
    id uuid,
    at timestamptz,
    action text,
    outcome text,
    actor text,
    login text,
    project_id text,
    secret_id uuid,
    name text,
    version integer,
    service text,
    client_address inet,
    application_name text,
    request_id text,
    detail jsonb
);

-- Somebody whose reads were refused.
CREATE TYPE control_plane.denied_actor AS (
    actor text,
    count bigint,
    last_at timestamptz
);
