//! From what a function found to the result that Postgres expects.
//!
//! Sets are materialised in memory of their own: a tuplestore that runs out of its limit writes to
//! pgsql_tmp, and no plaintext may ever stand there.
#![allow(unsafe_code)]

use crate::backend::session::{Row, Rows};
use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::ptr::null_mut;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// The most that one answer's values may be together, in bytes.
pub(crate) const SET_LIMIT: usize = 256 << 20;

/// What the tuplestore may hold before it would spill, in kB: well above [`SET_LIMIT`] with the
/// rows' overhead, so that it never does.
const TUPLESTORE_KB: i32 = 1 << 20;

/// What a function answers.
pub(crate) enum Answer<'s> {
    Void,
    Text(Zeroizing<String>),
    /// What is no secret.
    Bytes(Vec<u8>),
    Integer(i32),
    Bigint(i64),
    Boolean(bool),
    Uuid(Uuid),
    /// One composite: the row's columns, and behind them a secret where the type has one.
    One(Composite<'s>),
    /// A set of rows without secrets.
    Rows(Rows<'s>),
    /// A set of composites.
    Many(Vec<Composite<'s>>),
}

/// A row to be answered, with the secret that stands in its last column.
pub(crate) struct Composite<'s> {
    pub(crate) row: Row<'s>,
    pub(crate) secret: Option<Zeroizing<Vec<u8>>>,
}

impl Answer<'_> {
    /// Forms the result.
    ///
    /// # Safety
    /// `call` is the current call of a function whose declared result is what `self` is, and SPI is
    /// connected.
    pub(super) unsafe fn into_datum(
        self,
        call: &mut pg_sys::FunctionCallInfoBaseData,
    ) -> Result<pg_sys::Datum> {
        call.isnull = false;
        match self {
            Answer::Void => Ok(pg_sys::Datum::from(0)),
            Answer::Integer(integer) => Ok(pg_sys::Datum::from(integer)),
            Answer::Bigint(bigint) => Ok(pg_sys::Datum::from(bigint)),
            Answer::Boolean(boolean) => Ok(pg_sys::Datum::from(boolean)),
            Answer::Uuid(uuid) => {
                in_upper_context(16, |room| room.copy_from_slice(uuid.as_bytes()))
            }
            // A bytea and a text have the same form.
            Answer::Bytes(bytes) => varlena(&bytes),
            Answer::Text(text) => varlena(text.as_bytes()),
            Answer::One(composite) => {
                // SAFETY: passed on to the caller.
                let descriptor = unsafe { result_descriptor(call)? };
                // SAFETY: the tuple is formed for this very descriptor and copied out of SPI's
                // memory; the first one is erased, since it holds the value.
                unsafe {
                    let tuple = composite.form(descriptor)?;
                    let result = pg_sys::SPI_returntuple(tuple, descriptor);
                    let size = (*tuple).t_len as usize;
                    std::slice::from_raw_parts_mut((*tuple).t_data.cast::<u8>(), size).zeroize();
                    Ok(pg_sys::Datum::from(result))
                }
            }
            Answer::Rows(rows) => {
                let composites = rows.iter().map(|row| Composite { row, secret: None });
                // SAFETY: passed on to the caller.
                unsafe { materialise(call, composites) }
            }
            // SAFETY: passed on to the caller.
            Answer::Many(composites) => unsafe { materialise(call, composites.into_iter()) },
        }
    }
}

/// A text or bytea in the memory of whoever called us; the copy on the way is erased.
fn varlena(bytes: &[u8]) -> Result<pg_sys::Datum> {
    // SAFETY: the varlena is ours, and copied before it is erased.
    unsafe {
        let (datum, size) = text_datum(bytes)?;
        let copy = pg_sys::SPI_datumTransfer(datum, false, -1);
        erase(datum, size);
        Ok(copy)
    }
}

impl Composite<'_> {
    /// # Safety
    /// `descriptor` is the declared composite's; what is formed lives in the current memory context.
    unsafe fn form(self, descriptor: pg_sys::TupleDesc) -> Result<pg_sys::HeapTuple> {
        // SAFETY: a valid descriptor has natts attributes.
        let width = usize::try_from(unsafe { (*descriptor).natts }).unwrap_or(0);
        let mut values = Vec::with_capacity(width);
        let mut nulls = Vec::with_capacity(width);
        let columns = width - usize::from(self.secret.is_some());
        for column in 0..columns {
            let number = i32::try_from(column + 1).unwrap_or(0);
            // SAFETY: a valid descriptor; columns count from one.
            let expected = unsafe { pg_sys::SPI_gettypeid(descriptor, number) };
            if self.row.type_oid(column) != expected {
                return Err(Error::internal("a statement and its result type differ"));
            }
            let datum = self.row.datum(column);
            nulls.push(datum.is_none());
            values.push(datum.unwrap_or(pg_sys::Datum::from(0)));
        }
        let mut copy = None;
        if let Some(secret) = self.secret {
            // SAFETY: palloc'ed by us, erased below.
            let (datum, size) = unsafe { text_datum(&secret)? };
            copy = Some((datum, size));
            values.push(datum);
            nulls.push(false);
        }
        // SAFETY: as many values and nulls as the descriptor has attributes, of its types.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            if let Some((datum, size)) = copy {
                erase(datum, size);
            }
            Ok(tuple)
        }
    }
}

