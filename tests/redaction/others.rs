//! Whoever has nothing to do with pg_secrets sees the log that he saw without it.

use pg_secrets_tests::{Cluster, Key, Preload, Proof, Session, SqlError, Wire};
use regex::Regex;

const SETTINGS: &str = "
fsync = off
autovacuum = off
logging_collector = on
log_destination = 'stderr,csvlog,jsonlog'
log_directory = log
log_filename = all
log_rotation_size = 0
log_line_prefix = '%a|%b|%e|%v|%x|%l '
log_statement = all
log_min_duration_statement = 0
log_min_messages = debug2
log_min_error_statement = debug5
log_error_verbosity = verbose
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_lock_waits = on
deadlock_timeout = 200ms
debug_print_parse = on
debug_print_plan = on
compute_query_id = on
pg_stat_statements.track = all
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_timing = off
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
pgaudit.log = all
pgaudit.log_parameter = on
";

/// Nothing of it is ours, some of it nearly.
const WORKLOAD: &[&str] = &[
    "CREATE EXTENSION pg_stat_statements",
    "CREATE EXTENSION pgaudit",
    "CREATE TABLE jpgs_of_users (id int PRIMARY KEY, password text, v int CHECK (v < 10))",
    "CREATE VIEW seen AS SELECT id, lower(password) AS password FROM jpgs_of_users",
    "CREATE ROLE authenticated",
    "GRANT SELECT ON jpgs_of_users TO authenticated",
    "INSERT INTO jpgs_of_users VALUES (1, 'hunter2', 1), (2, E'it\\'s', 2)",
    "INSERT INTO jpgs_of_users VALUES (1, 'twice', 1)",
    "INSERT INTO jpgs_of_users VALUES (3, 'too much', 11)",
    "SELECT * FROM seen WHERE password = 'hunter2' /* why */ -- because",
    "SELECT 'a'::int",
    "SELECT 'nothing'::uuid",
    "SELECT no_such_function('value')",
    "SELEC 1",
    "SELECT 'open",
    "SELECT 1; SELECT 2; SELECT 1 / 0; SELECT 3",
    "BEGIN; SELECT 1 / 0",
    "SELECT 'in a failed transaction'",
    "ROLLBACK",
    "PREPARE p(int) AS SELECT * FROM jpgs_of_users WHERE id = $1 AND password <> 'x'",
    "EXECUTE p(1)",
    "EXECUTE p('x')",
    "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE p(2)",
    "DEALLOCATE p",
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM seen WHERE password > 'a'; FETCH ALL FROM c; COMMIT",
    "COPY (SELECT * FROM seen WHERE password = 'x') TO '/dev/null'",
    "CREATE FUNCTION doubled(v int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN v * 2; END $$",
    "SELECT doubled(21)",
    "DO $$ BEGIN RAISE LOG 'logged %', 'here'; RAISE NOTICE 'told'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'PT418', DETAIL = 'a detail', HINT = 'a hint'; END $$",
    "DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN RAISE LOG 'caught %', SQLERRM; END $$",
    "CREATE PROCEDURE twice(v int) LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM doubled(v); ROLLBACK; END $$",
    "CALL twice(4)",
    "SAVEPOINT none",
    "BEGIN; SAVEPOINT a; SELECT 1 / 0",
    "ROLLBACK TO a; RELEASE a; COMMIT",
    "SET statement_timeout = '50ms'; SELECT pg_sleep(20)",
    "RESET statement_timeout",
    "CREATE TABLE copied AS SELECT * FROM seen",
    "UPDATE jpgs_of_users SET v = v + 1 WHERE password LIKE 'hunter%' RETURNING *",
    "DELETE FROM jpgs_of_users WHERE id = doubled(1)",
    "SELECT count(*) FROM pg_class WHERE relname = 'jpgs_of_users'",
    "VACUUM jpgs_of_users",
    "DROP TABLE copied",
];

