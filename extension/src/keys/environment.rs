//! Keys from the environment of the server process: PG_SECRETS_KEY or PG_SECRETS_KEY_FILE, and
//! PG_SECRETS_KEY_PASSPHRASE or PG_SECRETS_KEY_PASSPHRASE_FILE. They are taken out of it as they
//! are read, so that no program that the server starts inherits them.
#![allow(unsafe_code)]

use crate::keys::file::read_bounded;
use crate::keys::passphrase::Passphrase;
use crate::keys::reason::Reason;
use pg_secrets_openpgp::Keyring;
use std::ffi::CStr;
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

const KEY: &CStr = c"PG_SECRETS_KEY";
const KEY_FILE: &CStr = c"PG_SECRETS_KEY_FILE";
const PASSPHRASE: &CStr = c"PG_SECRETS_KEY_PASSPHRASE";
const PASSPHRASE_FILE: &CStr = c"PG_SECRETS_KEY_PASSPHRASE_FILE";

/// Reads and parses the keys, and removes them from the environment. The passphrase is answered too:
/// it opens the keys of pg_secrets.key_file as well.
pub(super) fn load() -> (Result<Keyring, Reason>, Passphrase) {
    let direct = take(KEY);
    let file = take(KEY_FILE);
    let text = take(PASSPHRASE);
    let text_file = take(PASSPHRASE_FILE);
    erase_original();

    let passphrase = match (text, text_file) {
        (Some(text), _) => Passphrase::Text(text),
        (None, Some(path)) => Passphrase::File(String::from_utf8_lossy(&path).into_owned()),
        (None, None) => Passphrase::None,
    };
    (parse(direct, file.as_deref(), &passphrase), passphrase)
}

fn parse(
    direct: Option<Zeroizing<Vec<u8>>>,
    file: Option<&Vec<u8>>,
    passphrase: &Passphrase,
) -> Result<Keyring, Reason> {
    let (material, from) = match (direct, file) {
        (Some(material), None) => (material, "PG_SECRETS_KEY".to_owned()),
        (None, Some(path)) => {
            let path = String::from_utf8_lossy(path).into_owned();
            let material = read_bounded("PG_SECRETS_KEY_FILE", &path)?;
            (material, format!("PG_SECRETS_KEY_FILE ({path})"))
        }
        (Some(_), Some(_)) => {
            return Err(Reason::new(
                "both PG_SECRETS_KEY and PG_SECRETS_KEY_FILE are set; set one",
            ));
        }
        (None, None) => {
            return Err(Reason::new(
                "pg_secrets.key_file is not set, and neither PG_SECRETS_KEY nor PG_SECRETS_KEY_FILE is set in the environment of the server",
            ));
        }
    };
    let passphrase = passphrase.read()?;
    Keyring::parse(&material, passphrase.as_deref().map(Vec::as_slice))
        .map_err(|error| Reason::unusable(&from, &error))
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