/// # Safety
/// `call` is a set-returning call.
unsafe fn materialise<'s>(
    call: &mut pg_sys::FunctionCallInfoBaseData,
    composites: impl Iterator<Item = Composite<'s>>,
) -> Result<pg_sys::Datum> {
    let info = call.resultinfo.cast::<pg_sys::ReturnSetInfo>();
    // SAFETY: for a set-returning call Postgres passes a ReturnSetInfo that outlives it; the store
    // and its descriptor are made in the memory context that it names for them.
    unsafe {
        let materialise = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
        if info.is_null() || (*info).allowedModes & (materialise as i32) == 0 {
            return Err(Error::internal("a set was asked for where none can be"));
        }
        let outer = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
        let descriptor = result_descriptor(call)?;
        let random_access = (*info).allowedModes
            & (pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32)
            != 0;
        let store = pg_sys::tuplestore_begin_heap(random_access, false, TUPLESTORE_KB);
        (*info).returnMode = materialise;
        (*info).setResult = store;
        (*info).setDesc = descriptor;
        pg_sys::MemoryContextSwitchTo(outer);
        for composite in composites {
            let tuple = composite.form(descriptor)?;
            pg_sys::tuplestore_puttuple(store, tuple);
            let size = (*tuple).t_len as usize;
            std::slice::from_raw_parts_mut((*tuple).t_data.cast::<u8>(), size).zeroize();
            pg_sys::heap_freetuple(tuple);
        }
    }
    call.isnull = true;
    Ok(pg_sys::Datum::from(0))
}

/// # Safety
/// `call` is the current call.
unsafe fn result_descriptor(
    call: &mut pg_sys::FunctionCallInfoBaseData,
) -> Result<pg_sys::TupleDesc> {
    let mut descriptor = null_mut();
    // SAFETY: fills in the descriptor for a function that is declared to return a composite.
    let class = unsafe { pg_sys::get_call_result_type(call, null_mut(), &raw mut descriptor) };
    if class != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE || descriptor.is_null() {
        return Err(Error::internal(
            "the function is not declared to return a row",
        ));
    }
    Ok(descriptor)
}

/// A text in the current memory context, with its size for [`erase`].
///
/// # Safety
/// In a backend.
unsafe fn text_datum(bytes: &[u8]) -> Result<(pg_sys::Datum, usize)> {
    let length = i32::try_from(bytes.len()).map_err(|_| Error::internal("text"))?;
    // SAFETY: copies as many bytes as the slice has.
    let text = unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), length) };
    Ok((pg_sys::Datum::from(text), bytes.len() + pg_sys::VARHDRSZ))
}

/// # Safety
/// `datum` points to `size` bytes that nobody needs any more.
unsafe fn erase(datum: pg_sys::Datum, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(datum.cast_mut_ptr::<u8>(), size).zeroize() };
}

fn in_upper_context(size: usize, fill: impl FnOnce(&mut [u8])) -> Result<pg_sys::Datum> {
    // SAFETY: SPI_palloc gives `size` bytes in the memory of whoever called us; they are
    // written before they are read.
    unsafe {
        let room = pg_sys::SPI_palloc(size).cast::<u8>();
        std::ptr::write_bytes(room, 0, size);
        fill(std::slice::from_raw_parts_mut(room, size));
        Ok(pg_sys::Datum::from(room))
    }
}

/// Refuses a single answer of `length` bytes that would spill: for a function in FROM that returns
/// one row, the executor itself keeps that row in a store bounded by work_mem.
pub(crate) fn refuse_spill(length: usize) -> Result<()> {
    // SAFETY: an integer that only this backend changes.
    let work_mem_kb = unsafe { pg_sys::work_mem };
    let limit = usize::try_from(work_mem_kb)
        .unwrap_or(0)
        .saturating_mul(1024);
    // Twice, and some more, for the row's other columns and the copies on the way.
    if length.saturating_mul(2).saturating_add(16 << 10) <= limit {
        return Ok(());
    }
    Err(Error::unprocessable(
        "with this work_mem Postgres might write the value to a temporary file",
    )
    .with_hint("Raise work_mem, for instance with SET work_mem = '4MB'."))
}

const _: () = assert!(SET_LIMIT / 1024 < TUPLESTORE_KB as usize / 2);
