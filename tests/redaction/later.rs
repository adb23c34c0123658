//! What fails later, or elsewhere, than the statement that had the value: at the end of a transaction, in
//! a cursor that goes on, in a parallel worker, in a worker of replication.

use pg_secrets_tests::{Canaries, Cluster, Key, Proof, Session, Wire, eventually};

const SETTINGS: &str = "
fsync = off
shared_preload_libraries = 'auto_explain, pg_stat_statements, pgaudit, pg_secrets'
log_min_messages = debug1
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
pgaudit.log = all
pgaudit.log_parameter = on
wal_level = logical
";

/// A server that holds one secret, `p/n`, and tables that are filled with its value.
struct Site {
    cluster: Cluster,
    sql: Session,
    canaries: Canaries,
}

impl Site {
    async fn new(objects: &str) -> Proof<Self> {
        let cluster = Cluster::start(Key::new(), SETTINGS);
        cluster.install().await?;
        let sql = cluster.sql().await?;
        let canaries = Canaries::default();
        let value = canaries.fresh("the value");
        sql.run(&format!(
            "SELECT control_plane.create_secret('p', 'n', '{value}')"
        ))
        .await?;
        sql.run(objects).await?;
        Ok(Self {
            cluster,
            sql,
            canaries,
        })
    }

    /// Nothing of the value is in the log, which was written.
    async fn assert_unlogged(&self, how: &str) -> Proof {
        self.sql
            .run("DO $$ BEGIN RAISE WARNING 'the end'; END $$")
            .await?;
        let log = self.cluster.log();
        assert!(log.contains("the end"), "{log}");
        let finder = self.canaries.finder();
        let leaks: Vec<&str> = log
            .lines()
            .filter(|line| !finder.find("", line.as_bytes()).is_empty())
            .collect();
        assert!(leaks.is_empty(), "{how}: {leaks:#?}");
        Ok(())
    }
}

