-- Tamper evidence: a chain over all records of the audit, in which each link is a hash over the one
-- before it, and heads of it that are signed and can be kept elsewhere.
--
--     hash(n) = sha256(hash(n - 1) || segment || n || digest(record n))
--
-- hash(0) is 32 zero bytes, segment the 16 bytes of its uuid, n 8 bytes with the highest first, and the
-- digest what the view below says: whoever has the rows can work it all out anew, with psql alone.

-- The rule of what is hashed of a record: every column, in an encoding that no setting changes.
CREATE VIEW control_plane.audit_digests AS
SELECT
    a.id,
    a.arrival,
    pg_catalog.sha256(pg_catalog.convert_to(
        ROW(
            a.id,
            CASE WHEN pg_catalog.isfinite(a.at) THEN (EXTRACT(epoch FROM a.at) OPERATOR(pg_catalog.*) 1000000)::bigint END,
            a.action,
            a.outcome,
            a.actor,
            a.login,
            a.project_id,
            a.secret_id,
            a.name,
            a.version,
            a.service,
            a.client_address,
            a.application_name,
            a.request_id,
            a.detail,
            a.arrival
        )::text,
        'UTF8'
    )) AS digest
FROM control_plane.audit_logs AS a;

CREATE FUNCTION control_plane.verify_audit(
    from_seq bigint DEFAULT NULL,
    to_seq bigint DEFAULT NULL,
    head text DEFAULT NULL
) RETURNS control_plane.audit_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_verify_audit';

COMMENT ON FUNCTION control_plane.verify_audit(bigint, bigint, text) IS
    'Whether the records of the audit are those that were chained, and in accordance with the signed head given; names the first that is not. Needs audit on all projects.';

CREATE FUNCTION control_plane.export_audit_head() RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_export_audit_head';

COMMENT ON FUNCTION control_plane.export_audit_head() IS
    'The last link of the audit''s chain, signed with the server''s OpenPGP key; keep it elsewhere, and give it to verify_audit(). Needs audit on all projects.';

-- Nobody changes or removes what is recorded: the triggers refuse, and record that somebody tried.
CREATE FUNCTION control_plane.protect_audit() RETURNS trigger
    LANGUAGE c VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_protect_audit';

CREATE TRIGGER protect BEFORE UPDATE OR DELETE OR TRUNCATE ON control_plane.audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.protect_audit();

CREATE TRIGGER protect BEFORE UPDATE OR DELETE OR TRUNCATE ON control_plane.audit_unchained
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.protect_audit();

CREATE TRIGGER protect BEFORE UPDATE OR DELETE OR TRUNCATE ON control_plane.audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.protect_audit();

CREATE TRIGGER protect BEFORE UPDATE OR DELETE OR TRUNCATE ON control_plane.audit_heads
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.protect_audit();

CREATE TRIGGER protect BEFORE UPDATE OR DELETE OR TRUNCATE ON control_plane.audit_progress
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.protect_audit();

ALTER TABLE control_plane.audit_logs ENABLE ALWAYS TRIGGER protect;

ALTER TABLE control_plane.audit_unchained ENABLE ALWAYS TRIGGER protect;

ALTER TABLE control_plane.audit_chain ENABLE ALWAYS TRIGGER protect;

ALTER TABLE control_plane.audit_heads ENABLE ALWAYS TRIGGER protect;

ALTER TABLE control_plane.audit_progress ENABLE ALWAYS TRIGGER protect;
