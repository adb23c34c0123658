//! What the planner is told for a moment.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// While it lives, statements look rows up by index: a plan that was made while a table was small would
/// read all of it when it is large; and plans that look costly for that are not compiled. An error leaves the reset to the abort that follows it.
#[must_use]
pub(crate) struct ByIndex(core::ffi::c_int);

/// Has statements look rows up by index.
pub(crate) fn by_index() -> ByIndex {
    // SAFETY: settings of the session's own, for a level that ends with the value.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        for method in [
            c"enable_seqscan",
            c"enable_hashjoin",
            c"enable_mergejoin",
            c"jit",
        ] {
            pg_sys::set_config_option(
                method.as_ptr(),
                c"off".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        ByIndex(level)
    }
}

impl Drop for ByIndex {
    fn drop(&mut self) {
        // SAFETY: the level that was begun; levels end in the reverse order of their beginning.
        unsafe { pg_sys::AtEOXact_GUC(true, self.0) };
    }
}
