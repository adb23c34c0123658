//! Secrets that are due for a new value: made and put in place where there is a generator, else told of.

use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::id;
use crate::keys::keyring;
use crate::lifecycle::generator;
use crate::lifecycle::rotate::{self, Successor};
use crate::lifecycle::version::{self, Version};
use crate::maintenance::Actor;
use crate::outbox::event;
use pg_secrets_openpgp::Place;
use serde_json::json;
use uuid::Uuid;

static DUE: Statement = Statement::new(
    c"SELECT FROM control_plane.rotations AS r JOIN control_plane.secrets AS s ON s.chain_id = r.chain_id WHERE s.id = $1 AND s.active AND s.deleted_at IS NULL AND r.next_rotation_at <= pg_catalog.clock_timestamp()",
);

/// What stands as the reason of a rotation that nobody asked for.
const REASON: &str = "scheduled";

/// Rotates the secret whose current version has this id, and whose name is locked, if it is due; without a
/// generator it says so once for each time that it is due. False where it is not.
pub(crate) fn rotate_if_due(session: &Session, actor: &Actor<'_>, current: Uuid) -> Result<bool> {
    let id = [Param::Uuid(Some(current))];
    if session.run(&DUE, &id)?.affected() == 0 {
        return Ok(false);
    }
    let Some(row) = version::by_id(session, current)? else {
        return Ok(false);
    };
    let current = Version::read(&row)?;
    match generator::generated(session, current.chain_id)? {
        Some(value) => {
            let new_id = id::new()?;
            let sealed = keyring::seal(Place::version(new_id), value.as_bytes())?;
            drop(value);
            let new = Successor {
                id: new_id,
                sealed: &sealed,
                reason: Some(REASON),
                grace: None,
                rolled_back_to: None,
            };
            rotate::succeed(session, actor.caller, actor.administrator, &current, &new)?;
        }
        None => {
            {
                let _declared = actor.declare(current.record("secret.rotation_due"));
                generator::restart_schedule(session, current.chain_id)?;
            }
            let data = json!({"version": current.number});
            event::emit(session, &current.event("secret.rotation_due", data))?;
        }
    }
    Ok(true)
}
