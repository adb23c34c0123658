-- For a relay that has to end before it knows how a try does.

CREATE FUNCTION control_plane.release_delivery(
    delivery_id uuid,
    attempt integer
) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '1s'
    AS 'MODULE_PATHNAME', 'pgs_release_delivery';

COMMENT ON FUNCTION control_plane.release_delivery(uuid, integer) IS
    'Gives a claimed try back: the delivery is due at once, for whoever claims next. False if the claim was lost meanwhile. For the relay''s trusted login.';
