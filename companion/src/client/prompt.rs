//! Questions at the terminal: a text that is not shown while it is typed, and a yes or no.

use crate::client::failure::{Failure, Kind};
use crate::client::http::append;
use crate::secret_text::SecretText;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use zeroize::Zeroizing;

/// How long after the line's end more of a pasted text may still come, in nanoseconds.
const PASTE: i64 = 50_000_000;

/// The terminal, as it is while it hides what is typed. It becomes what it was in the end.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    /// Keys come one by one, unseen: Ctrl-C too, so that no signal leaves the terminal without echo.
    fn new(terminal: File) -> rustix::io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before the question has been seen, and is no answer.
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }

    fn more(&self) -> bool {
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: PASTE,
        };
        let mut terminal = [PollFd::new(&self.terminal, PollFlags::IN)];
        poll(&mut terminal, Some(&wait)).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The rest of a pasted text must not be seen, nor become the shell's next command.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

/// Asks for a text of one line, unseen.
///
/// # Errors
/// Where there is no terminal, and where the person gives up or pastes several lines.
pub(crate) fn hidden(question: &str) -> Result<SecretText, Failure> {
    let mut hidden = Hidden::new(terminal()?).map_err(|_| no_terminal())?;
    // Only now: what is typed as soon as it is asked for must not be seen either.
    hidden
        .terminal
        .write_all(question.as_bytes())
        .map_err(|_| no_terminal())?;
    let mut typed = Zeroizing::new(Vec::with_capacity(4096));
    loop {
        let mut key = [0];
        match hidden.terminal.read(&mut key) {
            Ok(1) => {}
            _ => return Err(given_up()),
        }
        match key[0] {
            b'\r' | b'\n' => break,
            // Ctrl-C, Ctrl-D, Ctrl-\
            3 | 4 | 28 => return Err(given_up()),
            // Backspace
            8 | 127 => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U
            21 => typed.clear(),
            byte => append(&mut typed, &[byte]),
        }
    }
    if hidden.more() {
        return Err(Failure::new(
            Kind::Usage,
            "that were several lines, of which nothing was taken; a text of several lines comes by standard input: pg-secrets … <FILE",
        ));
    }
    match std::str::from_utf8(&typed) {
        Ok(text) => Ok(SecretText::new(text.to_owned())),
        Err(_) => Err(Failure::new(Kind::Usage, "that was not UTF-8")),
    }
}

/// Asks for a yes; whatever is not the word is a no.
///
/// # Errors
/// Where there is no terminal.
pub(crate) fn confirmed(question: &str) -> Result<bool, Failure> {
    let mut terminal = terminal()?;
    let asked = format!("{question} Type yes to go on: ");
    terminal
        .write_all(asked.as_bytes())
        .map_err(|_| no_terminal())?;
    let mut answer = Vec::new();
    let mut key = [0];
    while answer.len() < 16 && matches!(terminal.read(&mut key), Ok(1)) && key[0] != b'\n' {
        answer.push(key[0]);
    }
    Ok(answer.trim_ascii() == b"yes")
}

/// The terminal itself: standard input may be a file.
fn terminal() -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.open("/dev/tty").map_err(|_| no_terminal())
}

fn no_terminal() -> Failure {
    Failure::new(Kind::Usage, "there is no terminal to ask at")
}

fn given_up() -> Failure {
    Failure::new(Kind::Usage, "given up; nothing was changed")
}
