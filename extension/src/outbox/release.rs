//! Giving a claim back before its lease ends.

use crate::access::identity::Caller;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::claim::require_relay;

static RELEASE: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET leased_until = NULL, next_attempt_at = pg_catalog.clock_timestamp() WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending' AND d.leased_until IS NOT NULL",
);

/// release_delivery: the claim that counted `attempt` ends, and nothing is known of its try.
pub(crate) fn release_delivery<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_relay(session, caller)?;
    let id = arguments.required_uuid(0, "delivery_id")?;
    let attempt = arguments.integer(1).ok_or_else(|| Error::null("attempt"))?;
    let params = [Param::Uuid(Some(id)), Param::Integer(Some(attempt))];
    let released = session.run(&RELEASE, &params)?;
    Ok(Answer::Boolean(released.affected() > 0))
}
