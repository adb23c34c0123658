//! delete_endpoint.

use crate::access::identity::Caller;
use crate::audit::changes;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::outbox::endpoints::Endpoint;

static DELETE: Statement =
    Statement::new(c"DELETE FROM control_plane.endpoints AS e WHERE e.id = $1");

// What is under way counts as such until it ends. Waits for none whose end is being stored, which may wait for
// the next one of its secret: the sweep removes what is left.
static DROP_PENDING: Statement = Statement::new(
    c"DELETE FROM control_plane.deliveries AS d WHERE d.id IN (SELECT l.id FROM control_plane.deliveries AS l WHERE l.endpoint_id = $1 AND l.status = 'pending' AND (l.leased_until IS NULL OR l.leased_until <= pg_catalog.clock_timestamp()) FOR UPDATE SKIP LOCKED)",
);

/// delete_endpoint: nothing is sent there any more, what waits for it neither. What was delivered stays
/// known until retention removes it.
pub(crate) fn delete_endpoint<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "endpoint_id")?;
    let endpoint = Endpoint::locked(session, caller, id)?;
    let _declared = changes::declare(caller, endpoint.record("endpoint.deleted"));
    session.run(&DELETE, &[Param::Uuid(Some(id))])?;
    session.run(&DROP_PENDING, &[Param::Uuid(Some(id))])?;
    Ok(Answer::Void)
}
