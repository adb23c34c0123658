//! How long a superseded version stays readable: what the rotation says, else what the project's policy
//! says, else the server's setting. Zero means that the old version dies at once.

use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::gucs;
use crate::lifecycle::duration::{self, Least};
use pgrx::pg_sys;

/// What a rotation, or a policy, says itself, in microseconds.
pub(crate) fn said(grace: Option<pg_sys::Interval>) -> Result<Option<i64>> {
    grace
        .map(|grace| duration::microseconds("grace", grace, Least::Nothing))
        .transpose()
}

static OF_PROJECT: Statement = Statement::new(
    c"SELECT (extract(epoch FROM p.grace) * 1000000)::bigint FROM control_plane.policies AS p WHERE p.project_id = $1",
);

/// The grace of one rotation in a project, in microseconds: `said` where the rotation says one.
pub(crate) fn of_rotation(session: &Session, project: &str, said: Option<i64>) -> Result<i64> {
    if let Some(said) = said {
        return Ok(said);
    }
    let policy = session
        .run(&OF_PROJECT, &[Param::Text(Some(project))])?
        .first();
    match policy.and_then(|policy| policy.bigint(0)) {
        Some(grace) => Ok(grace),
        None => i64::try_from(gucs::grace_period().as_micros())
            .map_err(|_| Error::internal("pg_secrets.grace_period")),
    }
}

/// By how much a grace is to be extended, in microseconds.
pub(crate) fn of_extension(by: Option<pg_sys::Interval>) -> Result<i64> {
    let by = by.ok_or_else(|| Error::null("by"))?;
    let by = duration::microseconds("by", by, Least::Nothing)?;
    if by == 0 {
        return Err(Error::bad_input("by must be more than nothing")
            .with_hint("control_plane.end_grace() ends a grace at once."));
    }
    Ok(by)
}
