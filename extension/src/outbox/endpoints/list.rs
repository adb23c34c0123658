//! list_endpoints and get_endpoint.

use crate::access::identity::Caller;
use crate::access::rights::{Permission, Rights};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::outbox::endpoints::{self, Endpoint};

static OF_PROJECT: Statement = Statement::new(
    c"SELECT v.*, NULL::text FROM control_plane.endpoint_rows AS v WHERE v.project_id = $1 ORDER BY v.id",
);

/// list_endpoints: those of a project, the oldest first.
pub(crate) fn list_endpoints<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    Rights::of(session, caller, Some(&project))?.require(Permission::Manage)?;
    let rows = session.run(&OF_PROJECT, &[Param::Text(Some(&project))])?;
    Ok(Answer::Rows(rows))
}

/// get_endpoint.
pub(crate) fn get_endpoint<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "endpoint_id")?;
    let endpoint = Endpoint::permitted(session, caller, id)?;
    endpoints::answer(session, endpoint.id, None)
}
