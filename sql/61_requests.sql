-- Requests that are sent again. Both calls are made in the transaction of what the request changes: either
-- the change and its answer are there, or neither.

-- What was answered to a request.
CREATE TYPE control_plane.kept_answer AS (
    status integer,
    body text,
    location text,
    etag text
);

CREATE FUNCTION control_plane.begin_request(
    key text,
    request bytea
) RETURNS SETOF control_plane.kept_answer
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_begin_request';

COMMENT ON FUNCTION control_plane.begin_request(text, bytea) IS
    'Begins a request that may be sent again with the same key within a day; request is a digest of all that it asks for. No row: go on, and end it with end_request. A row: it was done, and this was the answer. Another request with that key is refused. For subjects that a trusted login authenticated.';

CREATE FUNCTION control_plane.end_request(
    key text,
    status integer,
    body text DEFAULT NULL,
    location text DEFAULT NULL,
    etag text DEFAULT NULL
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pgs_end_request';

COMMENT ON FUNCTION control_plane.end_request(text, integer, text, text, text) IS
    'Keeps the answer of a request that began in this transaction. body is JSON without a value, or NULL where the answer is shown once.';
