//! Who is calling: whose grants count, and who is written into the record.
//!
//! A plain login counts with the grants of its current role, so SET ROLE counts. A trusted login
//! counts with the grants of the subject that it authenticated in this transaction, and with none
//! before. Inside a SECURITY DEFINER function its owner's grants count, in both.
#![allow(unsafe_code)]

use crate::backend::setting;
use crate::error::{Error, Result};
use crate::gucs;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::net::IpAddr;

/// Whose grants count for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RightsOf {
    /// A database role, with what it inherits.
    Role(pg_sys::Oid),
    /// A subject that a trusted login authenticated.
    Subject(String),
    /// Nobody yet: a trusted login before authentication.
    Nobody,
}

/// The caller of one function.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) rights_of: RightsOf,
    /// Who did it, for the record: the subject, or the login.
    pub(crate) actor: String,
    /// The role that logged in; SET ROLE and SET SESSION AUTHORIZATION do not change it.
    pub(crate) login: String,
    /// The role whose grants counted, where it is not the login.
    pub(crate) role: Option<String>,
    /// Whether this happens in an operation that Postgres itself restricts: while an index is built
    /// or a table analysed by somebody else than its owner.
    restricted: bool,
    /// Whether the login is listed in pg_secrets.trusted_logins.
    pub(crate) trusted: bool,
    pub(crate) request: Request,
    /// The service that the token is bound to.
    pub(crate) service: Option<String>,
}

/// What a trusted login says of the request that it acts for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) id: Option<String>,
    pub(crate) client_address: Option<String>,
    pub(crate) application_name: Option<String>,
}

#[derive(Debug, Clone)]
struct Authenticated {
    subject: String,
    service: Option<String>,
    request: Request,
}

thread_local! {
    static AUTHENTICATED: RefCell<Option<Authenticated>> = const { RefCell::new(None) };
    static CLAIMS_TAKEN: Cell<bool> = const { Cell::new(false) };
    /// For the session, whatever becomes of its transactions.
    static CALLS_BY_CLAIMS: Cell<bool> = const { Cell::new(false) };
}

impl Caller {
    /// Looks who is calling, before anything changes the current user.
    pub(crate) fn capture() -> Result<Self> {
        let mut user = pg_sys::InvalidOid;
        let mut context = 0;
        // SAFETY: reads of the backend's own state.
        let login_oid = unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
            pg_sys::GetAuthenticatedUserId()
        };
        let in_definer = context & (pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32) != 0;
        let login = role_name(login_oid).unwrap_or_else(|| "pg_secrets".to_owned());
        let trusted = gucs::is_trusted_login(&login);
        let authenticated = if trusted {
            AUTHENTICATED.with_borrow(Clone::clone)
        } else {
            None
        };
        let rights_of = match (&authenticated, trusted) {
            (_, _) if in_definer => RightsOf::Role(user),
            (Some(known), true) => RightsOf::Subject(known.subject.clone()),
            (None, true) => RightsOf::Nobody,
            (_, false) => RightsOf::Role(user),
        };
        let role = (user != login_oid).then(|| role_name(user)).flatten();
        let (actor, service, request) = match authenticated {
            // Inside a definer's function the owner's grants count, and the token's binding with
            // the subject's.
            Some(known) => {
                let service = known.service.filter(|_| !in_definer);
                (known.subject, service, known.request)
            }
            None => (login.clone(), None, Request::default()),
        };
        Ok(Self {
            rights_of,
            actor,
            login,
            role,
            restricted: context & (pg_sys::SECURITY_RESTRICTED_OPERATION as i32) != 0,
            trusted,
            request,
            service,
        })
    }

    /// A worker of the extension, for the record of what it does by itself.
    pub(crate) fn worker() -> Self {
        Self {
            rights_of: RightsOf::Nobody,
            actor: "pg_secrets".to_owned(),
            login: "pg_secrets".to_owned(),
            role: None,
            restricted: false,
            trusted: false,
            request: Request::default(),
            service: None,
        }
    }

    /// Refuses what a table's owner makes somebody else do for him, as by an expression of an index:
    /// it would be recorded as done by that other, and nobody reads secrets there for good reasons.
    pub(crate) fn refuse_restricted_operation(&self) -> Result<()> {
        if self.restricted {
            return Err(Error::forbidden(
                "secrets cannot be used within a security-restricted operation",
            ));
        }
        Ok(())
    }

    /// Refuses a trusted login that has authenticated nobody yet.
    pub(crate) fn require_known(&self) -> Result<()> {
        if self.rights_of == RightsOf::Nobody {
            return Err(Error::unauthenticated("nobody is authenticated").with_hint(
                "A trusted login calls control_plane.authenticate(token) first, in the same transaction; PostgREST calls control_plane.pre_request() by its setting db-pre-request.",
            ));
        }
        Ok(())
    }

    /// Whether it is a trusted login itself that calls, as the companion does. PostgREST logs in for its
    /// clients, who can reset the role that it sets for them and could go on as its login: a session that
    /// had claims once is theirs until it ends.
    pub(crate) fn is_trusted_itself(&self) -> bool {
        self.trusted
            && self.role.is_none()
            && !CALLS_BY_CLAIMS.get()
            && !setting::is_known(c"request.jwt.claims")
    }

    /// Whether the rights are those of a superuser of the database.
    pub(crate) fn is_superuser(&self) -> bool {
        match self.rights_of {
            // SAFETY: a catalogue lookup.
            RightsOf::Role(role) => unsafe { pg_sys::superuser_arg(role) },
            RightsOf::Subject(_) | RightsOf::Nobody => false,
        }
    }
}

