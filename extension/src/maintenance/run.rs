//! run_maintenance(): one sweep, in the caller's transaction.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::raise;
use crate::backend::session::{self, Param, Session, Statement};
use crate::backend::transaction::{Failure, attempt_within};
use crate::error::{Error, Result};
use crate::maintenance::due::Due;
use crate::maintenance::sweep::{self, Steps};
use crate::maintenance::{Actor, installation};
use pgrx::PgLogLevel;

static COUNTED: Statement = Statement::new(c"SELECT $1, $2, $3");

/// run_maintenance: does now what the worker does by itself, and answers how much that was. What somebody
/// else is changing at this moment, or is doing this with, is left to him.
pub(crate) fn run_maintenance<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of_administrator(session, caller)?;
    session::require_writable(c"run_maintenance()");
    if !installation::is_own(session)? {
        return Err(Error::unprocessable(installation::STATE).with_hint(installation::HINT));
    }
    let actor = Actor {
        caller,
        administrator: rights.is_administrator(),
    };
    let swept = sweep::sweep(&mut Within, &actor, sweep::now())
        .map_err(|failure| Error::unprocessable(failure.message))?;
    let row = session
        .run(
            &COUNTED,
            &[swept.warned, swept.destroyed, swept.purged].map(|count| Param::Integer(Some(count))),
        )?
        .first()
        .ok_or_else(|| Error::internal("no counts"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}

/// Steps in subtransactions.
struct Within;

impl Steps for Within {
    fn step<T>(
        &mut self,
        work: impl FnOnce(&Session) -> Result<T>,
    ) -> std::result::Result<T, Failure> {
        attempt_within(|| Session::with(work))
    }

    fn failed(&mut self, due: &Due, failure: Failure) {
        raise::log(PgLogLevel::WARNING, &sweep::line(due, &failure.message));
    }

    fn settled(&mut self, _due: &Due) {}
}
