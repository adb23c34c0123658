//! Erasing what erasure leaves behind: a row whose ciphertext was set to NULL, or that was removed, lies in the
//! table as a dead one until a VACUUM takes it away.
#![allow(unsafe_code)]

use crate::backend::transaction::{self, Failure};
use crate::workers::wake;
use pgrx::pg_sys;

// Without giving empty pages back to the file system: that needs a lock that readers would wait for.
const VACUUM: &core::ffi::CStr =
    c"VACUUM (TRUNCATE off) control_plane.secrets, control_plane.secret_consumers";

/// What is to be vacuumed away.
pub(super) struct Erased {
    /// How many erasures have been seen.
    seen: usize,
    /// The first transaction that came after them; `None` while there is nothing to do.
    before: Option<pg_sys::TransactionId>,
}

impl Erased {
    /// Begins with what was erased before the server's start: nobody knows whether it is gone.
    pub(super) fn before_start() -> Self {
        Self {
            seen: wake::erasures(),
            before: Some(next_transaction()),
        }
    }

    /// Whether there is something to vacuum away, and nobody can see it any more: what a transaction might
    /// still look at would stay.
    pub(super) fn is_removable(&mut self) -> Result<bool, Failure> {
        let erasures = wake::erasures();
        if self.before.is_none() && self.seen != erasures {
            self.seen = erasures;
            self.before = Some(next_transaction());
        }
        let Some(before) = self.before else {
            return Ok(false);
        };
        Ok(oldest_needed()?.is_some_and(|oldest| {
            // SAFETY: compares two numbers.
            unsafe { pg_sys::TransactionIdFollowsOrEquals(oldest, before) }
        }))
    }

    /// Vacuums; outside of any transaction, at the top level of a process.
    pub(super) fn vacuum(&mut self) -> Result<(), Failure> {
        run()?;
        self.before = None;
        Ok(())
    }
}

/// VACUUM begins and ends transactions of its own. What it is told, and what it keeps between them, lies in
/// memory that outlives them.
fn run() -> Result<(), Failure> {
    // SAFETY: a context of our own, given back below.
    let memory = unsafe {
        pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_secrets vacuum".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    };
    let vacuumed = transaction::attempt_bare(|| {
        // SAFETY: in a transaction that is no block, with nothing open in it, as VACUUM wants it: it leaves
        // with another one. The one statement of the text is what it is.
        unsafe {
            pg_sys::PortalContext = memory;
            let outer = pg_sys::MemoryContextSwitchTo(memory);
            let parsed = pg_sys::pg_parse_query(VACUUM.as_ptr());
            let statement = pg_sys::list_nth(parsed, 0).cast::<pg_sys::RawStmt>();
            let state = pg_sys::make_parsestate(std::ptr::null_mut());
            (*state).p_sourcetext = VACUUM.as_ptr();
            pg_sys::MemoryContextSwitchTo(outer);
            pg_sys::ExecVacuum(state, (*statement).stmt.cast(), true);
        }
        Ok(())
    });
    // SAFETY: no transaction is open any more that could use it.
    unsafe {
        pg_sys::PortalContext = std::ptr::null_mut();
        pg_sys::MemoryContextDelete(memory);
    }
    vacuumed
}

fn next_transaction() -> pg_sys::TransactionId {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::ReadNextTransactionId() }
}

/// The oldest transaction whose view of the secrets somebody may still have; `None` where the table is gone.
fn oldest_needed() -> Result<Option<pg_sys::TransactionId>, Failure> {
    transaction::attempt_bare(|| {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: a lookup in a transaction, and a table that is closed as it was opened.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"control_plane".as_ptr(), true);
            let table = pg_sys::get_relname_relid(c"secrets".as_ptr(), schema);
            let table = pg_sys::try_table_open(table, lock);
            if table.is_null() {
                return Ok(None);
            }
            let oldest = pg_sys::GetOldestNonRemovableTransactionId(table);
            pg_sys::table_close(table, lock);
            Ok(Some(oldest))
        }
    })
}
