-- Grants, tokens, and who is calling.

CREATE FUNCTION control_plane.grant_project(
    grantee text,
    permission text,
    project_id text DEFAULT NULL,
    service text DEFAULT NULL,
    kind text DEFAULT NULL,
    name_prefix text DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL
) RETURNS control_plane.project_grant
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_grant_project';

COMMENT ON FUNCTION control_plane.grant_project(text, text, text, text, text, text, timestamptz) IS
    'Grants a permission on a project (NULL: on all), or on the names in it that begin with name_prefix, to a database role or a subject, until expires_at. kind is role or subject; NULL: a role if there is one of that name. Needs manage on all of what is granted.';

CREATE FUNCTION control_plane.revoke_project(
    grantee text,
    permission text,
    project_id text DEFAULT NULL,
    service text DEFAULT NULL,
    kind text DEFAULT NULL,
    name_prefix text DEFAULT NULL
) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_revoke_project';

COMMENT ON FUNCTION control_plane.revoke_project(text, text, text, text, text, text) IS
    'Takes a grant back, named as it was given; answers how many were removed. Needs manage.';

CREATE FUNCTION control_plane.project_grants(
    project_id text DEFAULT NULL
) RETURNS SETOF control_plane.project_grant
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_project_grants';

COMMENT ON FUNCTION control_plane.project_grants(text) IS
    'The grants that hold for a project (NULL: all grants), also those that have expired; to who manages some names of it, those for such names. Needs manage.';

CREATE FUNCTION control_plane.create_token(
    subject text,
    service text DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_create_token';

COMMENT ON FUNCTION control_plane.create_token(text, text, timestamptz) IS
    'Makes a bearer token for a subject, bound to a service if one is given; shown this once. Administrators only.';

CREATE FUNCTION control_plane.revoke_token(
    id uuid
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_revoke_token';

COMMENT ON FUNCTION control_plane.revoke_token(uuid) IS
    'Revokes a token: the next request that brings it fails. Administrators only.';

CREATE FUNCTION control_plane.authenticate(
    token text,
    request jsonb DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_authenticate';

COMMENT ON FUNCTION control_plane.authenticate(text, jsonb) IS
    'Verifies a token and makes its subject the caller for the rest of the transaction. Trusted logins only.';

CREATE FUNCTION control_plane.list_tokens(
    subject text DEFAULT NULL
) RETURNS SETOF control_plane.token
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_list_tokens';

COMMENT ON FUNCTION control_plane.list_tokens(text) IS
    'The tokens of a subject (NULL: all), also those that were revoked or have expired; last_used_at is true to the minute. Administrators only.';

CREATE FUNCTION control_plane.token_id(
    token text
) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_token_id';

COMMENT ON FUNCTION control_plane.token_id(text) IS
    'The id of a token, with which it can be revoked. Administrators only.';

CREATE FUNCTION control_plane.authenticate_subject(
    subject text,
    request jsonb DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_authenticate_subject';

COMMENT ON FUNCTION control_plane.authenticate_subject(text, jsonb) IS
    'Makes a subject that the login has verified by itself the caller for the rest of the transaction. Trusted logins only, while no other role is set.';

CREATE FUNCTION control_plane.pre_request() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_pre_request';

COMMENT ON FUNCTION control_plane.pre_request() IS
    'For PostgREST''s db-pre-request: makes the sub of request.jwt.claims the caller for the rest of the transaction. Trusted logins only.';

-- What a role sees that selects from the tables: the metadata of what it may list, by the grants that
-- hold at that moment. Their owner sees everything, and with it the functions and pg_dump.
CREATE FUNCTION control_plane.may_list(
    project_id text,
    name text
) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_may_list';

COMMENT ON FUNCTION control_plane.may_list(text, text) IS
    'Whether the caller may list the secret of this name.';

ALTER TABLE control_plane.secrets ENABLE ROW LEVEL SECURITY;

CREATE POLICY listed ON control_plane.secrets FOR SELECT
    USING (control_plane.may_list(project_id, name));

ALTER TABLE control_plane.secret_consumers ENABLE ROW LEVEL SECURITY;

-- The policy above decides here too.
CREATE POLICY listed ON control_plane.secret_consumers FOR SELECT
    USING (EXISTS (
        SELECT FROM control_plane.secrets AS s
        WHERE s.id OPERATOR(pg_catalog.=) secret_consumers.secret_id
    ));

-- Lets a role call the functions of this schema, and select the columns that
-- hold no secret, or no longer; called by grant_project and
-- revoke_project as the owner, under their locks, and by nobody else.
CREATE FUNCTION control_plane.set_execute(verb text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $body$
BEGIN
    IF verb OPERATOR(pg_catalog.=) 'grant' THEN
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA control_plane TO %I', role);
        EXECUTE pg_catalog.format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO %I', role);
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION control_plane.set_execute(text, text) FROM %I', role);
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION control_plane.audit_change() FROM %I', role);
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION control_plane.protect_audit() FROM %I', role);
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION control_plane.store_usage(bigint, bigint) FROM %I', role);
        EXECUTE pg_catalog.format('GRANT SELECT (id, chain_id, project_id, name, version, active, rotated_from, rotation_reason, created_by, created_at, superseded_at, expires_at, warned_at, destroyed_at, deleted_at, purge_at, key_fingerprint, held_from) ON control_plane.secrets TO %I', role);
        EXECUTE pg_catalog.format('GRANT SELECT (secret_id, service, last_used_at, last_verified_at) ON control_plane.secret_consumers TO %I', role);
    ELSE
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane FROM %I', role);
        EXECUTE pg_catalog.format('REVOKE USAGE ON SCHEMA control_plane FROM %I', role);
        -- With the privileges on a table go those on its columns.
        EXECUTE pg_catalog.format('REVOKE SELECT ON control_plane.secrets, control_plane.secret_consumers FROM %I', role);
    END IF;
END
$body$;
