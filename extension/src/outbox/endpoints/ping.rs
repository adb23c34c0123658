//! ping_endpoint.

use crate::access::identity::Caller;
use crate::audit::record;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::outbox::endpoints::Endpoint;
use crate::outbox::event;

/// ping_endpoint: sends the event endpoint.ping there and nowhere else, whatever events it wants.
/// Answers the delivery's id.
pub(crate) fn ping_endpoint<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "endpoint_id")?;
    let endpoint = Endpoint::permitted(session, caller, id)?;
    if !endpoint.enabled {
        return Err(Error::endpoint_disabled());
    }
    let delivery = event::emit_ping(session, &endpoint.project_id, id)?;
    record::write(session, caller, endpoint.record("endpoint.pinged"))?;
    Ok(Answer::Uuid(delivery))
}
