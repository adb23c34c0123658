//! The one keyring of the server, parsed in the postmaster before it forks: every backend has it
//! without reading or parsing anything. A reload of pg_secrets.key_file replaces it, in each process
//! by itself; see `key_file.rs`.

use crate::error::{Error, Result};
use crate::keys::passphrase::Passphrase;
use crate::keys::reason::Reason;
use crate::keys::{environment, key_file};
use pg_secrets_openpgp::{Keyring, OpenError, Place, PlaceKind, SealError, Sealed, SessionKeys};
use std::cell::RefCell;
use std::rc::Rc;
use zeroize::Zeroizing;

/// A keyring with the session keys of what it opened. They go when it goes.
pub(crate) struct Held {
    keyring: Keyring,
    sessions: RefCell<SessionKeys>,
}

/// The keyring, or why there is none.
pub(super) type Slot = std::result::Result<Rc<Held>, Rc<Reason>>;

/// What came from pg_secrets.key_file.
pub(super) struct FromFile {
    pub(super) slot: Slot,
    pub(super) path: String,
    /// The SHA-256 of what was parsed, so that a reload that changes nothing parses nothing. `None`
    /// where nothing could be.
    pub(super) digest: Option<[u8; 32]>,
}

struct State {
    /// `None` before the postmaster has read its environment.
    environment: Option<Slot>,
    passphrase: Rc<Passphrase>,
    /// While it is set, it stands in the place of the environment's keys.
    file: Option<FromFile>,
}

thread_local! {
    // A process of the server has one thread, and a child has what its parent had when it forked.
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// Takes the keys of the environment; once, in the postmaster, before the settings are registered.
pub(crate) fn load_environment() {
    let (keyring, passphrase) = environment::load();
    let state = State {
        environment: Some(hold(keyring)),
        passphrase: Rc::new(passphrase),
        file: None,
    };
    STATE.with_borrow_mut(|own| *own = Some(state));
}

/// A keyring ready for use, or the reason, in the form that is kept.
pub(super) fn hold(keyring: std::result::Result<Keyring, Reason>) -> Slot {
    match keyring {
        Ok(keyring) => Ok(Rc::new(Held {
            keyring,
            sessions: RefCell::new(SessionKeys::new(SessionKeys::PER_BACKEND)),
        })),
        Err(reason) => Err(Rc::new(reason)),
    }
}

/// The passphrase of locked keys.
pub(super) fn passphrase() -> Rc<Passphrase> {
    STATE.with_borrow(|state| {
        let known = state.as_ref().map(|state| Rc::clone(&state.passphrase));
        known.unwrap_or_default()
    })
}

/// What the key file held when it was last taken over.
pub(super) fn file_digest() -> Option<[u8; 32]> {
    STATE.with_borrow(|state| state.as_ref()?.file.as_ref()?.digest)
}

/// Takes over what was read from the key file; `None` brings the environment's keys back.
pub(super) fn replace(file: Option<FromFile>) {
    let old = STATE.with_borrow_mut(|state| {
        let state = state.as_mut()?;
        std::mem::replace(&mut state.file, file)
    });
    drop(old);
}

fn current() -> Option<Slot> {
    STATE.with_borrow(|state| {
        let state = state.as_ref()?;
        match &state.file {
            Some(file) => Some(file.slot.clone()),
            None => state.environment.clone(),
        }
    })
}

/// Why there is no keyring, for the server's log.
pub(crate) fn why_none() -> Option<String> {
    let reason = current().and_then(std::result::Result::err)?;
    Some(reason.text.clone())
}

const WITHOUT_KEY: &str = "Set pg_secrets.key_file in postgresql.conf to a file with an OpenPGP secret key (pg-secrets keygen --output FILE makes one) and reload the server, or set PG_SECRETS_KEY_FILE in its environment and restart it.";

/// The keyring, or the error that says what to do to have one. Asked for at the beginning of every
/// function that needs it: nothing is ever written unencrypted.
pub(crate) fn require() -> Result<Rc<Held>> {
    match current() {
        Some(Ok(held)) => Ok(held),
        Some(Err(reason)) => {
            let said = format!("pg_secrets has no key: {}", reason.text);
            Err(Error::unavailable(said).with_hint(reason.hint.unwrap_or(WITHOUT_KEY)))
        }
        None => Err(Error::internal("the keyring was not loaded")),
    }
}

impl Held {
    /// The keys themselves.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether it has the key with this fingerprint.
    fn has(&self, fingerprint: &str) -> bool {
        let mut keys = self.keyring.keys().iter();
        keys.any(|key| key.fingerprint == fingerprint)
    }

    fn open(
        &self,
        place: Place,
        message: &[u8],
        limit: usize,
    ) -> std::result::Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut sessions = self.sessions.borrow_mut();
        self.keyring
            .open_again(place, message, limit, &mut sessions)
    }
}

