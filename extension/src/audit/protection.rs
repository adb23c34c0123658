//! Nobody changes or removes what is recorded. The triggers on the audit's tables let through what
//! the workers of this extension do in their own processes, and refuse everything else.

use crate::access::identity::Caller;
use crate::audit::durable;
use crate::audit::record::{Encoder, Record};
use crate::error::{Error, Result};
use serde_json::json;
use std::cell::Cell;

thread_local! {
    // Backend memory, which no setting and no statement can forge.
    static PERMITTED: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this process may change the audit's tables.
#[must_use]
pub(super) struct Permit(());

impl Drop for Permit {
    fn drop(&mut self) {
        PERMITTED.set(false);
    }
}

/// Permits this process to change the audit's tables.
pub(super) fn permit() -> Permit {
    PERMITTED.set(true);
    Permit(())
}

/// What the triggers do before a statement changes a table of the audit: refuse it, and record durably
/// that somebody tried.
pub(crate) fn before_statement(caller: &Caller, table: &str, operation: &str) -> Result<()> {
    if PERMITTED.get() {
        return Ok(());
    }
    let mut record = Record::new("audit.change_refused");
    record.outcome = "denied";
    record.detail = Some(json!({"table": table, "operation": operation}));
    let record = Encoder::new(caller).encode(record)?;
    if operation == "TRUNCATE" && table == "audit_logs" {
        // The statement has locked the table, and nobody can write to it before this one has failed.
        durable::hand_in(&record)?;
    } else {
        durable::write(&[record])?;
    }
    Err(
        Error::forbidden("what the audit has recorded cannot be changed or removed").with_hint(
            "Old records go by themselves once pg_secrets.audit_retention is set in postgresql.conf.",
        ),
    )
}
