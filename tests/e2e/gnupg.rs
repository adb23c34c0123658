//! Debian's GnuPG, with a folder and an agent of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    pub(crate) fn new() -> Self {
        // Its agent's socket lies in the folder: a short path, for an address has few bytes.
        let folder = tempfile::Builder::new()
            .prefix("gpg")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in("/tmp")
            .expect("a folder");
        Self(folder)
    }

    /// What it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--batch", "--quiet", "--no-tty", "--homedir"])
            .arg(self.0.path())
            .args(["--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("gpg runs: dev/prerequisites.sh --for-tests");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {said}");
        output.stdout
    }

    pub(crate) fn import(&self, key: &str) {
        let file = self.file("key.asc", key.as_bytes());
        self.run(&["--import", path(&file)]);
    }

    pub(crate) fn decrypt(&self, message: &[u8]) -> Vec<u8> {
        let file = self.file("message", message);
        self.run(&["--decrypt", path(&file)])
    }

    /// A message to the keys that were imported, with a file name of its literal packet.
    pub(crate) fn encrypt(&self, plaintext: &[u8], file_name: &str) -> Vec<u8> {
        let file = self.file("plaintext", plaintext);
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys"]));
        let listed = listed.expect("a list of keys");
        let fingerprint = listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:"))
            .map(|fields| fields.trim_matches(':'))
            .expect("a key");
        self.run(&[
            "--trust-model",
            "always",
            "--recipient",
            fingerprint,
            "--set-filename",
            file_name,
            "--output",
            "-",
            "--encrypt",
            path(&file),
        ])
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, content).expect("a file");
        file
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--kill", "all"])
            .status();
    }
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path of letters")
}
