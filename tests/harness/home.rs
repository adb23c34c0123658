//! A temporary folder and the processes that live in it.
//!
//! Beside them runs a keeper: a shell that waits for the end of its input, which comes when the
//! [`Home`] is dropped, and also when the test process ends in whatever way. It stops the processes
//! and removes the folder, so that no run leaves a server behind.

use crate::SOON;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// Stops with SIGINT what has a file in `pids`, waits for its end, and removes the folder unless
/// somebody wants to look at it.
const KEEPER: &str = r#"
read -r _
for file in "$0"/pids/*; do
  [ -e "$file" ] || continue
  pid=$(cat "$file")
  kill -INT "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 150 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -KILL "$pid" 2>/dev/null
done
[ -e "$0/keep" ] || rm -rf "$0"
"#;

/// A temporary folder that belongs to the account that runs Postgres.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    keeper: Child,
    account: Option<(u32, u32)>,
}

impl Home {
    /// Makes a folder. Postgres refuses to run as root, so root's servers run as `postgres`.
    ///
    /// # Panics
    /// Where the machine does not allow it.
    #[must_use]
    pub fn new() -> Self {
        let mut parent = std::env::temp_dir();
        // The path of a socket in it has at most 107 bytes.
        if parent.as_os_str().len() > 60 {
            parent = PathBuf::from("/tmp");
        }
        let path = tempfile::Builder::new()
            .prefix("pg_secrets-")
            .tempdir_in(parent)
            .expect("a temporary folder")
            .keep();
        let account =
            (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        let keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let home = Self {
            path,
            keeper,
            account,
        };
        home.give("", 0o700);
        home.folder("pids");
        home
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a folder in it.
    ///
    /// # Panics
    /// Where that fails.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).expect("a folder");
        self.give(name, 0o700);
        path
    }

    /// Writes a file that the account alone can read.
    ///
    /// # Panics
    /// Where that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).expect("a file");
        self.give(name, 0o600);
        path
    }

    fn give(&self, name: &str, mode: u32) {
        let path = self.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        if let Some((user, group)) = self.account {
            chown(&path, Some(user), Some(group)).expect("chown");
        }
    }

    /// A command that runs as the account, in the folder, and outlives no Ctrl-C by half: the keeper
    /// ends it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .process_group(0);
        // Settings of whoever runs the tests must not reach the servers.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name == "DATABASE_URL" {
                command.env_remove(&*name);
            }
        }
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    /// Tells the keeper of a process, under a name that sorts in the order of stopping.
    /// Answers the file to remove once the process has ended: its id may be another's by then.
    pub fn adopt(&self, name: &str, pid: u32) -> PathBuf {
        self.write(&format!("pids/{name}"), pid.to_string())
    }

    /// Tells the keeper that the process of this name has ended.
    pub fn released(&self, name: &str) {
        let _ = fs::remove_file(self.join(&format!("pids/{name}")));
    }

    /// Keeps the folder, if any test of this process fails.
    pub fn keep_on_panic(&self) {
        static ONCE: Once = Once::new();
        let path = self.path.clone();
        ONCE.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panicked| {
                keep(&path);
                usual(panicked);
            }));
        });
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            keep(&self.path);
        }
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

#[allow(clippy::print_stderr)]
fn keep(path: &Path) {
    let _ = fs::write(path.join("keep"), "");
    eprintln!("kept for a look: {}", path.display());
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id")
        .args(arguments)
        .output()
        .expect("id runs");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("the account postgres, which Debian's postgresql package makes")
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Waits for the end of a process.
pub(crate) fn ended(child: &mut Child) {
    let deadline = std::time::Instant::now() + SOON;
    while !matches!(child.try_wait(), Ok(Some(_))) {
        assert!(
            std::time::Instant::now() < deadline,
            "a process does not end"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
