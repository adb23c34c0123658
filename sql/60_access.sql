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

-- Lets a role call the functions of this schema, or no longer; called by grant_project and
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
    ELSE
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane FROM %I', role);
        EXECUTE pg_catalog.format('REVOKE USAGE ON SCHEMA control_plane FROM %I', role);
    END IF;
END
$body$;
