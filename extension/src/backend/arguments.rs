//! The arguments of a call. NULL where a value is needed is the caller's mistake and answered as
//! such; nothing is STRICT, so that NULL never silently gives NULL.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use pgrx::{FromDatum, JsonB, pg_sys};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// The arguments of one call, by position.
pub(crate) struct Arguments<'c> {
    values: &'c [pg_sys::NullableDatum],
}

impl<'c> Arguments<'c> {
    /// # Safety
    /// `call` is the call that Postgres made of the current function, with arguments of the types
    /// that sql/ declares.
    pub(super) unsafe fn of(call: &'c pg_sys::FunctionCallInfoBaseData) -> Self {
        let count = usize::try_from(call.nargs).unwrap_or(0);
        // SAFETY: Postgres allocates nargs elements behind the struct.
        let values = unsafe { call.args.as_slice(count) };
        Self { values }
    }

    fn get<T: FromDatum>(&self, position: usize) -> Option<T> {
        let argument = self.values.get(position)?;
        // SAFETY: the declared type of the argument is the one that T reads (`Self::of`).
        unsafe { T::from_datum(argument.value, argument.isnull) }
    }

    fn required<T: FromDatum>(&self, position: usize, name: &str) -> Result<T> {
        self.get(position).ok_or_else(|| Error::null(name))
    }

    /// A text argument, or `None` for NULL.
    pub(crate) fn text(&self, position: usize) -> Option<String> {
        self.get(position)
    }

    /// A text argument that must be there.
    pub(crate) fn required_text(&self, position: usize, name: &str) -> Result<String> {
        self.required(position, name)
    }

    /// A uuid argument that must be there.
    pub(crate) fn required_uuid(&self, position: usize, name: &str) -> Result<Uuid> {
        self.required::<pgrx::Uuid>(position, name)
            .map(|uuid| Uuid::from_bytes(*uuid.as_bytes()))
    }

    /// An integer argument.
    pub(crate) fn integer(&self, position: usize) -> Option<i32> {
        self.get(position)
    }

    /// A jsonb argument.
    pub(crate) fn json(&self, position: usize) -> Option<serde_json::Value> {
        self.get::<JsonB>(position).map(|json| json.0)
    }

    /// A text[] argument without NULL elements.
    pub(crate) fn texts(&self, position: usize, name: &str) -> Result<Option<Vec<String>>> {
        let Some(elements) = self.get::<Vec<Option<String>>>(position) else {
            return Ok(None);
        };
        let texts: Option<Vec<String>> = elements.into_iter().collect();
        texts.map(Some).ok_or_else(|| Error::null(name))
    }

    /// A timestamptz argument, in microseconds since 2000.
    pub(crate) fn timestamp(&self, position: usize) -> Option<i64> {
        self.get(position)
    }

    /// An interval argument.
    pub(crate) fn interval(&self, position: usize) -> Option<pg_sys::Interval> {
        let argument = self.values.get(position).filter(|given| !given.isnull)?;
        let pointer = argument.value.cast_mut_ptr::<pg_sys::Interval>();
        // SAFETY: a non-NULL argument declared interval points to one, for the length of the call.
        unsafe { pointer.as_ref().copied() }
    }

    /// A secret: the one copy that we make erases itself, and so is one that Postgres made to
    /// unpack the argument.
    pub(crate) fn secret(&self, position: usize) -> Option<Zeroizing<String>> {
        let argument = self.values.get(position).filter(|given| !given.isnull)?;
        let packed = argument.value.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a non-NULL argument declared text is a varlena; the unpacked one is ours alone
        // when it is not the argument itself.
        unsafe {
            let unpacked = pg_sys::pg_detoast_datum_packed(packed);
            let length = pgrx::varsize_any_exhdr(unpacked);
            let data = pgrx::vardata_any(unpacked).cast::<u8>().cast_mut();
            let bytes = std::slice::from_raw_parts_mut(data, length);
            let text = std::str::from_utf8(bytes)
                .ok()
                .map(|text| Zeroizing::new(text.to_owned()));
            if unpacked != packed {
                bytes.zeroize();
                pg_sys::pfree(unpacked.cast());
            }
            text
        }
    }
}
