//! What sees a statement on its way: after its analysis, when its execution begins and goes on, and
//! where it is no query.
//!
//! Whoever was preloaded before us is shown a sensitive statement with the contents of its literals
//! masked, at the same length, and with a query id of 0, for which pg_stat_statements keeps nothing.
#![allow(unsafe_code)]

use super::{calls, masked, open_queries, plan_sources, sensitive};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

struct Previous {
    analysis: pg_sys::post_parse_analyze_hook_type,
    start: pg_sys::ExecutorStart_hook_type,
    run: pg_sys::ExecutorRun_hook_type,
    end: pg_sys::ExecutorEnd_hook_type,
    utility: pg_sys::ProcessUtility_hook_type,
}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

unsafe extern "C-unwind" {
    // Without pgrx's guard, as the hooks themselves are called.
    #[link_name = "standard_ExecutorStart"]
    fn standard_start(query: *mut pg_sys::QueryDesc, flags: c_int);
    #[cfg(not(feature = "pg18"))]
    #[link_name = "standard_ExecutorRun"]
    fn standard_run(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    #[cfg(feature = "pg18")]
    #[link_name = "standard_ExecutorRun"]
    fn standard_run(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
    );
    #[link_name = "standard_ExecutorEnd"]
    fn standard_end(query: *mut pg_sys::QueryDesc);
    #[link_name = "standard_ProcessUtility"]
    fn standard_utility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Installs the hooks; once, while the library is preloaded.
pub(crate) fn install() {
    // SAFETY: the postmaster has one thread while it loads libraries.
    unsafe {
        PREVIOUS.get_or_init(|| Previous {
            analysis: pg_sys::post_parse_analyze_hook,
            start: pg_sys::ExecutorStart_hook,
            run: pg_sys::ExecutorRun_hook,
            end: pg_sys::ExecutorEnd_hook,
            utility: pg_sys::ProcessUtility_hook,
        });
        pg_sys::post_parse_analyze_hook = Some(after_analysis);
        pg_sys::ExecutorStart_hook = Some(at_start);
        pg_sys::ExecutorRun_hook = Some(at_run);
        pg_sys::ExecutorEnd_hook = Some(at_end);
        pg_sys::ProcessUtility_hook = Some(at_utility);
    }
}

/// Whether a text is sensitive that is not the client's statement itself, of which is known already.
///
/// # Safety
/// A C string or NULL.
unsafe fn is_inner_text_sensitive(text: *const c_char) -> bool {
    // SAFETY: the caller's promise, and a pointer that is only compared.
    unsafe {
        !text.is_null()
            && text != pg_sys::debug_query_string
            && sensitive::is_text_sensitive(CStr::from_ptr(text).to_bytes())
    }
}

/// # Safety
/// The hook's own arguments.
unsafe fn analysis_of_others(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    if let Some(previous) = PREVIOUS.get().and_then(|hooks| hooks.analysis) {
        // SAFETY: the caller's promise; no frame here holds anything to be dropped.
        unsafe { previous(state, query, jumble) };
    }
}

unsafe extern "C-unwind" fn after_analysis(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: Postgres's arguments; no frame here holds anything to be dropped. The text is put back,
    // and an error ends the analysis whose it is.
    unsafe {
        let text = (*state).p_sourcetext;
        let outer = sensitive::is_statement_sensitive();
        let itself = is_inner_text_sensitive(text) || calls::in_query(query);
        if !outer && !itself {
            analysis_of_others(state, query, jumble);
            return;
        }
        sensitive::mark();
        (*query).queryId = 0;
        if text.is_null() {
            analysis_of_others(state, query, jumble);
        } else {
            if itself || text == pg_sys::debug_query_string {
                sensitive::remember(text);
                plan_sources::mask_copy_of(text);
            }
            let shown = masked::copy(text);
            (*state).p_sourcetext = shown;
            analysis_of_others(state, query, jumble);
            (*state).p_sourcetext = text;
            masked::free(shown);
        }
        (*query).queryId = 0;
    }
}

/// Shows a statement to others as they may see it.
///
/// # Safety
/// A statement that is executed.
unsafe fn shield(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the caller's promise. The current context is the one in which the statement was put
    // together, so the copy lives as long.
    unsafe {
        let text = (*query).sourceText;
        if !text.is_null() {
            let shown = masked::copy(text);
            (*query).sourceText = shown;
            // What pg_cursors shows, to whoever has the session next.
            if let Some(portal) = pg_sys::ActivePortal.as_mut()
                && portal.sourceText == text
            {
                portal.sourceText = shown;
            }
        }
        (*(*query).plannedstmt).queryId = 0;
    }
}

unsafe extern "C-unwind" fn at_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    let next = PREVIOUS
        .get()
        .and_then(|hooks| hooks.start)
        .unwrap_or(standard_start);
    // SAFETY: Postgres's arguments; no frame here holds anything to be dropped.
    unsafe {
        let before =
            sensitive::is_statement_sensitive() || is_inner_text_sensitive((*query).sourceText);
        open_queries::set(query, before, sensitive::transaction());
        if before {
            sensitive::mark();
            shield(query);
        }
        next(query, flags);
        // A function of ours in the plan shows when its expression is set up.
        if !before && sensitive::is_statement_sensitive() {
            open_queries::set(query, true, sensitive::transaction());
            shield(query);
        }
    }
}

#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" fn at_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    once: bool,
) {
    let next = PREVIOUS
        .get()
        .and_then(|hooks| hooks.run)
        .unwrap_or(standard_run);
    // SAFETY: as in `at_start`.
    unsafe { watched(query, || next(query, direction, count, once)) };
}

