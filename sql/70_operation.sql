-- For whoever watches the service.

-- Counts end at 20000, so that asking costs the same however much there is. The workers are NULL where the
-- extension's owner may not see what runs.
CREATE TYPE control_plane.service_figures AS (
    key_available boolean,
    auditor boolean,
    bookkeeper boolean,
    notifier boolean,
    maintenance boolean,
    pending_deliveries bigint,
    oldest_pending_seconds double precision,
    unchained_records bigint,
    oldest_unchained_seconds double precision,
    denied_reads bigint,
    versions_in_grace bigint,
    stragglers bigint
);

CREATE FUNCTION control_plane.service_figures() RETURNS control_plane.service_figures
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_service_figures';

COMMENT ON FUNCTION control_plane.service_figures() IS
    'How the service is, in numbers that name nothing: the key, the workers, webhooks that wait, records that are not chained yet, reads that were refused within an hour, versions in grace and who still reads them. Counts end at 20000. For a trusted login that acts for itself, and for administrators.';
