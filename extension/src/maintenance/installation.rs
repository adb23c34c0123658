//! Whether this database is the one that the extension was installed in. One that was restored from a dump,
//! or copied, has everything that the original has: its deliveries, its clocks. It sends no webhook and sweeps
//! nothing until an administrator says that it is the original now.
#![allow(unsafe_code)]

use crate::access::identity::{self, Caller};
use crate::access::rights::Rights;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{self, Param, Session, Statement};
use crate::error::Result;
use crate::workers::wake;
use pgrx::pg_sys;
use serde_json::{Value, json};

/// What is the matter with a database that is not its own.
pub(crate) const STATE: &str = "this database was restored or copied from another one, so it sends no webhook, sweeps nothing and rotates nothing by itself";

/// What to do about it.
pub(crate) const HINT: &str = "When the original is gone for good, SELECT control_plane.confirm_restored(); until then leave it so: both would act in the same name.";

// One row, written by the install script. A restore adds the original's to it, whichever database it goes
// into; a copy has the original's alone.
static OWN: Statement = Statement::new(
    c"SELECT pg_catalog.count(*) = 1 AND pg_catalog.bool_and(i.cluster = $1 AND i.database = $2) FROM control_plane.active_installations AS i",
);

/// This database's identity: the number that initdb gave the cluster, and the database's within it. A
/// standby has that of its primary, and goes on with it once it is promoted.
fn here() -> [Param<'static>; 2] {
    // SAFETY: the backend's own state.
    let database = unsafe { pg_sys::MyDatabaseId };
    [Param::Bigint(identity::cluster()), Param::Oid(database)]
}

/// Whether this database acts by itself: it was installed here, or somebody has confirmed it.
pub(crate) fn is_own(session: &Session) -> Result<bool> {
    let own = session.run(&OWN, &here())?.first();
    Ok(own.and_then(|row| row.boolean(0)) == Some(true))
}

static LOCK: Statement =
    Statement::new(c"LOCK TABLE control_plane.active_installations IN SHARE ROW EXCLUSIVE MODE");

static KNOWN: Statement = Statement::new(
    c"SELECT i.cluster::text, i.database::text FROM control_plane.active_installations AS i WHERE (i.cluster, i.database) <> ($1, $2) ORDER BY i.recorded_at, i.id",
);

static FORGET: Statement = Statement::new(c"DELETE FROM control_plane.active_installations");

static RECORD: Statement = Statement::new(
    c"INSERT INTO control_plane.active_installations (cluster, database) VALUES ($1, $2)",
);

/// confirm_restored: from now on this database acts by itself. False where it did already.
pub(crate) fn confirm_restored<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of_administrator(session, caller)?;
    session::require_writable(c"confirm_restored()");
    // Of two at once the second finds nothing to confirm.
    session.run(&LOCK, &[])?;
    if is_own(session)? {
        return Ok(Answer::Boolean(false));
    }
    let known = session.run(&KNOWN, &here())?;
    let known: Vec<Value> = known
        .iter()
        .map(|row| json!({"cluster": row.text(0), "database": row.text(1)}))
        .collect();
    let mut record = Record::new("database.confirmed");
    record.detail = Some(json!({"restored_from": known}));
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    session.run(&FORGET, &[])?;
    session.run(&RECORD, &here())?;
    wake::changed();
    wake::at_commit();
    Ok(Answer::Boolean(true))
}
