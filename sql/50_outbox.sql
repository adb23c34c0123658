-- The relay's two calls. A claim signs in the database, so that no signing secret leaves it.

-- Its statements take what is due in the order of an index, and stop; a bitmap, or a join of all with all,
-- would gather first everything that waits for an endpoint that is dead.
CREATE FUNCTION control_plane.claim_deliveries(
    batch integer DEFAULT 16,
    lease interval DEFAULT '1 minute'
) RETURNS SETOF control_plane.claimed_delivery
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET lock_timeout = '1s'
    AS 'MODULE_PATHNAME', 'pgs_claim_deliveries';

COMMENT ON FUNCTION control_plane.claim_deliveries(integer, interval) IS
    'Takes due deliveries for the length of the lease, signed and ready to send. For the relay''s trusted login.';

-- Somebody who may manage endpoints can hold them locked: the others' ends must not wait long for that.
CREATE FUNCTION control_plane.finish_delivery(
    delivery_id uuid,
    attempt integer,
    status integer DEFAULT NULL,
    error text DEFAULT NULL,
    retry_after integer DEFAULT NULL,
    duration_ms integer DEFAULT NULL,
    answer text DEFAULT NULL
) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '50ms'
    AS 'MODULE_PATHNAME', 'pgs_finish_delivery';

COMMENT ON FUNCTION control_plane.finish_delivery(uuid, integer, integer, text, integer, integer, text) IS
    'Tells how a claimed try ended: the HTTP status, or the error where there was none; for how many seconds the receiver wants no other; how long it took; the beginning of the answer, of which 1 kB is kept, masked. False if the claim was lost meanwhile.';
