//! With a million versions in the table, what is looked up and what is swept is read from an index.

use pg_secrets_tests::{Cluster, Key, Proof, Session, repository};
use regex::Regex;

/// A million versions of 200,000 names: one current each, three destroyed, and one in grace or, for every
/// tenth, destroyed too. Nothing of it is due.
const FILL: &str = "
    SET maintenance_work_mem = '256MB';
    ALTER TABLE control_plane.secrets DISABLE TRIGGER ALL;
    ALTER TABLE control_plane.secret_names DISABLE TRIGGER ALL;
    CREATE TEMPORARY TABLE dropped AS
        SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
        FROM pg_index AS i WHERE i.indrelid = 'control_plane.secrets'::regclass
            AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid);
    DO $$ DECLARE one record; BEGIN
        FOR one IN SELECT * FROM dropped LOOP
            EXECUTE format('DROP INDEX %s', one.name);
        END LOOP;
    END $$;
    INSERT INTO control_plane.secret_names SELECT 'p', 'name ' || n, 5 FROM generate_series(1, 200000) AS n;
    INSERT INTO control_plane.secrets (id, chain_id, project_id, name, version, active, created_by, superseded_at, expires_at, destroyed_at, warned_at, value_encrypted, key_fingerprint)
    SELECT lpad(to_hex(n::bigint * 8 + v), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, 'p', 'name ' || n, v, v = 5, 'x',
        CASE WHEN v < 5 THEN now() END,
        CASE WHEN v < 5 THEN now() + interval '2 hours' + n * interval '1 second' END,
        CASE WHEN gone THEN now() END,
        CASE WHEN n % 2 = 0 AND v < 5 THEN now() END,
        CASE WHEN NOT gone THEN '\\x00'::bytea END,
        CASE WHEN NOT gone THEN repeat('A', 40) END
    FROM (SELECT n, v, v < 4 OR v = 4 AND n % 10 = 0 AS gone FROM generate_series(1, 200000) AS n, generate_series(1, 5) AS v) AS rows;
    DO $$ DECLARE one record; BEGIN
        FOR one IN SELECT * FROM dropped LOOP EXECUTE one.definition; END LOOP;
    END $$;
    ALTER TABLE control_plane.secrets ENABLE TRIGGER ALL;
    ALTER TABLE control_plane.secret_names ENABLE TRIGGER ALL;
    ANALYZE control_plane.secrets, control_plane.secret_names;";

/// The statement of this name in a source of the extension.
fn statement(file: &str, name: &str) -> Proof<String> {
    let source = std::fs::read_to_string(repository().join("extension/src").join(file))?;
    let pattern = format!(r#"static {name}: Statement =\s*Statement::new\(\s*c"([^"]*)""#);
    let found = Regex::new(&pattern)?.captures(&source);
    let found = found.unwrap_or_else(|| panic!("{name} in {file}"));
    Ok(found[1].to_owned())
}

/// The plan of a statement for whatever arguments.
async fn plan(sql: &Session, statement: &str, types: &str, arguments: &str) -> Proof<String> {
    sql.run(&format!("PREPARE one ({types}) AS {statement}"))
        .await?;
    let lines: Vec<String> = sql
        .all(&format!("EXPLAIN EXECUTE one ({arguments})"), &[])
        .await?;
    sql.run("DEALLOCATE one").await?;
    Ok(lines.join("\n"))
}

#[tokio::test]
async fn lookups_and_sweeps_read_indexes_with_a_million_versions_in_the_table() -> Proof {
    let settings = "fsync = off\npg_secrets.workers = off\nautovacuum = off\nmax_wal_size = 4GB\n";
    let cluster = Cluster::start(Key::new(), settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run(FILL).await?;
    let versions: i64 = sql
        .one("SELECT count(*) FROM control_plane.secrets", &[])
        .await?;
    assert_eq!(versions, 1_000_000);

    sql.run("SET plan_cache_mode = force_generic_plan").await?;
    let swept = (
        "timestamptz, uuid, timestamptz, int",
        "now(), gen_random_uuid(), now(), 100",
    );
    for (file, name, (types, arguments), index) in [
        (
            "lifecycle/version.rs",
            "CURRENT",
            ("text, text", "'p', 'name 1'"),
            "secrets_current_key",
        ),
        (
            "lifecycle/version.rs",
            "BY_ID",
            ("uuid", "gen_random_uuid()"),
            "secrets_pkey",
        ),
        (
            "maintenance/due.rs",
            "EXPIRING",
            swept,
            "secrets_unwarned_idx",
        ),
        (
            "maintenance/due.rs",
            "EXPIRED",
            swept,
            "secrets_expires_at_idx",
        ),
        (
            "maintenance/due.rs",
            "PURGEABLE",
            swept,
            "secrets_purge_at_idx",
        ),
        (
            "maintenance/due.rs",
            "NEXT",
            ("timestamptz, interval", "now(), '1 hour'"),
            "secrets_unwarned_idx",
        ),
    ] {
        let plan = plan(&sql, &statement(file, name)?, types, arguments).await?;
        assert!(plan.contains(index), "{name}:\n{plan}");
        assert!(!plan.contains("Seq Scan"), "{name}:\n{plan}");
        assert!(!plan.contains("Sort"), "{name}:\n{plan}");
    }
    sql.run("RESET plan_cache_mode").await?;

    // And so it is when they are run, by whoever runs them.
    sql.run(
        "UPDATE control_plane.secrets SET expires_at = clock_timestamp() WHERE name IN ('name 1', 'name 3') AND version = 4;
         UPDATE control_plane.secrets SET expires_at = clock_timestamp() + '10 min' WHERE name = 'name 5' AND version = 4;
         UPDATE control_plane.secrets SET deleted_at = now(), purge_at = clock_timestamp() WHERE name = 'name 7'",
    )
    .await?;
    let scans = "SELECT pg_stat_get_numscans('control_plane.secrets'::regclass)";
    let session = cluster.sql().await?;
    let before: i64 = sql.one(scans, &[]).await?;
    for expected in ["(1,2,1)", "(0,0,0)"] {
        let done: String = session
            .one("SELECT control_plane.run_maintenance()::text", &[])
            .await?;
        assert_eq!(done, expected);
    }
    let current: String = session
        .one("SELECT control_plane.secret_id('p', 'name 9')::text", &[])
        .await?;
    assert!(current.ends_with("4d"), "{current}");
    // So are the figures for who watches, and a page of a list.
    for (call, at_most) in [
        // Versions in grace and what their consumers are, each counted up to 20,000.
        ("service_figures()", 40_000),
        (
            "list_secrets_page('p', after_name => 'name 5', after_id => gen_random_uuid())",
            1_000,
        ),
        ("list_secrets_page('p', name => 'name 11')", 1_000),
    ] {
        let fetched = "SELECT pg_stat_get_xact_tuples_fetched('control_plane.secrets'::regclass)";
        session.run("BEGIN").await?;
        let before: i64 = session.one(fetched, &[]).await?;
        session
            .rows(&format!("SELECT * FROM control_plane.{call}"), &[])
            .await?;
        let looked_at = session.one::<i64>(fetched, &[]).await? - before;
        session.run("COMMIT").await?;
        assert!(looked_at <= at_most, "{call}: {looked_at} rows");
    }
    session.run("SELECT pg_stat_force_next_flush()").await?;
    session.run("SELECT 1").await?;
    let after: i64 = sql.one(scans, &[]).await?;
    assert_eq!(after, before, "sequential scans");
    Ok(())
}
