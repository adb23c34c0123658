-- What is done when its time has come, and whether this database does it.

CREATE FUNCTION control_plane.run_maintenance(
    OUT warned integer,
    OUT destroyed integer,
    OUT purged integer
) RETURNS record
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_run_maintenance';

COMMENT ON FUNCTION control_plane.run_maintenance() IS
    'Does now what the worker does by itself: warns of versions whose grace ends soon, destroys those whose grace is over, purges deleted secrets whose time has come. Administrators only.';

CREATE FUNCTION control_plane.confirm_restored() RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_confirm_restored';

COMMENT ON FUNCTION control_plane.confirm_restored() IS
    'Says that this database, which was restored or copied, is the original from now on: it sends webhooks and sweeps. False where it did already. Administrators only.';
