//! An older version's value once more, as a new version.

use crate::access::identity::Caller;
use crate::access::names::check_reason;
use crate::access::rights::Permission;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::id;
use crate::keys::keyring;
use crate::lifecycle::read;
use crate::lifecycle::rotate::{self, Successor};
use crate::lifecycle::version::{self, State, Version};
use pg_secrets_openpgp::{Place, Sealed};
use uuid::Uuid;

/// rollback_secret: supersedes the version that the caller names, if it is still the current one, by
/// a new one with the value of an older one that can still be read. The value goes from row to row
/// and to nobody, so that writing is all that a caller must be allowed.
pub(crate) fn rollback_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let old_id = arguments.required_uuid(0, "secret_id")?;
    let to_version = arguments
        .integer(1)
        .ok_or_else(|| Error::null("to_version"))?;
    let reason = arguments.text(2)?;
    check_reason(reason.as_deref())?;

    let permitted = version::permitted(session, caller, old_id, Permission::Write)?;
    let (named, rights) = (permitted.version, permitted.rights);
    let old = rotate::lock_current(session, caller, &named)?;
    let new_id = id::new()?;
    let sealed = copy(session, &old, to_version, new_id)?;
    let new = Successor {
        id: new_id,
        sealed: &sealed,
        reason: reason.as_deref(),
        grace: None,
        rolled_back_to: Some(to_version),
    };
    rotate::succeed(session, caller, rights.is_administrator(), &old, &new)
}

/// Seals the value of the version with this number for a new row. Under the lock, unlike a value that
/// the caller brings: what could be read before it may be destroyed by now.
fn copy(session: &Session, current: &Version, number: i32, new_id: Uuid) -> Result<Sealed> {
    // The state allows it or not, and a moment later it may be otherwise: a conflict, no bad input.
    if number == current.number {
        return Err(
            Error::wrong_state("this version is the current one already", current.id)
                .with_hint("Give the number of an older version; secret_versions() lists them."),
        );
    }
    let row = version::by_number(session, &current.project_id, &current.name, number)?
        .ok_or_else(Error::no_such_version)?;
    let source = Version::read(&row)?;
    // The same name may have been another secret once.
    if source.chain_id != current.chain_id {
        return Err(Error::no_such_version());
    }
    if source.state != State::Grace {
        return Err(Error::destroyed(Some(current.id)).with_hint(
            "There is nothing left to roll back to: rotate to a value that you have elsewhere. A longer grace, of one rotation, of the project or in pg_secrets.grace_period, keeps a version for longer.",
        ));
    }
    let value = read::open(&row, &source)?;
    keyring::seal(Place::version(new_id), &value)
}
