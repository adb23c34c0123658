//! The way into every SQL function: guard, identity, owner, answer or error.
#![allow(unsafe_code)]

use crate::access::identity::Caller;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::lock_waits;
use crate::backend::owner::AsOwner;
use crate::backend::raise::Report;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::redaction::sensitive;
use crate::{audit, preload};
use pgrx::pg_sys::panic::{CaughtError, pgrx_extern_c_guard};
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// What a SQL function does, once it is known who calls: it runs as the extension's owner, with
/// SPI connected.
pub(crate) type Handler = for<'s> fn(&'s Session, &Caller, &Arguments<'_>) -> Result<Answer<'s>>;

/// Runs `handler` for a call from Postgres.
///
/// # Safety
/// `call` is what Postgres passed to the C function that sql/ declares for this handler.
pub(crate) unsafe fn enter(call: pg_sys::FunctionCallInfo, handler: Handler) -> pg_sys::Datum {
    let run = || -> Result<pg_sys::Datum> {
        // SAFETY: Postgres passes a valid call; nothing else refers to it meanwhile.
        let call = unsafe { &mut *call };
        preload::require()?;
        sensitive::mark();
        let caller = Caller::capture()?;
        caller.refuse_restricted_operation()?;
        // SAFETY: the function that Postgres called.
        let function = unsafe { (*call.flinfo).fn_oid };
        Session::with(|session| {
            let owner = AsOwner::of_function(function)?;
            let answer = {
                // SAFETY: the promise of this function's caller.
                let arguments = unsafe { Arguments::of(call) };
                handler(session, &caller, &arguments)?
            };
            drop(owner);
            // SAFETY: as above; SPI is still connected.
            unsafe { answer.into_datum(call) }
        })
    };
    // SAFETY: nothing in this frame needs to be dropped.
    unsafe { guarded(run) }
}

/// Runs the audit trigger.
///
/// # Safety
/// `call` is what Postgres passed to the C function that sql/ declares as the audit trigger.
pub(crate) unsafe fn enter_audit_trigger(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the promise of this function's caller.
    unsafe {
        enter_trigger(call, |function, trigger| {
            require_own_table(function, trigger, pg_sys::TRIGGER_EVENT_AFTER)?;
            let caller = Caller::capture()?;
            Session::with(|session| {
                let _owner = AsOwner::of_function(function)?;
                audit::changes::after_statement(session, &caller, &changed_table(trigger))
            })
        })
    }
}

/// Runs the trigger that protects the audit.
///
/// # Safety
/// `call` is what Postgres passed to the C function that sql/ declares as that trigger.
pub(crate) unsafe fn enter_protecting_trigger(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the promise of this function's caller.
    unsafe {
        enter_trigger(call, |function, trigger| {
            require_own_table(function, trigger, pg_sys::TRIGGER_EVENT_BEFORE)?;
            let caller = Caller::capture()?;
            let changed = changed_table(trigger);
            audit::protection::before_statement(&caller, &changed.table, changed.operation)
        })
    }
}

/// # Safety
/// `call` is what Postgres passed to a C function that sql/ declares as a trigger.
unsafe fn enter_trigger(
    call: pg_sys::FunctionCallInfo,
    work: impl FnOnce(pg_sys::Oid, &pg_sys::TriggerData) -> Result<()>,
) -> pg_sys::Datum {
    let run = || -> Result<pg_sys::Datum> {
        preload::require()?;
        // SAFETY: Postgres passes a valid call whose context is a TriggerData if it is a trigger's.
        let (function, trigger) = unsafe {
            let trigger = (*call).context.cast::<pg_sys::TriggerData>();
            if trigger.is_null() || (*trigger).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(Error::bad_input(
                    "this function is a trigger and nothing else",
                ));
            }
            ((*(*call).flinfo).fn_oid, &*trigger)
        };
        work(function, trigger)?;
        Ok(pg_sys::Datum::from(0))
    };
    // SAFETY: nothing in this frame needs to be dropped.
    unsafe { guarded(run) }
}

/// Refuses a trigger anywhere but where sql/ puts it: whoever may execute the function
/// could hang it on a table of the same name, and write records of changes that never were.
fn require_own_table(
    function: pg_sys::Oid,
    trigger: &pg_sys::TriggerData,
    expected: u32,
) -> Result<()> {
    let timing = trigger.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK;
    let of_statement = timing == expected && trigger.tg_event & pg_sys::TRIGGER_EVENT_ROW == 0;
    // SAFETY: a fired trigger has its relation open; the other is a catalogue lookup.
    let own_schema = unsafe {
        (*(*trigger.tg_relation).rd_rel).relnamespace == pg_sys::get_func_namespace(function)
    };
    if of_statement && own_schema {
        Ok(())
    } else {
        Err(Error::forbidden(
            "this trigger belongs to the tables of pg_secrets and to no other",
        ))
    }
}

/// Which table a trigger fires for, and what the statement did to it.
fn changed_table(trigger: &pg_sys::TriggerData) -> audit::changes::Changed {
    let mask = pg_sys::TRIGGER_EVENT_OPMASK;
    let (operation, rows) = match trigger.tg_event & mask {
        pg_sys::TRIGGER_EVENT_INSERT => ("INSERT", trigger.tg_newtable),
        pg_sys::TRIGGER_EVENT_UPDATE => ("UPDATE", trigger.tg_newtable),
        pg_sys::TRIGGER_EVENT_DELETE => ("DELETE", trigger.tg_oldtable),
        _ => ("TRUNCATE", std::ptr::null_mut()),
    };
    // SAFETY: the transition table that sql/40_audit.sql names, or NULL for TRUNCATE.
    let rows = (!rows.is_null()).then(|| unsafe { pg_sys::tuplestore_tuple_count(rows) });
    // SAFETY: a fired trigger has its relation open.
    let table = unsafe { pgrx::name_data_to_str(&(*(*trigger.tg_relation).rd_rel).relname) };
    audit::changes::Changed {
        table: table.to_owned(),
        operation,
        rows,
    }
}

/// Runs `work` so that a panic or a Postgres error becomes an ERROR once all of Rust's values are
/// dropped, and an error of ours becomes one with its SQLSTATE, DETAIL and HINT.
///
/// # Safety
/// The caller's frames hold nothing that needs to be dropped.
pub(super) unsafe fn guarded(work: impl FnOnce() -> Result<pg_sys::Datum>) -> pg_sys::Datum {
    let report_or_datum = || {
        let outer = lock_waits::begin();
        let locked = |caught| match lock_waits::exceeded() {
            Some(error) => Err(error),
            None => CaughtError::rethrow(caught),
        };
        let done = PgTryBuilder::new(AssertUnwindSafe(work))
            .catch_when(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, locked)
            .execute();
        lock_waits::end(outer);
        done.map_err(|error| Report::of(&error))
    };
    // SAFETY: the outcome needs no drop either way.
    unsafe {
        match pgrx_extern_c_guard(report_or_datum) {
            Ok(datum) => datum,
            Err(report) => report.raise(),
        }
    }
}
