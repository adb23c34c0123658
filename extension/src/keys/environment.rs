//! Keys from the environment of the server process: PG_SECRETS_KEY or PG_SECRETS_KEY_FILE, and
//! PG_SECRETS_KEY_PASSPHRASE or PG_SECRETS_KEY_PASSPHRASE_FILE. They are taken out of it as they
//! are read, so that no program that the server starts inherits them.
#![allow(unsafe_code)]

use pg_secrets_openpgp::Keyring;
use std::ffi::CStr;
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

const KEY: &CStr = c"PG_SECRETS_KEY";
const KEY_FILE: &CStr = c"PG_SECRETS_KEY_FILE";
const PASSPHRASE: &CStr = c"PG_SECRETS_KEY_PASSPHRASE";
const PASSPHRASE_FILE: &CStr = c"PG_SECRETS_KEY_PASSPHRASE_FILE";

/// Why there is no keyring: a text for people, without key material.
pub(super) type Reason = String;

/// Reads and parses the keys, and removes them from the environment.
pub(super) fn load() -> Result<Keyring, Reason> {
    let direct = take(KEY);
    let file = take(KEY_FILE);
    let passphrase = take(PASSPHRASE);
    let passphrase_file = take(PASSPHRASE_FILE);
    erase_original();

    let (material, from) = match (direct, file) {
        (Some(material), None) => (material, "PG_SECRETS_KEY".to_owned()),
        (None, Some(path)) => {
            let path = String::from_utf8_lossy(&path).into_owned();
            (
                read_file("PG_SECRETS_KEY_FILE", &path)?,
                format!("PG_SECRETS_KEY_FILE ({path})"),
            )
        }
        (Some(_), Some(_)) => {
            return Err("both PG_SECRETS_KEY and PG_SECRETS_KEY_FILE are set; set one".to_owned());
        }
        (None, None) => {
            return Err(
                "neither PG_SECRETS_KEY nor PG_SECRETS_KEY_FILE is set in the environment of the server"
                    .to_owned(),
            );
        }
    };
    let passphrase = match (passphrase, passphrase_file) {
        (None, Some(path)) => {
            let path = String::from_utf8_lossy(&path).into_owned();
            let mut text = read_file("PG_SECRETS_KEY_PASSPHRASE_FILE", &path)?;
            while matches!(text.last(), Some(b'\n' | b'\r')) {
                text.pop();
            }
            Some(text)
        }
        (given, _) => given,
    };
    Keyring::parse(&material, passphrase.as_deref().map(Vec::as_slice))
        .map_err(|error| format!("the key in {from} cannot be used: {error}"))
}

fn read_file(variable: &str, path: &str) -> Result<Zeroizing<Vec<u8>>, Reason> {
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| format!("the file that {variable} names ({path}) cannot be read: {error}"))
}

/// Erases the variables where the kernel shows them, as /proc/PID/environ: the memory that the
/// process was started with. unsetenv leaves it as it was, and the server works on a copy.
fn erase_original() {
    let Some(area) = original_area() else {
        return;
    };
    // SAFETY: the kernel's own account of where this process's first environment lies, which is
    // the process's to write to; the postmaster has no other thread while it loads libraries.
    let memory =
        unsafe { std::slice::from_raw_parts_mut(area.start as *mut u8, area.end - area.start) };
    for entry in memory.split_mut(|byte| *byte == 0) {
        for variable in [KEY, KEY_FILE, PASSPHRASE, PASSPHRASE_FILE] {
            let name = variable.to_bytes();
            if entry.starts_with(name) && entry.get(name.len()) == Some(&b'=') {
                entry.zeroize();
                break;
            }
        }
    }
}

/// env_start and env_end of /proc/self/stat (proc(5), fields 50 and 51). The fields are counted
/// behind the program's name, which stands in parentheses and may hold anything.
fn original_area() -> Option<Range<usize>> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(47);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start != 0 && start < end).then_some(start..end)
}

/// Takes a variable out of the environment: a copy of its value, the original erased and unset.
fn take(variable: &CStr) -> Option<Zeroizing<Vec<u8>>> {
    // SAFETY: called in the postmaster while it loads libraries, before it has any other thread;
    // getenv gives a C string within the environment, which is the process's own to overwrite.
    unsafe {
        let value = libc::getenv(variable.as_ptr());
        if value.is_null() {
            return None;
        }
        let length = CStr::from_ptr(value).to_bytes().len();
        let bytes = std::slice::from_raw_parts_mut(value.cast::<u8>(), length);
        let copy = Zeroizing::new(bytes.to_vec());
        bytes.zeroize();
        libc::unsetenv(variable.as_ptr());
        (!copy.is_empty()).then_some(copy)
    }
}