/// Makes `subject` the caller until the transaction ends. The first authentication wins: a second
/// one for the same subject and service changes nothing, for another it is refused.
pub(crate) fn authenticate(subject: &str, service: Option<&str>, request: Request) -> Result<()> {
    AUTHENTICATED.with_borrow_mut(|known| match known {
        None => {
            *known = Some(Authenticated {
                subject: subject.to_owned(),
                service: service.map(str::to_owned),
                request,
            });
            Ok(())
        }
        Some(first) if first.subject == subject && first.service.as_deref() == service => Ok(()),
        Some(_) => Err(Error::forbidden(
            "this transaction was authenticated for another subject already",
        )
        .with_hint("Begin a new transaction for the next request.")),
    })
}

/// Whether the claims of the request are still to be looked at; they are once in a transaction, whether
/// or not they name somebody.
pub(crate) fn take_claims() -> bool {
    CALLS_BY_CLAIMS.set(true);
    !CLAIMS_TAKEN.replace(true)
}

/// Forgets who was authenticated; at the end of every transaction.
pub(crate) fn forget() {
    CLAIMS_TAKEN.set(false);
    AUTHENTICATED.with_borrow_mut(|known| *known = None);
}

impl Request {
    /// Reads the request that a trusted login describes. Texts are cut, an address that is none
    /// is dropped: the record must not fail for them.
    pub(crate) fn read(described: Option<&serde_json::Value>) -> Self {
        let text = |key: &str| {
            described?
                .get(key)?
                .as_str()
                .map(|text| text.chars().filter(|c| !c.is_control()).take(200).collect())
        };
        Self {
            id: text("request_id"),
            client_address: text("client_address")
                .filter(|address: &String| address.parse::<IpAddr>().is_ok()),
            application_name: text("application_name"),
        }
    }
}

/// The name of a role, if there is such a role.
pub(crate) fn role_name(role: pg_sys::Oid) -> Option<String> {
    if role == pg_sys::InvalidOid {
        return None;
    }
    // SAFETY: answers NULL for an unknown role, else a C string in the current memory context.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// The role of this name, if there is one; compared byte for byte.
pub(crate) fn role_named(name: &str) -> Option<pg_sys::Oid> {
    let name = std::ffi::CString::new(name).ok()?;
    // A role's name has at most 63 bytes; a longer one would be found by its beginning.
    if name.as_bytes().len() >= pg_sys::NAMEDATALEN as usize {
        return None;
    }
    // SAFETY: a valid C string.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// Locks a role until the transaction ends, against other changes of what it was granted and
/// against its being dropped. No statement of an ordinary role can hold this lock.
pub(crate) fn lock_role(role: pg_sys::Oid) {
    let lock = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: the lock manager ends it with the transaction, or with the subtransaction's abort.
    unsafe { pg_sys::LockSharedObject(pg_sys::AuthIdRelationId, role, 0, lock) };
}

/// Locks our schema's privileges against other changes until the transaction ends; nobody who only
/// calls functions is held up.
pub(crate) fn lock_schema() {
    let lock = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: a lookup by a valid C string, and a lock that ends with the transaction.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"control_plane".as_ptr(), true);
        pg_sys::LockDatabaseObject(pg_sys::NamespaceRelationId, schema, 0, lock);
    }
}

/// The number that initdb gave this cluster. Role numbers mean the same roles within it alone.
pub(crate) fn cluster() -> i64 {
    // SAFETY: reads shared memory that is set before any backend starts.
    unsafe { pg_sys::GetSystemIdentifier() }.cast_signed()
}
