//! Keeping values out of the server's log, its statistics, and other libraries.
//!
//! `sensitive` knows whether what this process does now may hold a value: by the statement's text, or
//! because one of the hooks in `statement_hooks` and `function_hook`, or a call of one of our functions,
//! said so. `log_hook` masks records by it; the other hooks show masked text to everybody else.
//!
//! The hooks stand around everything that the server does, and call what was there before them without
//! pgrx's guard: an error that passes through that guard is raised anew with what pgrx knows of it, which
//! is not its SQLSTATE where somebody made up his own, nor where it came from. So no frame of a hook holds
//! anything that would have to be dropped, and Postgres's functions are called by their own names.

pub(crate) mod activity;
mod calls;
mod function_hook;
mod log_hook;
mod masked;
mod open_queries;
mod plan_sources;
mod remembered;
pub(crate) mod sensitive;
mod statement_hooks;
mod verdicts;
pub(crate) mod wrappers;

/// Installs the hooks; once, while the library is preloaded, before any other hook of ours.
pub(crate) fn install() {
    if cfg!(feature = "unredacted") {
        pgrx::warning!("pg_secrets was built for a test, and masks nothing");
        return;
    }
    log_hook::install();
    statement_hooks::install();
    function_hook::install();
}
