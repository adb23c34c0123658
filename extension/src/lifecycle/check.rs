//! Whether a reader has already what a read would give: decided and recorded as a read is, and without
//! opening a value.

use crate::access::identity::Caller;
use crate::audit::reads::{self, Attempt};
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::lifecycle::read::{self, Reader};

/// check_secret: the version that a read would give, if it is one of those that the reader knows.
pub(crate) fn check_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.uuid(0);
    let project = arguments.text(1)?;
    let name = arguments.text(2)?;
    let number = arguments.integer(3);
    let known = arguments.uuids(4, "an element of known")?;
    let service = read::service_argument(arguments, 5)?;
    let attempt = Attempt {
        project_id: project.clone(),
        secret_id: id,
        name: name.clone(),
        version: number,
        service: service.clone(),
    };
    reads::or_refused(session, caller, attempt, || {
        let (reader, row) = match (id, &project, &name) {
            (Some(id), None, None) => Reader::by_id(session, caller, id, number, service)?,
            (None, Some(project), Some(name)) => {
                Reader::by_name(session, caller, project, name, number, service)?
            }
            _ => {
                return Err(Error::bad_input(
                    "name the secret by secret_id, or by project_id and name",
                ));
            }
        };
        let (row, version) = read::readable(session, row)?;
        if known.is_some_and(|known| !known.contains(&version.id)) {
            return Ok(Answer::Many(Vec::new()));
        }
        reader.record_check(&version)?;
        Ok(Answer::Many(vec![Composite { row, secret: None }]))
    })
}
