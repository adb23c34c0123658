-- What sealing and opening cost beside pgcrypto, for values of three sizes. Run by dev/bench.sh in
-- one session, with the psql variable `home`: the folder of the library and of the two keys.
--
-- What is measured is processor time. All that is compared happens in turn, round by round, so that
-- a slow moment of the machine hits all alike; the median of the rounds counts. Values and messages
-- lie in arrays, in memory: what is timed reads no table.
\set library :home '/pg_secrets_bench.so'
\set ROUNDS 5
\pset pager off
\pset footer off

SET client_min_messages = warning;
SET jit = off;
SET work_mem = '1GB';

CREATE EXTENSION pgcrypto;

CREATE FUNCTION bench_load(key_file text) RETURNS text
LANGUAGE c VOLATILE STRICT AS :'library', 'bench_load_wrapper';

CREATE FUNCTION bench_seal(id uuid, value text) RETURNS bytea
LANGUAGE c VOLATILE STRICT AS :'library', 'bench_seal_wrapper';

CREATE FUNCTION bench_open(id uuid, message bytea) RETURNS text
LANGUAGE c VOLATILE STRICT AS :'library', 'bench_open_wrapper';

CREATE FUNCTION bench_open_again(id uuid, message bytea) RETURNS text
LANGUAGE c VOLATILE STRICT AS :'library', 'bench_open_again_wrapper';

CREATE FUNCTION bench_processor_time() RETURNS float8
LANGUAGE c VOLATILE STRICT AS :'library', 'bench_processor_time_wrapper';

-- Who is compared. A password is as long as one that a program would have made up.
CREATE TABLE contestant (
    name text PRIMARY KEY,
    key_file text,
    encrypt text NOT NULL,
    decrypt text NOT NULL,
    decrypt_again text NOT NULL
);

INSERT INTO contestant
SELECT 'pgcrypto', NULL,
       format('pgp_sym_encrypt(value, %L)', password),
       format('pgp_sym_decrypt(message, %L)', password),
       format('pgp_sym_decrypt(message, %L)', password)
FROM encode(gen_random_bytes(24), 'base64') AS password
UNION ALL
SELECT key, format('%s/%s.asc', :'home', key),
       'bench_seal(id, value)', 'bench_open(id, message)', 'bench_open_again(id, message)'
FROM unnest(ARRAY['v6', 'v4']) AS key;

CREATE TABLE measurement (
    size int NOT NULL,
    operation text NOT NULL,
    contestant text NOT NULL REFERENCES contestant,
    microseconds float8 NOT NULL
);

-- Values of letters and digits as random as they get.
CREATE FUNCTION random_text(size int) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(encode(gen_random_bytes(48), 'base64'), '')
    FROM generate_series(1, size / 64)
$$;

-- How many microseconds one call of `expression` takes, over the samples given.
CREATE FUNCTION timed(expression text, ids uuid[], texts text[], messages bytea[]) RETURNS float8
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    statement CONSTANT text := format(
        'SELECT sum(octet_length(%s)) FROM unnest($1, $2, $3) AS sample (id, value, message)', expression);
    started CONSTANT float8 := bench_processor_time();
    total bigint;
BEGIN
    EXECUTE statement INTO total USING ids, texts, messages;
    RETURN (bench_processor_time() - started) / cardinality(ids);
END
$$;

