//! The arguments of a call. NULL where a value is needed is the caller's mistake and answered as
//! such; nothing is STRICT, so that NULL never silently gives NULL.
//!
//! How long an argument is, is looked at before it is copied: where memory is short a copy that
//! Postgres cannot make is an ERROR, one that Rust cannot make ends the whole server.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use pgrx::{FromDatum, pg_sys};
use std::ffi::CStr;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// The longest text that names or describes something, in bytes. What each may have in characters
/// is far below.
const LONGEST_TEXT: usize = 16 << 10;

/// The longest list or document, in bytes.
const LONGEST_DOCUMENT: usize = 1 << 20;

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

    /// How many bytes a text, array or jsonb argument has, unpacked; 0 for NULL.
    fn size(&self, position: usize) -> usize {
        self.values
            .get(position)
            .filter(|given| !given.isnull)
            // SAFETY: a non-NULL argument of these types is a varlena; its header is looked at.
            .map_or(0, |given| unsafe {
                pg_sys::toast_raw_datum_size(given.value)
            })
    }

    fn at_most(&self, position: usize, limit: usize) -> Result<()> {
        if self.size(position) > limit + pg_sys::VARHDRSZ {
            return Err(Error::bad_input(format!(
                "an argument is longer than {limit} bytes"
            )));
        }
        Ok(())
    }

    /// A text argument, or `None` for NULL.
    pub(crate) fn text(&self, position: usize) -> Result<Option<String>> {
        self.at_most(position, LONGEST_TEXT)?;
        Ok(self.get(position))
    }

    /// A text argument that must be there.
    pub(crate) fn required_text(&self, position: usize, name: &str) -> Result<String> {
        self.text(position)?.ok_or_else(|| Error::null(name))
    }

    /// A uuid argument.
    pub(crate) fn uuid(&self, position: usize) -> Option<Uuid> {
        self.get::<pgrx::Uuid>(position)
            .map(|uuid| Uuid::from_bytes(*uuid.as_bytes()))
    }

    /// A uuid argument that must be there.
    pub(crate) fn required_uuid(&self, position: usize, name: &str) -> Result<Uuid> {
        self.uuid(position).ok_or_else(|| Error::null(name))
    }

    /// Whether an argument is NULL or was left out.
    pub(crate) fn is_null(&self, position: usize) -> bool {
        self.values.get(position).is_none_or(|given| given.isnull)
    }

    /// A bytea argument of at most `limit` bytes that must be there.
    pub(crate) fn bytes(&self, position: usize, name: &str, limit: usize) -> Result<Vec<u8>> {
        let size = self.size(position).saturating_sub(pg_sys::VARHDRSZ);
        if size > limit {
            return Err(Error::too_large(format!(
                "{name} has {size} bytes, and at most {limit} are allowed"
            )));
        }
        self.get(position).ok_or_else(|| Error::null(name))
    }

    /// An integer argument.
    pub(crate) fn integer(&self, position: usize) -> Option<i32> {
        self.get(position)
    }

    /// A boolean argument.
    pub(crate) fn boolean(&self, position: usize) -> Option<bool> {
        self.get(position)
    }

    /// A bigint argument.
    pub(crate) fn bigint(&self, position: usize) -> Option<i64> {
        self.get(position)
    }

    /// A jsonb argument. One that holds what serde_json does not take, as 1e400, is an error.
    pub(crate) fn json(&self, position: usize) -> Result<Option<serde_json::Value>> {
        self.at_most(position, LONGEST_DOCUMENT)?;
        let Some(argument) = self.values.get(position).filter(|given| !given.isnull) else {
            return Ok(None);
        };
        // SAFETY: the output function of the argument's declared type gives a C string in the
        // current memory context.
        let text = unsafe {
            let text = pg_sys::OidOutputFunctionCall(pg_sys::F_JSONB_OUT.into(), argument.value);
            CStr::from_ptr(text)
        };
        serde_json::from_slice(text.to_bytes())
            .map(Some)
            .map_err(|_| {
                Error::bad_input(
                    "a jsonb argument is nested too deeply, or has a number out of range",
                )
            })
    }

    /// A text[] argument without NULL elements.
    pub(crate) fn texts(&self, position: usize, name: &str) -> Result<Option<Vec<String>>> {
        self.at_most(position, LONGEST_DOCUMENT)?;
        let Some(elements) = self.get::<Vec<Option<String>>>(position) else {
            return Ok(None);
        };
        let texts: Option<Vec<String>> = elements.into_iter().collect();
        texts.map(Some).ok_or_else(|| Error::null(name))
    }

    /// A uuid[] argument without NULL elements.
    pub(crate) fn uuids(&self, position: usize, name: &str) -> Result<Option<Vec<Uuid>>> {
        self.at_most(position, LONGEST_DOCUMENT)?;
        let Some(elements) = self.get::<Vec<Option<pgrx::Uuid>>>(position) else {
            return Ok(None);
        };
        let uuids = elements.into_iter();
        let uuids = uuids.map(|uuid| uuid.map(|uuid| Uuid::from_bytes(*uuid.as_bytes())));
        let uuids: Option<Vec<Uuid>> = uuids.collect();
        uuids.map(Some).ok_or_else(|| Error::null(name))
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

    /// A secret of at most `limit` bytes. The one copy that we make erases itself; one that Postgres
    /// made to unpack the argument is erased here.
    pub(crate) fn secret(
        &self,
        position: usize,
        name: &str,
        limit: usize,
    ) -> Result<Zeroizing<String>> {
        let argument = self.values.get(position).filter(|given| !given.isnull);
        let argument = argument.ok_or_else(|| Error::null(name))?;
        let size = self.size(position).saturating_sub(pg_sys::VARHDRSZ);
        if size > limit {
            return Err(Error::too_large(format!(
                "{name} has {size} bytes, and at most {limit} are allowed"
            )));
        }
        let packed = argument.value.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a non-NULL argument declared text is a varlena; the unpacked one is ours alone
        // when it is not the argument itself.
        unsafe {
            let unpacked = pg_sys::pg_detoast_datum_packed(packed);
            let length = pgrx::varsize_any_exhdr(unpacked);
            let data = pgrx::vardata_any(unpacked).cast::<u8>();
            let text = std::str::from_utf8(std::slice::from_raw_parts(data, length))
                .ok()
                .map(|text| Zeroizing::new(text.to_owned()));
            if unpacked != packed {
                std::slice::from_raw_parts_mut(data.cast_mut(), length).zeroize();
                pg_sys::pfree(unpacked.cast());
            }
            text.ok_or_else(|| Error::bad_input(format!("{name} is not UTF-8")))
        }
    }
}
