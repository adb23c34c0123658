//! A terminal with a person before it.

use crate::SOON;
use crate::cli::Cli;
use crate::places::companion_binary;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A command that runs on a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// Starts `pg-secrets` with these arguments and variables on a terminal.
    ///
    /// # Panics
    /// Where there is none to be had.
    #[must_use]
    pub fn start(cli: &Cli, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("a terminal");
        unlockpt(&keyboard).expect("a terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("a terminal");
        let line = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                // It is the command's terminal, not the test's.
                .custom_flags(OFlags::NOCTTY.bits().cast_signed())
                .open(OsStr::from_bytes(name.as_bytes()))
                .expect("a terminal")
        };
        // It becomes the leader of a session, whose terminal its standard input is.
        let mut command = Command::new("setsid");
        cli.settle(&mut command);
        command
            .args(["--ctty", "--wait"])
            .arg(companion_binary())
            .args(arguments)
            .env("TERM", "xterm")
            .envs(variables.iter().copied())
            .stdin(Stdio::from(line()))
            .stdout(Stdio::from(line()))
            .stderr(Stdio::from(line()));
        let child = command.spawn().expect("setsid runs");
        drop(command);
        let keyboard = File::from(keyboard);
        let mut seen = keyboard.try_clone().expect("a second handle");
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error is the end: nobody has the other side open any more.
            while let Ok(length @ 1..) = seen.read(&mut piece) {
                let mut screen = kept.lock().unwrap_or_else(PoisonError::into_inner);
                screen.extend_from_slice(&piece[..length]);
            }
        });
        Self {
            child,
            keyboard,
            screen,
            reader,
        }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until this is seen.
    ///
    /// # Panics
    /// Where it is not seen in time.
    pub fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + SOON;
        while !self.screen().contains(text) {
            assert!(Instant::now() < deadline, "{text}: {}", self.screen());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Types.
    ///
    /// # Panics
    /// Where the terminal is gone.
    pub fn keys(&mut self, text: &str) {
        self.keyboard
            .write_all(text.as_bytes())
            .expect("a terminal");
    }

    /// Waits for the command's end; its exit code and everything that was seen.
    ///
    /// # Panics
    /// Where it does not end.
    #[must_use]
    pub fn end(mut self) -> (i32, String) {
        let code = crate::cli::ended(&mut self.child);
        self.reader.join().expect("the reader ends");
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = String::from_utf8_lossy(&screen).into_owned();
        (code.unwrap_or(-1), seen)
    }
}
