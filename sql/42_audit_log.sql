-- Reading the audit log. Neither function reads a value or writes anything, so both work in a
-- read-only transaction and on a standby too.

-- Its statements find their records in the order of an index. Where the planner expects few, it would
-- rather read all there are and sort them, and it cannot know how many there are: hence enable_sort.
-- The price that this puts on the sort of a page that must be is high enough to have code compiled
-- for it, which takes longer than the page: hence jit.
CREATE FUNCTION control_plane.list_audit(
    project_id text DEFAULT NULL,
    secret_id uuid DEFAULT NULL,
    actor text DEFAULT NULL,
    action text DEFAULT NULL,
    outcome text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before uuid DEFAULT NULL,
    "limit" integer DEFAULT 100
) RETURNS SETOF control_plane.audit_record
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_sort = off
    SET jit = off
    AS 'MODULE_PATHNAME', 'pgs_list_audit';

COMMENT ON FUNCTION control_plane.list_audit(text, uuid, text, text, text, timestamptz, timestamptz, uuid, integer) IS
    'Records of the audit, newest first; before is the id of the last record of the page before. The id of any version finds the records of the whole secret; those of one that was purged, only together with its project or by whoever may audit every project. Needs audit on the project, or on every project where neither project_id nor secret_id is given.';

CREATE FUNCTION control_plane.denied_reads(
    project_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL
) RETURNS SETOF control_plane.denied_actor
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_denied_reads';

COMMENT ON FUNCTION control_plane.denied_reads(text, timestamptz) IS
    'Who was refused how often since then (NULL: in the last day), most first. Needs audit on the project, or on every project where none is given.';
