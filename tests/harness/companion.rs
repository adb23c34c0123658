//! The real companion process.

use crate::home::{self, Home};
use crate::places::companion_binary;
use crate::{SOON, cluster::Cluster};
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROCESS: &str = "1-companion";

/// `pg-secrets serve` on a free port.
#[derive(Debug)]
pub struct Companion {
    process: Option<Child>,
    port: u16,
    database_url: String,
    log: PathBuf,
    pid_file: PathBuf,
    poll_interval: &'static str,
    name: String,
    log_filter: Option<&'static str>,
    environment: Vec<(String, String)>,
}

impl Companion {
    /// Starts one for a cluster, as the login that `Cluster::install` made. `poll_interval` is how
    /// often it looks for deliveries without being woken.
    #[must_use]
    pub fn start(cluster: &Cluster, poll_interval: &'static str) -> Self {
        Self::start_logging(cluster, poll_interval, None)
    }

    /// The same with a value of `RUST_LOG`.
    #[must_use]
    pub fn start_logging(
        cluster: &Cluster,
        poll_interval: &'static str,
        log_filter: Option<&'static str>,
    ) -> Self {
        let url = database_url(cluster);
        Self::start_at(cluster, poll_interval, url, PROCESS, log_filter)
    }

    /// Starts another one beside the first.
    #[must_use]
    pub fn start_another(cluster: &Cluster, poll_interval: &'static str, number: u32) -> Self {
        let name = format!("{PROCESS}-{number}");
        Self::start_at(cluster, poll_interval, database_url(cluster), &name, None)
    }

    /// Starts one that reaches the database through a proxy on this port of loopback.
    #[must_use]
    pub fn start_through(cluster: &Cluster, poll_interval: &'static str, port: u16) -> Self {
        let url = format!(
            "postgresql://{}@127.0.0.1:{port}/postgres",
            crate::COMPANION_LOGIN
        );
        Self::start_at(cluster, poll_interval, url, PROCESS, None)
    }

    fn start_at(
        cluster: &Cluster,
        poll_interval: &'static str,
        database_url: String,
        name: &str,
        log_filter: Option<&'static str>,
    ) -> Self {
        let mut companion = Self::made_at(cluster, poll_interval, database_url, name, log_filter);
        companion.resume(cluster.home());
        companion
    }

    /// Starts one with further variables in its environment, which win over those that it has anyhow.
    #[must_use]
    pub fn start_in(cluster: &Cluster, environment: &[(&str, String)]) -> Self {
        let url = database_url(cluster);
        let companion = Self::made_at(cluster, "200ms", url, PROCESS, None);
        companion.started(cluster, environment)
    }

    /// The same beside the first, and it hardly ever polls.
    #[must_use]
    pub fn start_with(cluster: &Cluster, name: &str, environment: &[(&str, String)]) -> Self {
        let name = format!("{PROCESS}-{name}");
        let companion = Self::made_at(cluster, "1h", database_url(cluster), &name, None);
        companion.started(cluster, environment)
    }

    fn started(mut self, cluster: &Cluster, environment: &[(&str, String)]) -> Self {
        self.environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        self.resume(cluster.home());
        self
    }

    fn made_at(
        cluster: &Cluster,
        poll_interval: &'static str,
        database_url: String,
        name: &str,
        log_filter: Option<&'static str>,
    ) -> Self {
        Self {
            process: None,
            port: free_port(),
            database_url,
            log: cluster.home().join(&format!("{name}.log")),
            pid_file: PathBuf::new(),
            poll_interval,
            name: name.to_owned(),
            log_filter,
            environment: Vec::new(),
        }
    }

    /// Starts it again, on the same port.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn resume(&mut self, home: &Home) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be written");
        let mut command = Command::new(companion_binary());
        command
            .arg("serve")
            .current_dir(home.path())
            .env("DATABASE_URL", &self.database_url)
            .env("PG_SECRETS_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("PG_SECRETS_WEBHOOK_ALLOW", "127.0.0.0/8,::1/128")
            .env("PG_SECRETS_POLL_INTERVAL", self.poll_interval)
            // Webhooks must not go through these.
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .env("ALL_PROXY", "http://127.0.0.1:9")
            .env_remove("NO_PROXY")
            .env_remove("RUST_LOG")
            .env_remove("PGPASSWORD")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        if let Some(filter) = self.log_filter {
            command.env("RUST_LOG", filter);
        }
        let mut process = command.spawn().expect("the companion is built: make build");
        self.pid_file = home.adopt(&self.name, process.id());
        let deadline = Instant::now() + SOON;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let over = matches!(process.try_wait(), Ok(Some(_))) || Instant::now() > deadline;
            assert!(!over, "the companion does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
    }

    /// Kills it, as a machine's failure does.
    pub fn kill9(&mut self) {
        self.end("KILL");
    }

    /// Stops it, as an administrator does.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            home::signal(signal, process.id());
            home::ended(&mut process);
            let _ = fs::remove_file(&self.pid_file);
        }
    }

    /// Tells it to stop, and waits for nothing.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn terminate(&self) {
        home::signal("TERM", self.pid());
    }

    /// Waits until it has stopped by itself.
    pub fn wait(&mut self) {
        if let Some(mut process) = self.process.take() {
            home::ended(&mut process);
            let _ = fs::remove_file(&self.pid_file);
        }
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a companion that runs").id()
    }

    /// Where it serves.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// DATABASE_URL, as it was given.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Everything that it has logged.
    ///
    /// # Panics
    /// Where the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log can be read")).into_owned()
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The URL of the companion's login: the folder of the socket stands percent-encoded as the host.
fn database_url(cluster: &Cluster) -> String {
    let sockets = cluster.sockets();
    let host: String = sockets
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    format!(
        "postgresql://{}@{host}:5432/postgres",
        crate::COMPANION_LOGIN
    )
}

/// A port that nobody listens on. Somebody could take it before we do; the companion then says so.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
