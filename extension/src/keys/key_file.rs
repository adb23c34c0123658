//! The setting pg_secrets.key_file: a file of secret keys that is read again with every reload.
//!
//! Each process of the server reads it by itself when it reloads, the postmaster too. Postgres calls
//! the check hook for every setting that stands in a file, changed or not; what it parsed waits for
//! the assign hook, which Postgres calls behind it unless the new value is only being tried out.
//! A file that cannot be used is refused: the keys stay as they are, and the postmaster logs why.
#![allow(unsafe_code)]

use crate::keys::file::{is_open_to_all, read_bounded};
use crate::keys::keyring::{self, FromFile, Held};
use crate::keys::reason::Reason;
use crate::{gucs, preload};
use pg_secrets_openpgp::Keyring;
use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use zeroize::Zeroizing;

const SETTING: &str = "pg_secrets.key_file";

/// What a check found, for the assignment that follows.
enum Checked {
    Unset,
    Unchanged,
    New(FromFile),
}

/// What the file held when it was last read between reloads: its digest, and the keys if it has any.
type Look = ([u8; 32], Option<Rc<Held>>);

thread_local! {
    static CHECKED: RefCell<Option<Checked>> = const { RefCell::new(None) };
    static LAST_LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
}

/// What lies in the file at `path`, not yet parsed.
struct Content {
    material: Zeroizing<Vec<u8>>,
    passphrase: Option<Zeroizing<Vec<u8>>>,
    /// The SHA-256 of both.
    digest: [u8; 32],
}

impl Content {
    fn read(path: &str) -> Result<Self, Reason> {
        let material = read_bounded(SETTING, path)?;
        let passphrase = keyring::passphrase().read()?;
        let digest = Sha256::new()
            .chain_update(Sha256::digest(material.as_slice()))
            .chain_update(passphrase.as_deref().map_or(&[][..], Vec::as_slice))
            .finalize()
            .into();
        Ok(Self {
            material,
            passphrase,
            digest,
        })
    }

    fn parse(&self, path: &str) -> Result<Keyring, Reason> {
        let passphrase = self.passphrase.as_deref().map(Vec::as_slice);
        Keyring::parse(&self.material, passphrase)
            .map_err(|error| Reason::unusable(&format_args!("{SETTING} ({path})"), &error))
    }
}

/// Reads and parses the file at `path`; an empty path is none.
fn check(path: &str) -> Result<Checked, Reason> {
    if path.is_empty() {
        return Ok(Checked::Unset);
    }
    let content = Content::read(path)?;
    if keyring::file_digest() == Some(content.digest) {
        return Ok(Checked::Unchanged);
    }
    Ok(Checked::New(FromFile {
        slot: keyring::hold(Ok(content.parse(path)?)),
        path: path.to_owned(),
        digest: Some(content.digest),
    }))
}

fn assign(checked: Checked) {
    LAST_LOOK.set(None);
    match checked {
        Checked::Unset => keyring::replace(None),
        Checked::Unchanged => {}
        Checked::New(file) => keyring::replace(Some(file)),
    }
}

/// Reads the file again, where another process may know more of it than this one does; what it holds,
/// if that is something new and can be used. The keys of this process stay as they are. What was read
/// the last time is not parsed again, usable or not: any reader of a value whose key is missing comes
/// here with each read.
pub(super) fn read_again() -> Option<Rc<Held>> {
    let path = gucs::key_file();
    if path.is_empty() {
        return None;
    }
    let content = Content::read(&path).ok()?;
    if keyring::file_digest() == Some(content.digest) {
        return None;
    }
    LAST_LOOK.with_borrow_mut(|last| match last {
        Some((digest, held)) if *digest == content.digest => held.clone(),
        _ => {
            let keyring = content.parse(&path);
            let held = keyring::hold(keyring).ok();
            *last = Some((content.digest, held.clone()));
            held
        }
    })
}

