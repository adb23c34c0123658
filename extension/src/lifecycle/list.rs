//! Metadata: which secrets and versions there are, without values.

use crate::access::identity::Caller;
use crate::access::rights::{Permission, Rights};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::version::{self, Version};

static SUMMARIES: Statement = Statement::new(
    c"SELECT s.* FROM control_plane.summaries AS s WHERE s.project_id = $1 AND s.deleted_at IS NULL AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest($2) AS p (prefix) WHERE pg_catalog.starts_with(s.name, p.prefix))) ORDER BY s.name",
);

// What is past purge_at is gone, although its rows may still wait to be removed.
static RESTORABLE: Statement = Statement::new(
    c"SELECT s.* FROM control_plane.summaries AS s WHERE s.project_id = $1 AND s.purge_at > pg_catalog.clock_timestamp() AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest($2) AS p (prefix) WHERE pg_catalog.starts_with(s.name, p.prefix))) ORDER BY s.name, s.deleted_at DESC",
);

/// list_secrets: the current versions of a project's secrets, with who reads them; or those of the
/// deleted ones that can be restored.
pub(crate) fn list_secrets<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    let state = arguments.text(1)?;
    let summaries = match state.as_deref() {
        None | Some("active") => &SUMMARIES,
        Some("deleted") => &RESTORABLE,
        Some(_) => {
            return Err(Error::bad_input("state is not known").with_hint(
                "active (or nothing) lists what there is, deleted what can be restored.",
            ));
        }
    };
    let reach = Rights::within(session, caller, &project)?.reach(Permission::List)?;
    let params = [Param::Text(Some(&project)), Param::Texts(reach.prefixes())];
    let rows = session.run(summaries, &params)?;
    Ok(Answer::Rows(rows))
}

static VERSIONS: Statement = Statement::new(
    c"SELECT v.* FROM control_plane.versions AS v WHERE v.chain_id = $1 ORDER BY v.version DESC",
);

/// secret_versions: every version of the secret that any version's id finds, newest first.
pub(crate) fn secret_versions<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let named = version::permitted(session, caller, id, Permission::List)?.version;
    let rows = session.run(&VERSIONS, &[Param::Uuid(Some(named.chain_id))])?;
    // It was there a moment ago, and was purged since.
    if rows.affected() == 0 {
        return Err(Error::no_such_secret());
    }
    Ok(Answer::Rows(rows))
}

/// secret_id: the current version's id, for whoever may know that the secret exists.
pub(crate) fn secret_id<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    let name = arguments.required_text(1, "name")?;
    if !Rights::on(session, caller, &project, &name)?.sees_secrets() {
        return Err(Error::no_such_secret());
    }
    let row = version::current(session, &project, &name)?.ok_or_else(Error::no_such_secret)?;
    Ok(Answer::Uuid(Version::read(&row)?.id))
}
