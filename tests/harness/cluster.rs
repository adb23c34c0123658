//! A real Postgres server of a test's own.

use crate::home::{self, Home};
use crate::keys::Key;
use crate::places::postgres_binary;
use crate::session::{Session, SqlError};
use crate::{SOON, app, server_tree};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROCESS: &str = "2-postgres";

/// Whether the server preloads the extension's library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preload {
    /// As the documentation says.
    Yes,
    /// As somebody does who has not read it.
    No,
}

/// A server in a temporary folder, reached by a socket in it and by nothing else.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    key: Key,
    environment: Vec<(String, String)>,
    /// The server's program.
    program: PathBuf,
    server: Option<Child>,
}

impl Cluster {
    /// Makes and starts a server with the extension preloaded; `settings` are lines of
    /// postgresql.conf.
    #[must_use]
    pub fn start(key: Key, settings: &str) -> Self {
        Self::start_with(Preload::Yes, key, settings)
    }

    /// The same with further variables in the server's environment.
    #[must_use]
    pub fn start_in(environment: &[(&str, String)], key: Key, settings: &str) -> Self {
        let mut cluster = Self::make(Preload::Yes, key, settings);
        cluster.environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        cluster.resume();
        cluster
    }

    /// The same, with or without preload.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn start_with(preload: Preload, key: Key, settings: &str) -> Self {
        let mut cluster = Self::make(preload, key, settings);
        cluster.resume();
        cluster
    }

    /// A server that has the library which masks nothing in the place of the one that is installed.
    #[must_use]
    pub fn start_unredacted(key: Key, settings: &str) -> Self {
        let mut cluster = Self::make(Preload::Yes, key, settings);
        cluster.program = server_tree::unredacted(cluster.home.path());
        cluster.resume();
        cluster
    }

    fn make(preload: Preload, key: Key, settings: &str) -> Self {
        let home = Home::new();
        home.folder("sockets");
        let made = home
            .command(&postgres_binary("initdb"))
            .args([
                "--username",
                "postgres",
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
            ])
            .args([
                "--locale",
                "C.UTF-8",
                "--data-checksums",
                "--no-sync",
                "--pgdata",
            ])
            .arg(home.join("data"))
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let preload = match preload {
            Preload::Yes => "shared_preload_libraries = 'pg_secrets'\n",
            Preload::No => "",
        };
        let own = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nport = 5432\n\
             pg_secrets.trusted_logins = '{}'\n{preload}{settings}\n",
            home.join("sockets").display(),
            app::COMPANION_LOGIN,
        );
        home.write("data/postgresql.auto.conf", own);
        Self {
            home,
            key,
            environment: Vec::new(),
            program: postgres_binary("postgres"),
            server: None,
        }
    }

    /// Makes and starts a standby that follows another server, with the same key.
    ///
    /// # Panics
    /// Where it cannot be copied, or does not start.
    #[must_use]
    pub fn standby_of(primary: &Self) -> Self {
        let home = Home::new();
        let sockets = home.folder("sockets");
        let copied = home
            .command(&postgres_binary("pg_basebackup"))
            .args([
                "--username",
                "postgres",
                "--write-recovery-conf",
                "--no-sync",
            ])
            .args(["--checkpoint", "fast", "--host"])
            .arg(primary.sockets())
            .arg("--pgdata")
            .arg(home.join("data"))
            .output()
            .expect("pg_basebackup runs");
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let settings = fs::read_to_string(home.join("data/postgresql.auto.conf"));
        home.write(
            "data/postgresql.auto.conf",
            format!(
                "{}\nunix_socket_directories = '{}'\n",
                settings.expect("the settings of the primary"),
                sockets.display()
            ),
        );
        let mut standby = Self {
            home,
            key: primary.key.clone(),
            environment: primary.environment.clone(),
            program: primary.program.clone(),
            server: None,
        };
        standby.resume();
        standby
    }

    /// Starts the server that was stopped.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn resume(&mut self) {
        let deadline = Instant::now() + SOON;
        while !self.try_resume() {
            // After a SIGKILL the old backends have to notice first that they are orphans.
            assert!(Instant::now() < deadline, "no start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn try_resume(&mut self) -> bool {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.join("server.log"))
            .expect("the log can be written");
        let mut command = self.home.command(&self.program);
        match &self.key {
            Key::None => {}
            Key::Variable(key) => {
                command.env("PG_SECRETS_KEY", key);
            }
            Key::File(key) => {
                command.env("PG_SECRETS_KEY_FILE", self.home.write("key.asc", key));
            }
        }
        let mut server = command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("-D")
            .arg(self.home.join("data"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        self.home.adopt(PROCESS, server.id());
        let ready = loop {
            if matches!(server.try_wait(), Ok(Some(_))) {
                break false;
            }
            if self.accepts(server.id()) {
                break true;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if ready {
            self.server = Some(server);
        }
        ready
    }

    /// Whether the server with this process id says that it is ready; a server that was killed has
    /// left such a file behind.
    fn accepts(&self, pid: u32) -> bool {
        let status = fs::read_to_string(self.home.join("data/postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = status.lines().map(str::trim).collect();
        let ready = matches!(lines.get(7), Some(&("ready" | "standby")));
        lines.first() == Some(&pid.to_string().as_str()) && ready
    }

    /// The key that the next start gives to the server.
    pub fn give_key(&mut self, key: Key) {
        self.key = key;
    }

    /// Stops the server as an administrator does.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Kills the server's first process, which leaves the others to notice by themselves.
    pub fn kill9(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut server) = self.server.take() {
            home::signal(signal, server.id());
            home::ended(&mut server);
            self.home.released(PROCESS);
        }
    }

    /// Where it lives.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The folder of its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The folder of its socket, as PGHOST wants it.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.home.join("sockets")
    }

    /// Everything that it has logged.
    ///
    /// # Panics
    /// Where the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.home.join("server.log")).expect("the log can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A session of the superuser in the database `postgres`.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn sql(&self) -> Result<Session, SqlError> {
        self.connect("postgres", "postgres").await
    }

    /// A session of a login in a database.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn connect(&self, login: &str, database: &str) -> Result<Session, SqlError> {
        Session::open(&self.sockets(), login, database).await
    }

    /// A client program of Postgres, set to reach this server as its superuser.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(postgres_binary(program));
        command
            .env("PGHOST", self.sockets())
            .env("PGPORT", "5432")
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .stdin(Stdio::null());
        command
    }

    /// Installs the extension and gives the companion its login.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn install(&self) -> Result<(), SqlError> {
        let sql = self.sql().await?;
        sql.run("CREATE EXTENSION pg_secrets").await?;
        sql.run(&format!(
            "CREATE ROLE {login} LOGIN;
             GRANT USAGE ON SCHEMA control_plane TO {login};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO {login};",
            login = app::COMPANION_LOGIN
        ))
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
