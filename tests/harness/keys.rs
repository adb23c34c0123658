//! OpenPGP keys, made by the companion as an operator makes them.

use crate::places::companion_binary;
use std::process::{Command, Stdio};

/// What the server is given as its key.
#[derive(Debug, Clone)]
pub enum Key {
    /// Nothing.
    None,
    /// A text in the variable PG_SECRETS_KEY.
    Variable(String),
    /// A text in a file that PG_SECRETS_KEY_FILE names.
    File(String),
}

impl Key {
    /// A new version 6 key, in a file.
    #[must_use]
    pub fn new() -> Self {
        Self::File(Self::generate("rfc9580"))
    }

    /// A new armored secret key of `pg-secrets keygen --profile`.
    ///
    /// # Panics
    /// Where the companion makes none.
    #[must_use]
    pub fn generate(profile: &str) -> String {
        let made = Command::new(companion_binary())
            .args(["keygen", "--profile", profile])
            .stdin(Stdio::null())
            .output()
            .expect("the companion is built: make build");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        String::from_utf8(made.stdout).expect("ASCII armor")
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}
