//! `make run` in a clone of its own: the real script, beside whatever runs for this one.

use pg_secrets_tests::{SOON, companion_binary, repository};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What dev/run.sh uses of the repository; it builds and installs nothing.
const PARTS: [&str; 3] = ["dev", "sql", "pgrx.toml"];

/// Where the build puts `pg-secrets`.
const BUILT: &str = "target/release";

pub(crate) struct Clone {
    folder: tempfile::TempDir,
    run: Option<Child>,
}

impl Clone {
    pub(crate) fn new() -> Self {
        // Where root's clones are as a rule: below a folder that Postgres's account cannot enter.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        for part in PARTS {
            let copied = Command::new("cp")
                .arg("-R")
                .arg(repository().join(part))
                .arg(folder.path())
                .status();
            assert!(copied.is_ok_and(|status| status.success()), "cp {part}");
        }
        let built = folder.path().join(BUILT);
        fs::create_dir_all(&built).expect("a folder");
        fs::copy(companion_binary(), built.join("pg-secrets")).expect("the companion is built");
        Self { folder, run: None }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        // Nothing of it outlives the test, in whatever way that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM"])
            .arg(self.path().join("dev/run.sh"))
            .current_dir("/")
            .stdin(Stdio::null());
        for name in ["DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts it and waits until it says that it runs.
    pub(crate) fn start(&mut self) {
        let said = self.path().join("said");
        let file = fs::File::create(&said).expect("a file");
        let mut run = self
            .command()
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .expect("dev/run.sh runs");
        let deadline = Instant::now() + SOON;
        while !self.said().contains("pg_secrets is running at") {
            let over = matches!(run.try_wait(), Ok(Some(_))) || Instant::now() > deadline;
            assert!(!over, "make run: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.run = Some(run);
    }

    /// What it has printed since its start.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path().join("said")).unwrap_or_default()
    }

    /// A second start: its exit code and what it prints.
    pub(crate) fn start_again(&self) -> (Option<i32>, String) {
        let output = self.command().output().expect("dev/run.sh runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    /// Ends it with a signal; answers its exit code.
    pub(crate) fn end(&mut self, signal: &str) -> Option<i32> {
        let mut run = self.run.take()?;
        let sent = Command::new("kill")
            .args(["-s", signal, &run.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill");
        run.wait().expect("it is ours to wait for").code()
    }

    /// A shell as a user has it who has sourced the file of settings, under `set -u`, and who finds
    /// the clone's `pg-secrets`.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut path = self.path().join(BUILT).into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-c"])
            .arg(format!("set -u\n. .local/env\n{script}"))
            .current_dir(self.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path())
            .stdin(Stdio::null());
        bash
    }

    /// What a script prints in such a shell.
    pub(crate) fn answer(&self, script: &str) -> String {
        let output = self.shell(script).output().expect("bash runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        self.end("TERM");
        // As root the data lies elsewhere than the clone, in a folder of the clone's own.
        let Ok(output) = self.shell("printf '%s' \"$PG_SECRETS_DATA\"").output() else {
            return;
        };
        let data = PathBuf::from(String::from_utf8_lossy(&output.stdout).into_owned());
        if let Some(base) = data.parent().filter(|base| base.is_absolute()) {
            let _ = fs::remove_dir_all(base);
        }
    }
}
