-- Of the newest records, how many have no link in the chain, and the age of the oldest of them in seconds.
SELECT count(*), coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - min(r.at)), 0)::float8
FROM (SELECT id, at FROM control_plane.audit_logs ORDER BY id DESC LIMIT 10000) AS r
WHERE NOT EXISTS (SELECT FROM control_plane.audit_chain AS c WHERE c.record_id = r.id)
