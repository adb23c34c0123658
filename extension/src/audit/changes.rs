//! The record of changes. A function declares what it is about to do; the triggers on the tables
//! write that record once, whatever number of statements it takes. A statement that nobody declared
//! went past the functions, and is recorded as what it is: audit.direct_change.

use crate::access::identity::Caller;
use crate::audit::record::{self, Record};
use crate::backend::session::Session;
use crate::error::Result;
use serde_json::json;
use std::cell::RefCell;

/// What the current function said it would do.
enum Declared {
    /// A change that is still to be recorded.
    Pending(Box<(Caller, Record)>),
    /// One that is recorded, or whose record is written elsewhere.
    Recorded,
}

thread_local! {
    // Backend memory, which no setting and no statement can forge.
    static DECLARED: RefCell<Option<Declared>> = const { RefCell::new(None) };
}

/// Ends the declaration when it is dropped, by an error too.
#[must_use]
pub(crate) struct Declaration(());

impl Drop for Declaration {
    fn drop(&mut self) {
        forget();
    }
}

/// Declares a change; the first statement that changes a table while the declaration lives writes
/// the record.
pub(crate) fn declare(caller: &Caller, record: Record) -> Declaration {
    let pending = Declared::Pending(Box::new((caller.clone(), record)));
    DECLARED.with_borrow_mut(|declared| *declared = Some(pending));
    Declaration(())
}

/// Declares that what changes now belongs to something that is recorded by itself: a read, or the
/// change that follows in the same function.
pub(crate) fn recorded_elsewhere() -> Declaration {
    DECLARED.with_borrow_mut(|declared| *declared = Some(Declared::Recorded));
    Declaration(())
}

/// Forgets any declaration.
pub(crate) fn forget() {
    DECLARED.with_borrow_mut(|declared| *declared = None);
}

/// Which table a statement changed, and how.
pub(crate) struct Changed {
    pub(crate) table: String,
    pub(crate) operation: &'static str,
    /// How many rows; `None` where Postgres does not count them.
    pub(crate) rows: Option<i64>,
}

/// What the triggers do after each statement.
pub(crate) fn after_statement(session: &Session, caller: &Caller, changed: &Changed) -> Result<()> {
    // Triggers of a statement fire although it changed nothing.
    if changed.rows == Some(0) {
        return Ok(());
    }
    let declared = DECLARED.with_borrow_mut(|declared| match declared {
        None => None,
        Some(_) => declared.replace(Declared::Recorded),
    });
    match declared {
        Some(Declared::Recorded) => Ok(()),
        Some(Declared::Pending(change)) => {
            let (caller, record) = *change;
            record::write(session, &caller, record)
        }
        None => direct_change(session, caller, changed),
    }
}

fn direct_change(session: &Session, caller: &Caller, changed: &Changed) -> Result<()> {
    let mut record = Record::new("audit.direct_change");
    record.detail = Some(json!({
        "table": changed.table,
        "operation": changed.operation,
        "rows": changed.rows,
    }));
    record::write(session, caller, record)
}