/// Seals a value for its place.
pub(crate) fn seal(place: Place, value: &[u8]) -> Result<Sealed> {
    require()?
        .keyring
        .seal(place, value)
        .map_err(|error| cannot_seal(&error))
}

/// The error of a value that could not be sealed.
pub(super) fn cannot_seal(error: &SealError) -> Error {
    let hint = match error {
        SealError::Expired(_) => {
            "Put a key that is valid into pg_secrets.key_file, before the expired one, and reload the server (or into PG_SECRETS_KEY_FILE, and restart it)."
        }
        SealError::Failed(_) => "Look into the server's log, and check the key with gpg or sq.",
    };
    Error::unavailable(format!("pg_secrets cannot encrypt: {error}")).with_hint(hint)
}

/// Opens the message of a place. `fingerprint` is the key that it was sealed to, as its row says.
pub(crate) fn open(
    place: Place,
    message: &[u8],
    limit: usize,
    fingerprint: &str,
) -> Result<Zeroizing<Vec<u8>>> {
    let held = require()?;
    let mut opened = held.open(place, message, limit);
    // Another session may have sealed it to a key that came with a reload that this one, in the
    // middle of a statement, has not heard of yet. What the file holds now opens this one message;
    // which keys the session has is a matter of the reload alone.
    if opened == Err(OpenError::NoKey)
        && !held.has(fingerprint)
        && let Some(newer) = key_file::read_again()
    {
        opened = newer.open(place, message, limit);
    }
    opened.map_err(|error| cannot_open(&held, place, fingerprint, &error))
}

fn cannot_open(held: &Held, place: Place, fingerprint: &str, error: &OpenError) -> Error {
    let what = match place.kind {
        PlaceKind::Version => format!("version {}", place.id),
        PlaceKind::Endpoint => format!("the signing secret of endpoint {}", place.id),
    };
    match error {
        OpenError::NoKey if held.has(fingerprint) => Error::unavailable(format!(
            "{what} is said to be encrypted to key {fingerprint}, but no part of that key on this server opens it"
        ))
        .with_hint("Another part of that key was removed from pg_secrets.key_file (put the whole key back, and reload the server), or somebody changed the table past the functions of pg_secrets."),
        OpenError::NoKey => Error::unavailable(format!(
            "{what} is encrypted to key {fingerprint}, which this server does not have"
        ))
        .with_hint("Add that key to pg_secrets.key_file, behind the primary one, and reload the server (or to PG_SECRETS_KEY_FILE, and restart it)."),
        OpenError::Malformed | OpenError::NotBound => Error::unprocessable(format!(
            "what is stored as {what} is not what this server wrote there: {error}"
        ))
        .with_hint("Somebody changed the table past the functions of pg_secrets; restore the row from a backup."),
        OpenError::TooLong(_) => {
            Error::too_large(format!("{what} is longer than this server reads"))
        }
    }
}
