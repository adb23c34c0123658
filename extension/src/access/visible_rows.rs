//! Which rows of our tables a role sees that selects from them: the row security of sql/60_access.sql
//! asks for each.

use crate::access::identity::{Caller, RightsOf};
use crate::access::rights::{Permission, Rights};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::Result;

/// may_list: whether the caller may list the secret of this name, whether or not there is one. Nobody
/// may who is not known: a policy hides rows, and does not fail for them.
pub(crate) fn may_list<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let (Some(project), Some(name)) = (arguments.text(0)?, arguments.text(1)?) else {
        return Ok(Answer::Boolean(false));
    };
    if caller.rights_of == RightsOf::Nobody {
        return Ok(Answer::Boolean(false));
    }
    let rights = Rights::on(session, caller, &project, &name)?;
    Ok(Answer::Boolean(rights.may(Permission::List)))
}