#[cfg(feature = "pg18")]
unsafe extern "C-unwind" fn at_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    let next = PREVIOUS
        .get()
        .and_then(|hooks| hooks.run)
        .unwrap_or(standard_run);
    // SAFETY: as in `at_start`.
    unsafe { watched(query, || next(query, direction, count)) };
}

/// # Safety
/// A statement that is executed, and a closure that calls into Postgres and holds nothing to be dropped.
unsafe fn watched(query: *mut pg_sys::QueryDesc, run: impl FnOnce()) {
    // SAFETY: the caller's promise.
    unsafe {
        let before = sensitive::is_statement_sensitive()
            || open_queries::contain(query, sensitive::transaction());
        let plan = (*query).plannedstmt;
        let parallel = (*plan).parallelModeNeeded;
        if before {
            sensitive::mark();
            // A parallel worker is a process of its own, and knows nothing of what is sensitive here. After an
            // error a plan that is kept goes on without workers.
            (*plan).parallelModeNeeded = false;
        }
        run();
        (*plan).parallelModeNeeded = parallel;
        // What it called may have called us.
        if !before && sensitive::is_statement_sensitive() {
            open_queries::set(query, true, sensitive::transaction());
            shield(query);
        }
    }
}

unsafe extern "C-unwind" fn at_end(query: *mut pg_sys::QueryDesc) {
    let next = PREVIOUS
        .get()
        .and_then(|hooks| hooks.end)
        .unwrap_or(standard_end);
    // SAFETY: as in `at_start`. After an error the message ends, and with it what it says here.
    unsafe {
        let transaction = sensitive::transaction();
        let ending =
            !sensitive::is_statement_sensitive() && open_queries::contain(query, transaction);
        if ending {
            sensitive::set_ending(true);
        }
        next(query);
        if ending {
            sensitive::set_ending(false);
        }
        open_queries::set(query, false, transaction);
    }
}

unsafe extern "C-unwind" fn at_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    let next = PREVIOUS
        .get()
        .and_then(|hooks| hooks.utility)
        .unwrap_or(standard_utility);
    // SAFETY: as in `at_start`. The masked text serves for messages, and as the text of what the statement
    // prepares or declares; the statement itself is parsed already.
    unsafe {
        let sensitive = sensitive::is_statement_sensitive()
            || is_inner_text_sensitive(text)
            || calls::in_utility((*statement).utilityStmt);
        let mut shown = text;
        if sensitive {
            sensitive::mark();
            (*statement).queryId = 0;
            if !text.is_null() {
                shown = masked::copy(text);
            }
        }
        next(
            statement,
            shown,
            read_only,
            context,
            parameters,
            environment,
            destination,
            completion,
        );
    }
}