/// What the log says of new keys: once, from the first process of the server.
fn telling(checked: &Checked) -> Option<String> {
    // SAFETY: reads the process's own state.
    if unsafe { pg_sys::MyProcPid != pg_sys::PostmasterPid } {
        return None;
    }
    let Checked::New(file) = checked else {
        return None;
    };
    let held = file.slot.as_ref().ok()?;
    let path = &file.path;
    let count = held.keyring().keys().len();
    let primary = held.keyring().primary_fingerprint();
    let warning = if is_open_to_all(path) {
        "; every account of this machine can read that file: chmod 600"
    } else {
        ""
    };
    Some(format!(
        "pg_secrets has {count} key(s) from {path}; {primary} is the primary one{warning}"
    ))
}

/// The check hook. It never raises, and a panic ends in a refusal.
///
/// # Safety
/// Called by Postgres alone, with a pointer to a C string or NULL.
pub(crate) unsafe extern "C-unwind" fn check_hook(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    let accepted = catch_unwind(AssertUnwindSafe(|| {
        // A parallel worker repeats the settings of its leader. It runs none of our functions, and a
        // file that is broken just now must not fail a query that has nothing to do with secrets.
        // SAFETY: reads the process's own state.
        if unsafe { pg_sys::InitializingParallelWorker } {
            CHECKED.set(None);
            return true;
        }
        // SAFETY: the caller's promise.
        let path = unsafe {
            if value.is_null() || (*value).is_null() {
                String::new()
            } else {
                CStr::from_ptr(*value).to_string_lossy().into_owned()
            }
        };
        match check(&path) {
            Ok(checked) => {
                CHECKED.set(Some(checked));
                true
            }
            // The server starts, and every function that needs a key says why there is none. The
            // environment's keys do not step in: values would be sealed to a key that nobody meant.
            Err(reason) if preload::in_progress() => {
                CHECKED.set(Some(Checked::New(FromFile {
                    slot: keyring::hold(Err(reason)),
                    path,
                    digest: None,
                })));
                true
            }
            Err(reason) => {
                CHECKED.set(None);
                explain(&reason);
                false
            }
        }
    }));
    accepted.unwrap_or(false)
}

/// The assign hook: takes over what the check before it found.
///
/// # Safety
/// Called by Postgres alone.
pub(crate) unsafe extern "C-unwind" fn assign_hook(_value: *const c_char, _extra: *mut c_void) {
    // The hook may not raise; a panic leaves the keys as they are.
    let _ = catch_unwind(|| {
        if let Some(checked) = CHECKED.take() {
            let told = telling(&checked);
            assign(checked);
            if let Some(told) = told {
                pgrx::log!("{told}");
            }
        }
    });
}

/// Gives Postgres the texts of its message about a refused value.
fn explain(reason: &Reason) {
    let message = format!("the keys of pg_secrets stay as they are: {}", reason.text);
    let hint = reason.hint.unwrap_or(
        "Mend the file, or let pg_secrets.key_file name another one, and reload the server again.",
    );
    // SAFETY: what the macros GUC_check_errmsg and GUC_check_errhint set: texts in the memory that
    // is reset once the message is out.
    unsafe {
        pg_sys::GUC_check_errmsg_string = in_error_context(&message);
        pg_sys::GUC_check_errhint_string = in_error_context(hint);
    }
}

/// A copy of a text that lives until the error is out; NULL where no memory is left.
fn in_error_context(text: &str) -> *mut c_char {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    let flags = pg_sys::MCXT_ALLOC_NO_OOM as i32;
    // SAFETY: an allocation that does not raise, written within its size.
    unsafe {
        let room = pg_sys::MemoryContextAllocExtended(pg_sys::ErrorContext, bytes.len() + 1, flags)
            .cast::<u8>();
        if !room.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len());
            room.add(bytes.len()).write(0);
        }
        room.cast()
    }
}
