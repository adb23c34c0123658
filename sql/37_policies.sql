-- What holds for a whole project, where the server's settings are not what it needs.

CREATE FUNCTION control_plane.set_policy(
    project_id text,
    grace interval DEFAULT NULL,
    hold_for_stragglers boolean DEFAULT NULL,
    hold_limit interval DEFAULT NULL
) RETURNS control_plane.policy
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_set_policy';

COMMENT ON FUNCTION control_plane.set_policy(text, interval, boolean, interval) IS
    'Sets the whole policy of a project; what is NULL goes back to its default: the server''s grace, no hold, seven days. Needs manage.';

CREATE FUNCTION control_plane.project_policy(
    project_id text
) RETURNS control_plane.policy
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_project_policy';

COMMENT ON FUNCTION control_plane.project_policy(text) IS
    'The policy of a project; grace is NULL where the server''s holds. Needs manage.';