struct Seen {
    errors: Vec<SqlError>,
    answers: Vec<Vec<u8>>,
    statistics: Vec<String>,
    log: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_others_is_the_same_with_and_without_the_library() -> Proof {
    let without = run("auto_explain, pg_stat_statements, pgaudit").await?;
    let with = run("auto_explain, pg_stat_statements, pgaudit, pg_secrets").await?;
    assert_eq!(with.errors, without.errors);
    assert!(with.errors.iter().any(|error| error.state == "PT418"));
    assert_eq!(with.answers, without.answers);
    assert_eq!(with.statistics, without.statistics);
    for (number, (line, other)) in with.log.iter().zip(&without.log).enumerate() {
        assert_eq!(line, other, "line {number}");
    }
    assert_eq!(with.log.len(), without.log.len());
    assert!(with.log.len() > 1000, "{}", with.log.len());
    for what in [
        "hunter2",
        "duration: ",
        "AUDIT: ",
        "Query Text: ",
        "deadlock detected",
        ":plannedstmt",
    ] {
        let what = if what.starts_with(':') {
            "PLANNEDSTMT"
        } else {
            what
        };
        assert!(with.log.iter().any(|line| line.contains(what)), "{what}");
    }
    Ok(())
}

async fn run(libraries: &str) -> Result<Seen, pg_secrets_tests::Failure> {
    let settings = format!("{SETTINGS}\nshared_preload_libraries = '{libraries}'\n");
    let mut cluster = Cluster::start_with(Preload::No, Key::None, &settings);
    let sql = cluster.sql().await?;
    let mut errors = Vec::new();
    sql.run("SET application_name = workload1").await?;
    for statement in WORKLOAD {
        errors.extend(sql.run(statement).await.err());
    }
    errors.extend(deadlock(&cluster, &sql).await?);
    let mut wire = Wire::connect(&cluster)?;
    let mut answers = vec![wire.execute("", "SET application_name = workload3", &[])?];
    for (name, statement, values) in [
        (
            "",
            "SELECT * FROM jpgs_of_users WHERE password = $1",
            &["hunter2"][..],
        ),
        ("kept", "SELECT $1::uuid, 'literal'", &["no uuid"]),
        ("other", "SELECT 1 / $1::int", &["0"]),
        ("", "SELECT $1 FROM nowhere", &["value"]),
    ] {
        answers.push(wire.execute(name, statement, values)?);
    }
    answers.push(wire.bind("other", &["1"])?);
    // The driver numbers its statements over all sessions of the tests.
    sql.run("SET application_name = statistics").await?;
    wire.execute("", "SET application_name = statistics", &[])?;
    let statistics = sql
        .all(
            "SELECT concat_ws(' ', queryid, calls, rows, query) FROM pg_stat_statements ORDER BY query COLLATE \"C\", queryid",
            &[],
        )
        .await?;
    drop((sql, wire));
    cluster.stop();
    Ok(Seen {
        errors,
        answers,
        statistics,
        log: logged(&cluster)?,
    })
}

/// Two sessions that wait for each other; the one whose error it is, is always the same.
async fn deadlock(cluster: &Cluster, first: &Session) -> Result<Vec<SqlError>, SqlError> {
    let second = cluster.sql().await?;
    second
        .run("SET application_name = workload2; SET deadlock_timeout = '1h'")
        .await?;
    first
        .run("CREATE TABLE locked (id int PRIMARY KEY); INSERT INTO locked VALUES (1), (2)")
        .await?;
    first.run("BEGIN; DELETE FROM locked WHERE id = 1").await?;
    second.run("BEGIN; DELETE FROM locked WHERE id = 2").await?;
    let waiting = tokio::spawn(async move {
        let outcome = second.run("DELETE FROM locked WHERE id = 1").await;
        second.run("ROLLBACK").await?;
        // How the session ends is no matter of the workload.
        second.run("SET application_name = statistics").await?;
        outcome
    });
    pg_secrets_tests::eventually("a wait", || async {
        let other = cluster.sql().await.ok()?;
        let waits: bool = other
            .one(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)",
                &[],
            )
            .await
            .ok()?;
        waits.then_some(())
    })
    .await;
    let error = first.refused_text("DELETE FROM locked WHERE id = 2").await;
    first.run("ROLLBACK").await?;
    let ended = waiting.await.map_or(None, Result::err);
    Ok([
        Some(SqlError {
            detail: String::new(),
            ..error
        }),
        ended,
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// What the log says of the workload in all three formats, with times and process ids taken out.
fn logged(cluster: &Cluster) -> Result<Vec<String>, pg_secrets_tests::Failure> {
    let read = |name: &str| std::fs::read_to_string(cluster.data().join("log").join(name));
    let (text, csv, json) = (read("all")?, read("all.csv")?, read("all.json")?);
    let record = Regex::new(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")?;
    let starts: Vec<usize> = record.find_iter(&csv).map(|start| start.start()).collect();
    let mut lines = Vec::new();
    // Sessions write side by side: each one's lines in their own order.
    for session in ["workload1", "workload2", "workload3"] {
        let mut ours = false;
        for line in text.lines() {
            // What has no prefix goes on with the record before.
            if !line.starts_with('\t') {
                ours = line.starts_with(&format!("{session}|"));
            }
            if ours {
                lines.push(line.to_owned());
            }
        }
        for (at, start) in starts.iter().enumerate() {
            let record = &csv[*start..starts.get(at + 1).copied().unwrap_or(csv.len())];
            if record.contains(&format!(",\"{session}\",\"client backend\",")) {
                lines.extend(record.lines().map(str::to_owned));
            }
        }
        let of_session = format!("\"application_name\":\"{session}\"");
        for line in json.lines().filter(|line| line.contains(&of_session)) {
            lines.push(line.to_owned());
        }
    }
    let rules = [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? UTC", "<time>"),
        (r"\d+\.\d+ ms", "<time> ms"),
        (r"([Pp]rocess(es)?( holding the lock)?:?) \d+", "$1 <pid>"),
        (
            r"(Wait queue|blocked by process|holding the lock): \d+",
            "$1 <pid>",
        ),
        (r#""pid":\d+"#, "<pid>"),
        (r"\b[0-9a-f]{8}\.[0-9a-f]+\b", "<session>"),
        (r",\d+,(<session>)", ",<pid>,$1"),
        (r"<time>,(.*?),\d+,", "<time>,$1,<pid>,"),
        (r#"\|\d+/\d+\||"vxid":"[^"]*"|,\d+/\d+,"#, "<vxid>"),
    ];
    for (pattern, with) in rules {
        let pattern = Regex::new(pattern)?;
        for line in &mut lines {
            *line = pattern.replace_all(line, with).into_owned();
        }
    }
    Ok(lines)
}
