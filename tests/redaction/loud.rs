//! A server that logs everything it can, and what is looked at while it runs.

use pg_secrets_tests::{Canaries, Cluster, Key, Leak, Session};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Everything on, in all three formats.
const SETTINGS: &str = "
fsync = off
shared_preload_libraries = 'auto_explain, pg_stat_statements, pgaudit, pg_secrets'
pg_secrets.redact_also = 'app.wrap, \"store\", letters, app.seen'
logging_collector = on
log_destination = 'stderr,csvlog,jsonlog'
log_directory = log
log_rotation_size = 0
log_min_messages = debug5
log_min_error_statement = debug5
log_error_verbosity = verbose
log_statement = all
log_duration = on
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_lock_waits = on
log_temp_files = 0
deadlock_timeout = 100ms
debug_print_parse = on
debug_print_rewritten = on
debug_print_plan = on
track_activity_query_size = 16384
compute_query_id = on
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
pgaudit.log = all
pgaudit.log_parameter = on
pgaudit.log_relation = on
";

/// Objects of a user of pg_secrets.
const OBJECTS: &str = "
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION pgaudit;
CREATE SCHEMA app;
CREATE SEQUENCE app.number;
CREATE FUNCTION app.wrap(v text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE made control_plane.secret_version;
BEGIN
  made := control_plane.create_secret('wrapped', 'n' || nextval('app.number'), v);
  RETURN made.id;
END $$;
CREATE PROCEDURE app.store(v text) LANGUAGE plpgsql AS $$
BEGIN PERFORM control_plane.create_secret('wrapped', 'n' || nextval('app.number'), v); END $$;
CREATE TABLE app.letters (v text);
CREATE FUNCTION app.keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM control_plane.create_secret('wrapped', 'n' || nextval('app.number'), NEW.v);
  RETURN NULL;
END $$;
CREATE TRIGGER keep BEFORE INSERT ON app.letters FOR EACH ROW EXECUTE FUNCTION app.keep();
CREATE VIEW app.seen AS SELECT * FROM control_plane.get_secret_by_name('p', 'seen');
CREATE TABLE app.locked (id int PRIMARY KEY, v int);
INSERT INTO app.locked VALUES (1, 0), (2, 0);
";

/// The server, the values that it was given, and what others could see meanwhile.
pub(crate) struct Loud {
    pub(crate) cluster: Cluster,
    pub(crate) canaries: Canaries,
    seen: Mutex<BTreeSet<Leak>>,
    unexpected: Mutex<Vec<String>>,
    watcher: Mutex<Option<Watcher>>,
}

/// What looks into files that come and go, and empties the statistics so that entries are made anew.
struct Watcher {
    stop: Arc<AtomicBool>,
    files: std::thread::JoinHandle<Vec<(String, Vec<u8>)>>,
    resets: tokio::task::JoinHandle<Vec<(String, Vec<u8>)>>,
}

impl Loud {
    /// With the library that is installed.
    pub(crate) async fn start() -> Self {
        Self::with(Cluster::start(Key::new(), SETTINGS)).await
    }

    /// With the library that masks nothing.
    pub(crate) async fn start_unredacted() -> Self {
        Self::with(Cluster::start_unredacted(Key::new(), SETTINGS)).await
    }

    async fn with(cluster: Cluster) -> Self {
        cluster.install().await.expect("the extension installs");
        let sql = cluster.sql().await.expect("a session");
        sql.run(OBJECTS).await.expect("objects");
        Self {
            cluster,
            canaries: Canaries::default(),
            seen: Mutex::default(),
            unexpected: Mutex::default(),
            watcher: Mutex::new(None),
        }
    }

    /// Begins to watch.
    pub(crate) async fn watch(&self) {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, data) = (Arc::clone(&stop), self.cluster.data());
        let files = std::thread::spawn(move || {
            let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                for folder in ["base/pgsql_tmp", "pg_stat_tmp", "pg_stat"] {
                    take_files(&data.join(folder), &mut seen);
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            seen
        });
        let session = self.cluster.sql().await.expect("a session");
        let stopped = Arc::clone(&stop);
        let resets = tokio::spawn(async move {
            let mut seen = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let all = "SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_statements";
                let shown = session.one::<String>(all, &[]).await;
                let reset = session.run("SELECT pg_stat_statements_reset()").await;
                // A server that crashes meanwhile ends this.
                let (Ok(shown), Ok(())) = (shown, reset) else {
                    break;
                };
                seen.push(("pg_stat_statements".to_owned(), shown.into_bytes()));
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            seen
        });
        *self.watcher.lock().expect("no panic") = Some(Watcher {
            stop,
            files,
            resets,
        });
    }

    /// Runs text, with a fresh value for each `{}`, and looks at what others see of it then. It ends as
    /// expected: with this SQLSTATE, or well where that is empty.
    pub(crate) async fn say(&self, sql: &Session, how: &str, template: &str, ends: &str) {
        let outcome = sql.run(&self.filled(how, template)).await;
        let state = outcome.map_or_else(|error| error.state, |()| String::new());
        if state != ends {
            let other = format!("{how}: {state} in place of {ends:?}");
            self.unexpected.lock().expect("no panic").push(other);
        }
        self.look(sql).await;
    }

    /// A statement with fresh values in it.
    pub(crate) fn filled(&self, how: &str, template: &str) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once("{}") {
            filled.push_str(before);
            filled.push_str(&self.canaries.fresh(how));
            rest = behind;
        }
        filled + rest
    }

    /// What the views show, others' and this session's own.
    pub(crate) async fn look(&self, own: &Session) {
        let finder = self.canaries.finder();
        let other = self.cluster.sql().await.expect("a session");
        for (place, sql, statement) in [
            (
                "pg_stat_activity",
                &other,
                "SELECT query FROM pg_stat_activity WHERE query <> ''",
            ),
            (
                "pg_stat_statements",
                &other,
                "SELECT query FROM pg_stat_statements WHERE query <> ''",
            ),
            (
                "pg_prepared_statements",
                own,
                "SELECT statement FROM pg_prepared_statements",
            ),
            ("pg_cursors", own, "SELECT statement FROM pg_cursors"),
            (
                "pg_backend_memory_contexts",
                own,
                "SELECT ident FROM pg_backend_memory_contexts WHERE ident IS NOT NULL",
            ),
        ] {
            // A transaction that failed shows its session nothing.
            let Ok(shown) = sql.all::<String>(statement, &[]).await else {
                continue;
            };
            if place == "pg_stat_statements" {
                let kept = shown.iter().filter(|text| text.contains("pgp_encrypt"));
                let kept: Vec<String> = kept.map(|text| format!("kept: {text}")).collect();
                self.unexpected.lock().expect("no panic").extend(kept);
            }
            let found = finder.find(place, shown.join("\n").as_bytes());
            self.seen.lock().expect("no panic").extend(found);
        }
    }

    /// Forgets what was not as expected, where nothing is masked.
    pub(crate) fn expect_anything(&self) {
        self.unexpected.lock().expect("no panic").clear();
    }

    /// What was seen somewhere.
    pub(crate) fn saw(&self, place: &str, shown: &[u8]) {
        let found = self.canaries.finder().find(place, shown);
        self.seen.lock().expect("no panic").extend(found);
    }

    /// Stops to watch, and says where values were found: meanwhile, and in any file now.
    pub(crate) async fn leaks(&mut self) -> BTreeSet<Leak> {
        let unexpected = std::mem::take(&mut *self.unexpected.lock().expect("no panic"));
        assert!(unexpected.is_empty(), "{unexpected:#?}");
        let watcher = self.watcher.lock().expect("no panic").take();
        let mut files = Vec::new();
        if let Some(watcher) = watcher {
            watcher.stop.store(true, Ordering::Relaxed);
            files = watcher.files.join().expect("no panic");
            files.extend(watcher.resets.await.expect("no panic"));
        }
        if let Ok(sql) = self.cluster.sql().await {
            sql.run("CHECKPOINT").await.expect("a checkpoint");
        }
        self.cluster.stop();
        let finder = self.canaries.finder();
        let mut leaks = std::mem::take(&mut *self.seen.lock().expect("no panic"));
        for (name, text) in files {
            leaks.extend(finder.find(&name, &text));
        }
        leaks.extend(finder.find_below(self.cluster.home().path()));
        leaks
    }
}

/// Keeps what the files of a folder hold, once for each content.
fn take_files(folder: &Path, seen: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("during the run: {}", entry.path().display());
        let text = std::fs::read(entry.path()).unwrap_or_default();
        if !text.is_empty()
            && !seen
                .iter()
                .any(|(known, old)| *known == name && *old == text)
        {
            seen.push((name, text));
        }
    }
}
