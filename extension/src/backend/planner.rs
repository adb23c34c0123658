//! What the planner is told while our own statements run.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// While it lives, the planner is told something else than its settings say.
#[must_use]
pub(crate) struct Told([bool; 4]);

/// Has statements look rows up by index: a plan that was made while a table was small, or was found empty by
/// a VACUUM, would read all of it when it is large; and plans that look costly for that are not compiled.
pub(crate) fn by_index() -> Told {
    tell(|[_, hashjoin, mergejoin, _]| [false, hashjoin, mergejoin, false])
}

/// Has joins look up row after row, where both sides are large and what is asked for is a page.
pub(crate) fn row_by_row() -> Told {
    tell(|[seqscan, _, _, jit]| [seqscan, false, false, jit])
}

/// Changes the variables behind the settings of these names, and not the settings: those would cost each of
/// our statements more than the lookup does.
fn tell(change: impl FnOnce([bool; 4]) -> [bool; 4]) -> Told {
    // SAFETY: plain variables of a process with one thread, which the planner reads and nobody keeps a
    // reference to.
    unsafe {
        let before = [
            pg_sys::enable_seqscan,
            pg_sys::enable_hashjoin,
            pg_sys::enable_mergejoin,
            pg_sys::jit_enabled,
        ];
        set(change(before));
        Told(before)
    }
}

/// # Safety
/// In the thread that Postgres runs in.
unsafe fn set([seqscan, hashjoin, mergejoin, jit]: [bool; 4]) {
    // SAFETY: as the caller says.
    unsafe {
        pg_sys::enable_seqscan = seqscan;
        pg_sys::enable_hashjoin = hashjoin;
        pg_sys::enable_mergejoin = mergejoin;
        pg_sys::jit_enabled = jit;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // SAFETY: where it was made, also when an error is on its way as a panic.
        unsafe { set(self.0) };
    }
}