-- Refuses to go on where `expression` does not give back each value.
CREATE PROCEDURE check_values(expression text, ids uuid[], texts text[], messages bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    statement CONSTANT text := format(
        'SELECT array_agg(%s) = $2 FROM unnest($1, $2, $3) AS sample (id, value, message)', expression);
    same boolean;
BEGIN
    EXECUTE statement INTO same USING ids, texts, messages;
    IF same IS NOT TRUE THEN
        RAISE EXCEPTION '% does not give the values back', expression;
    END IF;
END
$$;

-- Takes the times of all contestants for `samples` values of one size. Round 0 warms up.
CREATE PROCEDURE measure(size int, samples int, rounds int)
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
    texts text[];
    messages bytea[];
    who contestant;
BEGIN
    SELECT array_agg(gen_random_uuid()), array_agg(random_text(size))
    INTO ids, texts
    FROM generate_series(1, samples);
    CREATE TEMPORARY TABLE sealed (contestant text PRIMARY KEY, messages bytea[]) ON COMMIT DROP;
    FOR round IN 0 .. rounds LOOP
        FOR who IN SELECT * FROM contestant ORDER BY name LOOP
            -- The session keys of before are forgotten. For pgcrypto, which has no key file, STRICT
            -- makes this do nothing.
            PERFORM bench_load(who.key_file);
            IF round = 0 THEN
                EXECUTE format(
                    'SELECT array_agg(%s) FROM unnest($1, $2) AS sample (id, value)', who.encrypt)
                INTO messages USING ids, texts;
                INSERT INTO sealed VALUES (who.name, messages);
                CALL check_values(who.decrypt, ids, texts, messages);
                CALL check_values(who.decrypt_again, ids, texts, messages);
                CALL check_values(who.decrypt_again, ids, texts, messages);
                CONTINUE;
            END IF;
            SELECT s.messages INTO messages FROM sealed AS s WHERE s.contestant = who.name;
            INSERT INTO measurement VALUES
            (size, 'encrypt', who.name, timed(who.encrypt, ids, texts, messages)),
            (size, 'first decrypt', who.name, timed(who.decrypt, ids, texts, messages));
            CALL check_values(who.decrypt_again, ids, texts, messages);
            INSERT INTO measurement VALUES
            (size, 'repeated decrypt', who.name, timed(who.decrypt_again, ids, texts, messages));
        END LOOP;
    END LOOP;
END
$$;

\warn '==> Measuring values of 64 bytes'
CALL measure(64, 1000, :ROUNDS);
\warn '==> Measuring values of 1 kB'
CALL measure(1024, 1000, :ROUNDS);
\warn '==> Measuring values of 64 kB'
CALL measure(65536, 100, :ROUNDS);

CREATE VIEW figure AS
SELECT size, operation, pgcrypto, v6, v4, v6 / pgcrypto AS v6_ratio, v4 / pgcrypto AS v4_ratio
FROM (
    SELECT size, operation,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY microseconds)
               FILTER (WHERE contestant = 'pgcrypto') AS pgcrypto,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY microseconds)
               FILTER (WHERE contestant = 'v6') AS v6,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY microseconds)
               FILTER (WHERE contestant = 'v4') AS v4
    FROM measurement
    GROUP BY size, operation
) AS median;

SELECT size AS "value, bytes",
       operation,
       round(pgcrypto::numeric, 1) AS "pgcrypto, µs",
       round(v6::numeric, 1) AS "pg_secrets v6, µs",
       round(v6_ratio::numeric, 2) AS "v6 : pgcrypto",
       round(v4::numeric, 1) AS "pg_secrets v4, µs",
       round(v4_ratio::numeric, 2) AS "v4 : pgcrypto"
FROM figure
ORDER BY size, operation;

\pset tuples_only on
\pset format unaligned
SELECT format('%s: version 6 key %s (%s), version 4 key %s (%s)',
              promise,
              CASE WHEN v6_ratio <= bound THEN 'met' ELSE 'missed' END,
              shown_v6,
              CASE WHEN v4_ratio <= bound THEN 'met' ELSE 'missed' END,
              shown_v4)
FROM (
    VALUES
    (1, 'first decrypt', 1.4, false, 'A first decrypt takes at most 1.4 times pgp_sym_decrypt'),
    (2, 'repeated decrypt', 0.25, true, 'A repeated decrypt is at least 4 times as fast as pgp_sym_decrypt'),
    (3, 'encrypt', 1.5, false, 'An encrypt takes at most 1.5 times pgp_sym_encrypt')
) AS promised (place, operation, bound, inverse, promise)
JOIN figure USING (operation)
CROSS JOIN LATERAL (
    SELECT round((CASE WHEN inverse THEN 1 / v6_ratio ELSE v6_ratio END)::numeric, 2) AS shown_v6,
           round((CASE WHEN inverse THEN 1 / v4_ratio ELSE v4_ratio END)::numeric, 2) AS shown_v4
) AS shown
WHERE size = 64
ORDER BY place;
