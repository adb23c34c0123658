-- Making secrets and reading them. The entry points are invoker functions in C: they see who calls,
-- check that caller's grants, and only then act as the extension's owner.

CREATE FUNCTION control_plane.create_secret(
    project_id text,
    name text,
    value text
) RETURNS control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_create_secret';

COMMENT ON FUNCTION control_plane.create_secret(text, text, text) IS
    'Creates a secret, or a deleted name anew; its first version answers. Needs write.';

CREATE FUNCTION control_plane.get_secret(
    secret_id uuid,
    service text DEFAULT NULL
) RETURNS control_plane.secret_value
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_get_secret';

COMMENT ON FUNCTION control_plane.get_secret(uuid, text) IS
    'Reads exactly the version with this id. Needs read; recorded as secret.accessed.';

CREATE FUNCTION control_plane.get_secret_by_name(
    project_id text,
    name text,
    version integer DEFAULT NULL,
    service text DEFAULT NULL
) RETURNS control_plane.secret_value
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_get_secret_by_name';

COMMENT ON FUNCTION control_plane.get_secret_by_name(text, text, integer, text) IS
    'Reads the current version of a name, or the version given. Needs read; recorded as secret.accessed.';

CREATE FUNCTION control_plane.get_secret_version(
    secret_id uuid,
    version integer,
    service text DEFAULT NULL
) RETURNS control_plane.secret_value
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_get_secret_version';

COMMENT ON FUNCTION control_plane.get_secret_version(uuid, integer, text) IS
    'Reads one version of the secret that any of its versions'' ids finds. Needs read; recorded as secret.accessed.';

CREATE FUNCTION control_plane.get_secrets(
    project_id text,
    names text[] DEFAULT NULL,
    service text DEFAULT NULL
) RETURNS SETOF control_plane.secret_value
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_get_secrets';

COMMENT ON FUNCTION control_plane.get_secrets(text, text[], text) IS
    'Reads the current versions of a project''s secrets, all or those named. Needs read; each is recorded.';

CREATE FUNCTION control_plane.secret_id(
    project_id text,
    name text
) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_secret_id';

COMMENT ON FUNCTION control_plane.secret_id(text, text) IS
    'The id of the current version of a name.';

CREATE FUNCTION control_plane.list_secrets(
    project_id text,
    state text DEFAULT NULL
) RETURNS SETOF control_plane.secret_summary
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_list_secrets';

COMMENT ON FUNCTION control_plane.list_secrets(text, text) IS
    'The current versions of a project''s secrets, without values; with state deleted, those of the deleted secrets that can be restored. Needs list.';

CREATE FUNCTION control_plane.secret_versions(
    secret_id uuid
) RETURNS SETOF control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_secret_versions';

COMMENT ON FUNCTION control_plane.secret_versions(uuid) IS
    'Every version of a secret, newest first, without values. Needs list.';

-- For clients that read in pages. The rows behind (after_name, after_id), in the order of names and, where
-- a name was deleted several times, the newest first.
CREATE FUNCTION control_plane.list_secrets_page(
    project_id text,
    state text DEFAULT NULL,
    name text DEFAULT NULL,
    prefix text DEFAULT NULL,
    after_name text DEFAULT NULL,
    after_id uuid DEFAULT NULL,
    "limit" integer DEFAULT 100
) RETURNS SETOF control_plane.secret_summary
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_list_secrets_page';

COMMENT ON FUNCTION control_plane.list_secrets_page(text, text, text, text, text, uuid, integer) IS
    'A page of what list_secrets lists: of one name, or of those that begin with prefix; after_name and after_id are those of the last row of the page before. Needs list.';

CREATE FUNCTION control_plane.check_secret(
    secret_id uuid DEFAULT NULL,
    project_id text DEFAULT NULL,
    name text DEFAULT NULL,
    version integer DEFAULT NULL,
    known uuid[] DEFAULT NULL,
    service text DEFAULT NULL
) RETURNS SETOF control_plane.secret_version
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_check_secret';

COMMENT ON FUNCTION control_plane.check_secret(uuid, text, text, integer, uuid[], text) IS
    'Whether a reader who has one of the versions known (NULL: any) has what a read by secret_id, or by project_id and name, would give: that version without its value, or no row. Needs read; what is found is recorded as secret.checked, as durably as a read.';
