//! Who reads a secret, and whom a change would break. Neither writes anything, so both work in a
//! read-only transaction and on a standby.

use crate::access::identity::Caller;
use crate::access::rights::Permission;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Rows, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, Version};
use crate::lifecycle::{delete, extend, rotate};
use uuid::Uuid;

static CONSUMERS: Statement = Statement::new(
    c"SELECT c.service, c.verified, c.last_version, c.last_state, c.last_used_at, c.straggler, c.endpoints, c.told_at, c.sessions FROM control_plane.consumers AS c WHERE c.chain_id = $1 AND ($2::uuid IS NULL OR EXISTS (SELECT FROM control_plane.current_reads AS r WHERE r.secret_id = $2 AND r.service = c.service)) ORDER BY c.straggler DESC, c.service",
);

/// The consumers of a secret; of one version alone those that still read it.
fn consumers(session: &Session, chain: Uuid, of_version: Option<Uuid>) -> Result<Rows<'_>> {
    session.run(
        &CONSUMERS,
        &[Param::Uuid(Some(chain)), Param::Uuid(of_version)],
    )
}

/// blast_radius: everybody who reads the secret that any version's id finds, or is expected to.
pub(crate) fn blast_radius<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let named = version::permitted(session, caller, id, Permission::List)?.version;
    Ok(Answer::Rows(consumers(session, named.chain_id, None)?))
}

/// A change that takes a version, or all of them, away from its readers.
#[derive(Debug, Clone, Copy)]
enum Action {
    Rotate,
    EndGrace,
    Delete,
}

impl Action {
    fn parse(name: &str) -> Result<Self> {
        match name {
            "rotate" => Ok(Action::Rotate),
            "end_grace" => Ok(Action::EndGrace),
            "delete" => Ok(Action::Delete),
            _ => Err(Error::bad_input("action is not known")
                .with_hint("One of rotate, end_grace, delete.")),
        }
    }

    /// What the change itself needs.
    fn permission(self) -> Permission {
        match self {
            Action::Rotate | Action::EndGrace => Permission::Write,
            Action::Delete => Permission::Delete,
        }
    }
}

/// preview: whom the action would break, were it done now to the version with this id. A rotation
/// counts as one without grace: with grace it breaks nobody before that is over.
pub(crate) fn preview<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let action = Action::parse(&arguments.required_text(1, "action")?)?;
    let named = version::permitted(session, caller, id, action.permission())?.version;
    require_possible(session, action, &named)?;
    let of_version = match action {
        Action::Rotate | Action::EndGrace => Some(named.id),
        Action::Delete => None,
    };
    Ok(Answer::Rows(consumers(
        session,
        named.chain_id,
        of_version,
    )?))
}

/// Refuses what the action itself would refuse, by its own rule: a preview of it would promise too much.
fn require_possible(session: &Session, action: Action, named: &Version) -> Result<()> {
    match action {
        Action::Rotate => rotate::require_current(session, named),
        Action::EndGrace => extend::require_in_grace(session, named),
        Action::Delete => delete::require_there(named),
    }
}
