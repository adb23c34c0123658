-- The audit of changes: triggers that no setting of the session can skip. A change that came through
-- one of our functions is recorded as what it is, once; any other is recorded as audit.direct_change.

CREATE FUNCTION control_plane.audit_change() RETURNS trigger
    LANGUAGE c VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_audit_change';

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.secret_names
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.secret_names
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.secret_names
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.secret_names
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.secret_names
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.secrets
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.secrets
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.secrets
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.secrets
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.secrets
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.secret_consumers
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.secret_consumers
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.secret_consumers
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.secret_consumers
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.secret_consumers
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.endpoints
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.endpoints
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.endpoints
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.endpoints
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.endpoints
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.grants
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.grants
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.grants
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.grants
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.grants
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.tokens
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.tokens
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.tokens
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.tokens
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.tokens
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.active_installations
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.active_installations
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.active_installations
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.active_installations
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.active_installations
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.policies
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.policies
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.policies
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.policies
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.policies
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON control_plane.rotations
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_update AFTER UPDATE ON control_plane.rotations
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_delete AFTER DELETE ON control_plane.rotations
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

CREATE TRIGGER audit_truncate AFTER TRUNCATE ON control_plane.rotations
    FOR EACH STATEMENT EXECUTE FUNCTION control_plane.audit_change();

ALTER TABLE control_plane.rotations
    ENABLE ALWAYS TRIGGER audit_insert,
    ENABLE ALWAYS TRIGGER audit_update,
    ENABLE ALWAYS TRIGGER audit_delete,
    ENABLE ALWAYS TRIGGER audit_truncate;