/// What reads the value, written where it cannot be planned away.
const READ: &str = "(SELECT value FROM control_plane.get_secret_by_name('p', 'n'))";

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_at_the_end_of_a_transaction_quotes_nothing() -> Proof {
    let site = Site::new(&format!(
        "CREATE TABLE once (v text UNIQUE DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE checked (v text);
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE x text := {READ};
         BEGIN
           RAISE LOG 'is %', x;
           PERFORM count(*) FROM pg_class WHERE relname = x;
           PERFORM x::date;
           RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON checked DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION fail();
         INSERT INTO once VALUES ({READ})"
    ))
    .await?;
    let mut wire = Wire::connect(&site.cluster)?;
    let statements = [
        format!("INSERT INTO once SELECT {READ}"),
        format!("DECLARE held CURSOR WITH HOLD FOR SELECT {READ}::date"),
        "INSERT INTO checked VALUES ('x')".to_owned(),
    ];
    for statement in &statements {
        let answer = wire.execute("", statement, &[])?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("ERROR"), "{statement}: {answer}");
        let told = site.canaries.finder().find("the answer", answer.as_bytes());
        assert!(told.is_empty(), "{statement}: {answer}");
        for end in ["COMMIT", "SET CONSTRAINTS ALL IMMEDIATE"] {
            // A cursor has no constraints.
            let fails = end == "COMMIT" || !statement.starts_with("DECLARE");
            let at_once = site.sql.run(&format!("BEGIN; {statement}; {end}")).await;
            assert_eq!(at_once.is_err(), fails, "{statement}");
            site.sql.run("ROLLBACK").await?;
            site.sql.run("BEGIN").await?;
            site.sql.run(statement).await?;
            let later = site.sql.run(end).await;
            assert_eq!(later.is_err(), fails, "{statement}");
            site.sql.run("ROLLBACK").await?;
        }
        site.assert_unlogged(statement).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_goes_on_in_a_later_message_quotes_nothing() -> Proof {
    let site = Site::new(&format!(
        "CREATE TABLE plain (v text); INSERT INTO plain VALUES ('x');
         CREATE FUNCTION opened(c refcursor, how int) RETURNS refcursor LANGUAGE plpgsql AS $$
         DECLARE x text := {READ};
         BEGIN
           CASE how
             WHEN 1 THEN OPEN c FOR SELECT (x || left(v, 0))::date FROM plain;
             WHEN 2 THEN OPEN c FOR SELECT * FROM plain WHERE v = x;
             WHEN 3 THEN OPEN c FOR EXECUTE format('SELECT (%L || left(v, 0))::date FROM plain', x);
           END CASE;
           RETURN c;
         END $$"
    ))
    .await?;
    for how in 1..=3 {
        site.sql.run("BEGIN").await?;
        site.sql.run(&format!("SELECT opened('cc', {how})")).await?;
        let shown: Vec<String> = site
            .sql
            .all("SELECT statement FROM pg_cursors", &[])
            .await?;
        let shown = site
            .canaries
            .finder()
            .find("pg_cursors", shown.concat().as_bytes());
        assert!(shown.is_empty(), "{how}: {shown:?}");
        let fetched = site.sql.run("FETCH ALL FROM cc").await;
        assert_eq!(fetched.is_ok(), how == 2);
        let _ = site.sql.run("COMMIT").await;
        site.assert_unlogged(&format!("cursor {how}")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parallel_worker_is_given_no_value() -> Proof {
    let site = Site::new(
        "CREATE TABLE big AS SELECT repeat('x', i % 7) AS v FROM generate_series(1, 5000) AS i;
         CREATE FUNCTION tell(v text) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS $$
         BEGIN RAISE LOG 'told %', v; RETURN 1; END $$",
    )
    .await?;
    let version: i32 = site
        .sql
        .one("SELECT current_setting('server_version_num')::int", &[])
        .await?;
    let force = if version < 160_000 {
        "SET force_parallel_mode = on"
    } else {
        "SET debug_parallel_query = on"
    };
    site.sql.run(force).await?;
    site.sql.run("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0").await?;
    for work in [
        "PERFORM count(*) FROM big WHERE tell(x || left(v, 0)) = 2",
        "PERFORM count(*) FROM big WHERE length(v) = (x || left(v, 0))::int",
    ] {
        let _ = site
            .sql
            .run(&format!(
                "DO $$ DECLARE x text := {READ}; BEGIN {work}; END $$"
            ))
            .await;
        site.assert_unlogged(work).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_replication_whose_trigger_reads_quotes_nothing() -> Proof {
    let site = Site::new(&format!(
        "CREATE TABLE copied (a text);
         CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE x text := {READ};
         BEGIN RAISE LOG 'is %', x; NEW.a := x::int; RETURN NEW; END $$;
         CREATE TRIGGER fill BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION fill();
         ALTER TABLE copied ENABLE ALWAYS TRIGGER fill"
    ))
    .await?;
    site.sql.run("CREATE DATABASE origin").await?;
    let origin = site.cluster.connect("postgres", "origin").await?;
    origin
        .run("CREATE TABLE copied (a text); CREATE PUBLICATION p FOR TABLE copied")
        .await?;
    origin
        .run("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        .await?;
    site.sql
        .run(&format!(
            "CREATE SUBSCRIPTION s CONNECTION 'host={} dbname=origin user=postgres' PUBLICATION p
             WITH (create_slot = false, slot_name = 's', copy_data = false)",
            site.cluster.sockets().display()
        ))
        .await?;
    origin.run("INSERT INTO copied VALUES ('x')").await?;
    eventually("a worker that failed", || async {
        site.cluster
            .log()
            .contains("invalid input syntax for type")
            .then_some(())
    })
    .await;
    site.assert_unlogged("replication").await?;
    site.sql.run("ALTER SUBSCRIPTION s DISABLE").await?;
    Ok(())
}

/// A definition that changes while a statement over it is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn views_that_change_while_they_are_looked_at_harm_nobody() -> Proof {
    let site = Site::new("").await?;
    let functions: String = (0..150)
        .map(|number| {
            format!("CREATE FUNCTION f{number}(a int) RETURNS int LANGUAGE sql AS 'SELECT a';")
        })
        .collect();
    let inner = |argument: usize| {
        let calls: Vec<String> = (0..150)
            .map(|number| format!("f{number}({argument})"))
            .collect();
        format!(
            "CREATE OR REPLACE VIEW inner_view AS SELECT {} AS a",
            calls.join(" + ")
        )
    };
    site.sql.run(&functions).await?;
    site.sql.run(&inner(0)).await?;
    site.sql
        .run("CREATE VIEW outer_view AS SELECT * FROM inner_view")
        .await?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(6);
    let lasts = move || std::time::Instant::now() < until;
    let replacing = site.cluster.sql().await?;
    let altering = site.cluster.sql().await?;
    let replace = async {
        for number in (1..).take_while(|_| lasts()) {
            replacing
                .run(&inner(number))
                .await
                .expect("a server that lives");
        }
    };
    let alter = async {
        for number in (0..).take_while(|_| lasts()) {
            let change = format!(
                "ALTER FUNCTION f{}(int) COST {}",
                number % 150,
                number % 90 + 1
            );
            altering.run(&change).await.expect("a server that lives");
        }
    };
    let look = || async {
        let mut count = 0;
        while lasts() {
            // What a new session knows of the catalogues is little.
            let session = site.cluster.sql().await.expect("a server that lives");
            for _ in 0..30 {
                session
                    .run("EXPLAIN SELECT 1 FROM outer_view WHERE false")
                    .await
                    .expect("a server that lives");
                count += 1;
            }
        }
        count
    };
    let ((), (), first, second) = tokio::join!(replace, alter, look(), look());
    assert!(first > 0 && second > 0);
    assert!(!site.cluster.log().contains("terminated by signal"));
    Ok(())
}
