//! `pg-secrets` as a person or a script calls it.

use crate::app::TestApp;
use crate::places::companion_binary;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A user with a home of their own.
#[derive(Debug)]
pub struct Cli {
    home: tempfile::TempDir,
    url: String,
    token: Option<String>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Itself, if it ended with this code.
    ///
    /// # Panics
    /// Where it ended with another.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).expect("JSON")
    }
}

impl Cli {
    /// A user whose environment has the address and the administrator's token.
    #[must_use]
    pub fn of(app: &TestApp) -> Self {
        Self::with(&app.companion.url(), Some(&app.token))
    }

    /// A user of another address and token. Without a token the environment has neither.
    ///
    /// # Panics
    /// Where there can be no temporary folder.
    #[must_use]
    pub fn with(url: &str, token: Option<&str>) -> Self {
        Self {
            home: tempfile::tempdir().expect("a folder"),
            url: url.to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// The user's home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where login keeps what it keeps.
    #[must_use]
    pub fn login_file(&self) -> PathBuf {
        self.home().join("config/pg-secrets/login.json")
    }

    /// A command, not started yet, in the user's home and with nothing in the environment that is not
    /// said here.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(companion_binary());
        self.settle(&mut command);
        command.args(arguments);
        command
    }

    /// Gives a command the user's environment.
    pub(crate) fn settle(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("XDG_CONFIG_HOME", self.home().join("config"))
            .current_dir(self.home())
            .stdin(Stdio::null());
        if let Some(token) = &self.token {
            command
                .env("PG_SECRETS_URL", &self.url)
                .env("PG_SECRETS_TOKEN", token);
        }
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments), b"")
    }

    /// Runs a command with something on its standard input.
    #[must_use]
    pub fn run_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
        ran(&mut self.command(arguments), input.as_ref())
    }
}

/// Waits for the end of a process, though not for ever; its exit code.
///
/// # Panics
/// Where it does not end.
pub fn ended(child: &mut Child) -> Option<i32> {
    crate::home::ended(child);
    child.wait().expect("it has ended").code()
}

/// Runs a command to its end, with something on its standard input.
///
/// # Panics
/// Where it cannot be started, or says what is not UTF-8.
pub fn ran(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the companion is built: make build");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who reads nothing of it may have ended already.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}
