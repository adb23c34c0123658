//! What holds for a whole project, where the server's settings are not what it needs.

use crate::access::identity::Caller;
use crate::access::names::check_identifier;
use crate::access::rights::{Permission, Rights};
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::duration::{self, Least, SECOND};
use crate::lifecycle::grace;
use serde_json::json;

/// For how long stragglers can hold a version where the policy does not say, in microseconds.
const HOLD_LIMIT: i64 = 7 * 24 * 60 * 60 * SECOND;

static SET: Statement = Statement::new(
    c"INSERT INTO control_plane.policies AS p (project_id, grace, hold_for_stragglers, hold_limit) VALUES ($1, $2, $3, $4) ON CONFLICT (project_id) DO UPDATE SET grace = excluded.grace, hold_for_stragglers = excluded.hold_for_stragglers, hold_limit = excluded.hold_limit RETURNING p.project_id, p.grace, p.hold_for_stragglers, p.hold_limit",
);

/// set_policy: the whole policy of a project; what is not said goes back to its default.
pub(crate) fn set_policy<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    check_identifier("project_id", &project)?;
    let grace = grace::said(arguments.interval(1))?;
    let hold = arguments.boolean(2).unwrap_or(false);
    let limit = match arguments.interval(3) {
        Some(limit) => duration::microseconds("hold_limit", limit, Least::Second)?,
        None => HOLD_LIMIT,
    };
    let rights = Rights::of(session, caller, Some(&project))?;
    rights.require(Permission::Manage)?;

    let mut record = Record::new("policy.changed");
    record.project_id = Some(project.clone());
    record.detail = Some(json!({
        "grace_seconds": grace.map(duration::seconds),
        "hold_for_stragglers": hold,
        "hold_limit_seconds": limit / SECOND,
    }));
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    let row = session
        .run(
            &SET,
            &[
                Param::Text(Some(&project)),
                Param::OptionalInterval(grace),
                Param::Boolean(hold),
                Param::Interval(limit),
            ],
        )?
        .first()
        .ok_or_else(|| Error::internal("the policy is gone"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}

static GET: Statement = Statement::new(
    c"SELECT $1, p.grace, coalesce(p.hold_for_stragglers, false), coalesce(p.hold_limit, $2) FROM (SELECT) AS one LEFT JOIN control_plane.policies AS p ON p.project_id = $1",
);

/// project_policy: what holds for a project, also where nobody has said anything.
pub(crate) fn project_policy<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    Rights::of(session, caller, Some(&project))?.require(Permission::Manage)?;
    let row = session
        .run(
            &GET,
            &[Param::Text(Some(&project)), Param::Interval(HOLD_LIMIT)],
        )?
        .first()
        .ok_or_else(|| Error::internal("no policy"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}
