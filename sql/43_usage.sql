-- Who uses which version, worked out from the records of reads by a worker: a reader never writes here.

-- Stores the uses that the records with these arrivals tell of, at most once a minute for each consumer
-- and version while it reads no other, and what had to wait before. A service that is found to use a
-- superseded version is told of what happened to the secret, if it was not, and is expected to read the
-- current one, as the consumers that the rotation knew of. Answers how many deliveries that are.
CREATE FUNCTION control_plane.store_usage(after bigint, until bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $body$
DECLARE
    used record;
    deliveries bigint := 0;
    told bigint;
BEGIN
    FOR used IN
        SELECT u.secret_id, u.service, max(u.used_at) AS used_at, max(u.verified_at) AS verified_at
        FROM (
            SELECT a.secret_id, a.service, a.at AS used_at,
                CASE WHEN a.detail ? 'verified' THEN a.at END AS verified_at
            FROM control_plane.audit_logs AS a
            WHERE a.arrival > after AND a.arrival <= until
                AND a.action IN ('secret.accessed', 'secret.checked') AND a.outcome = 'success' AND a.service IS NOT NULL
            UNION ALL
            SELECT d.secret_id, d.service, d.used_at, d.verified_at
            FROM control_plane.usage_deferred AS d
        ) AS u
        GROUP BY u.secret_id, u.service
    LOOP
        -- Known well enough already. Not so where the service is known to have read a newer version since: then
        -- it reads both, as it does while its instances are replaced, and would seem to have moved.
        CONTINUE WHEN EXISTS (
            SELECT FROM control_plane.secret_consumers AS c
            WHERE c.secret_id = used.secret_id AND c.service = used.service
                AND c.last_used_at > used.used_at - interval '1 minute'
                AND (used.verified_at IS NULL OR c.last_verified_at > used.verified_at - interval '1 minute')
                AND NOT EXISTS (
                    SELECT FROM control_plane.secrets AS s
                    JOIN control_plane.secrets AS newer ON newer.chain_id = s.chain_id AND newer.version > s.version
                    JOIN control_plane.secret_consumers AS moved ON moved.secret_id = newer.id
                    WHERE s.id = used.secret_id AND NOT s.active AND moved.service = used.service
                        AND moved.last_used_at BETWEEN c.last_used_at AND used.used_at
                )
        );
        BEGIN
            -- Against a rotation that is under way: it looks for consumers after it has changed this row,
            -- and so it either sees this one, or is seen below.
            PERFORM FROM control_plane.secrets AS s WHERE s.id = used.secret_id FOR SHARE SKIP LOCKED;
            IF NOT FOUND THEN
                -- A version that is gone has no consumers.
                CONTINUE WHEN NOT EXISTS (SELECT FROM control_plane.secrets AS s WHERE s.id = used.secret_id);
                RAISE lock_not_available;
            END IF;
            -- So is the current version, where it is another: a rotation of that one, or who removes a
            -- consumer from all versions, either sees what is expected of it below, or is not waited for.
            IF EXISTS (
                SELECT FROM control_plane.secrets AS s
                JOIN control_plane.secrets AS v ON v.chain_id = s.chain_id
                WHERE s.id = used.secret_id AND NOT s.active AND v.active
            ) THEN
                PERFORM FROM control_plane.secrets AS s
                JOIN control_plane.secrets AS v ON v.chain_id = s.chain_id
                WHERE s.id = used.secret_id AND v.active
                FOR SHARE OF v SKIP LOCKED;
                IF NOT FOUND THEN
                    RAISE lock_not_available;
                END IF;
            END IF;

            INSERT INTO control_plane.secret_consumers AS c (secret_id, service, last_used_at, last_verified_at)
            VALUES (used.secret_id, used.service, used.used_at, used.verified_at)
            ON CONFLICT (secret_id, service) DO UPDATE SET
                last_used_at = greatest(c.last_used_at, excluded.last_used_at),
                last_verified_at = greatest(c.last_verified_at, excluded.last_verified_at);

            INSERT INTO control_plane.secret_consumers (secret_id, service)
            SELECT v.id, used.service
            FROM control_plane.secrets AS s
            JOIN control_plane.secrets AS v ON v.chain_id = s.chain_id
            WHERE s.id = used.secret_id AND NOT s.active AND v.active
            ON CONFLICT (secret_id, service) DO NOTHING;

            INSERT INTO control_plane.deliveries (id, event_id, endpoint_id, chain_id)
            SELECT gen_random_uuid(), o.id, e.id, s.chain_id
            FROM control_plane.secrets AS s
            JOIN control_plane.secrets AS v ON v.chain_id = s.chain_id
            JOIN control_plane.outbox AS o ON o.secret_id = v.id
            JOIN control_plane.endpoints AS e ON e.project_id = s.project_id AND e.service = used.service
            WHERE s.id = used.secret_id
                AND (s.superseded_at IS NOT NULL OR s.deleted_at IS NOT NULL)
                AND (
                    (o.type = 'secret.rotated' AND v.version > s.version)
                    OR o.created_at > used.used_at
                )
                AND e.enabled AND (e.event_types IS NULL OR o.type = ANY (e.event_types))
            ON CONFLICT (event_id, endpoint_id) DO NOTHING;
            GET DIAGNOSTICS told = ROW_COUNT;
            deliveries := deliveries + told;

            DELETE FROM control_plane.usage_deferred AS d
            WHERE d.secret_id = used.secret_id AND d.service = used.service;
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected OR foreign_key_violation THEN
                -- Somebody holds what may be thousands of these: the rest of the round waits no more.
                PERFORM set_config('lock_timeout', '1ms', true);
                INSERT INTO control_plane.usage_deferred AS d (secret_id, service, used_at, verified_at)
                VALUES (used.secret_id, used.service, used.used_at, used.verified_at)
                ON CONFLICT (secret_id, service) DO UPDATE SET
                    used_at = excluded.used_at,
                    verified_at = excluded.verified_at;
        END;
    END LOOP;
    DELETE FROM control_plane.usage_deferred AS d
    WHERE NOT EXISTS (SELECT FROM control_plane.secrets AS s WHERE s.id = d.secret_id);
    RETURN deliveries;
END
$body$;
