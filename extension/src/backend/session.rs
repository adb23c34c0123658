//! Statements run inside the server. Each is prepared once per backend and sees the latest
//! committed state, not the snapshot that a REPEATABLE READ transaction took earlier: who lost a
//! permission or a secret since then must notice.
#![allow(unsafe_code)]

use crate::backend::planner;
use crate::error::{Error, Result};
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};
use uuid::Uuid;

/// One short statement, kept beside its one caller. Its parameters' types are those of the first
/// call; every later call must bring the same.
pub(crate) struct Statement {
    text: &'static CStr,
    plan: AtomicPtr<pg_sys::_SPI_plan>,
}

impl Statement {
    pub(crate) const fn new(text: &'static CStr) -> Self {
        Self {
            text,
            plan: AtomicPtr::new(std::ptr::null_mut()),
        }
    }
}

/// A parameter of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Param<'p> {
    Text(Option<&'p str>),
    Texts(Option<&'p [String]>),
    Bytes(&'p [u8]),
    Uuid(Option<Uuid>),
    Uuids(Option<&'p [Uuid]>),
    Integer(Option<i32>),
    Bigint(i64),
    OptionalBigint(Option<i64>),
    Oid(pg_sys::Oid),
    OptionalOid(Option<pg_sys::Oid>),
    Boolean(bool),
    /// Microseconds.
    Interval(i64),
    /// Microseconds.
    OptionalInterval(Option<i64>),
    /// Microseconds since 2000.
    Timestamp(Option<i64>),
    Timestamps(&'p [i64]),
    OptionalBoolean(Option<bool>),
}

impl Param<'_> {
    fn type_oid(self) -> pg_sys::Oid {
        match self {
            Param::Text(_) => pg_sys::TEXTOID,
            Param::Texts(_) => pg_sys::TEXTARRAYOID,
            Param::Bytes(_) => pg_sys::BYTEAOID,
            Param::Uuid(_) => pg_sys::UUIDOID,
            Param::Uuids(_) => pg_sys::UUIDARRAYOID,
            Param::Integer(_) => pg_sys::INT4OID,
            Param::Bigint(_) | Param::OptionalBigint(_) => pg_sys::INT8OID,
            Param::Oid(_) | Param::OptionalOid(_) => pg_sys::OIDOID,
            Param::Boolean(_) => pg_sys::BOOLOID,
            Param::Interval(_) | Param::OptionalInterval(_) => pg_sys::INTERVALOID,
            Param::Timestamp(_) => pg_sys::TIMESTAMPTZOID,
            Param::Timestamps(_) => pg_sys::TIMESTAMPTZARRAYOID,
            Param::OptionalBoolean(_) => pg_sys::BOOLOID,
        }
    }

    fn datum(self) -> Option<pg_sys::Datum> {
        match self {
            Param::Text(text) => text.into_datum(),
            Param::Texts(texts) => texts.map(<[String]>::to_vec).into_datum(),
            Param::Bytes(bytes) => bytes.into_datum(),
            Param::Uuid(uuid) => uuid
                .map(|uuid| pgrx::Uuid::from_bytes(*uuid.as_bytes()))
                .into_datum(),
            Param::Uuids(uuids) => uuids
                .map(|uuids| -> Vec<pgrx::Uuid> {
                    let bytes = uuids.iter().map(|uuid| *uuid.as_bytes());
                    bytes.map(pgrx::Uuid::from_bytes).collect()
                })
                .into_datum(),
            Param::Integer(integer) => integer.into_datum(),
            Param::Bigint(bigint) => bigint.into_datum(),
            Param::OptionalBigint(bigint) => bigint.into_datum(),
            Param::Oid(oid) => oid.into_datum(),
            Param::OptionalOid(oid) => oid.into_datum(),
            Param::Timestamp(timestamp) => timestamp.into_datum(),
            Param::Timestamps(timestamps) => timestamps
                .iter()
                .map(|timestamp| pgrx::datum::TimestampWithTimeZone::try_from(*timestamp).ok())
                .collect::<Vec<_>>()
                .into_datum(),
            Param::OptionalBoolean(boolean) => boolean.into_datum(),
            Param::Boolean(boolean) => boolean.into_datum(),
            Param::Interval(microseconds) => Some(interval(microseconds)),
            Param::OptionalInterval(microseconds) => microseconds.map(interval),
        }
    }
}

/// So many microseconds as an interval, in the current memory context: no days, which would be longer or
/// shorter where the clocks change.
fn interval(microseconds: i64) -> pg_sys::Datum {
    let interval = pg_sys::Interval {
        time: microseconds,
        day: 0,
        month: 0,
    };
    // SAFETY: palloc gives room for one interval.
    unsafe {
        let copy = pg_sys::palloc(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
        copy.write(interval);
        pg_sys::Datum::from(copy)
    }
}

/// An open connection to SPI; what is read through it lives as long as it does.
pub(crate) struct Session(PhantomData<*const ()>);

impl Session {
    /// Runs `work` with SPI connected. An error leaves SPI to the abort that follows it.
    pub(crate) fn with<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        // SAFETY: connected and finished in pairs on the one thread of the backend.
        let code = unsafe { pg_sys::SPI_connect() };
        if code != pg_sys::SPI_OK_CONNECT as i32 {
            return Err(Error::internal("SPI_connect"));
        }
        let result = work(&Session(PhantomData))?;
        // SAFETY: as above.
        unsafe { pg_sys::SPI_finish() };
        Ok(result)
    }

    /// Runs `work` in a session within this one: what is read through it is given back at its end.
    pub(crate) fn nested<T>(&self, work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        Self::with(work)
    }

    /// Runs a statement with the latest snapshot and gives the rows that it returns.
    pub(crate) fn run(&self, statement: &Statement, params: &[Param<'_>]) -> Result<Rows<'_>> {
        let plan = Self::plan(statement, params)?;
        let mut values = Vec::with_capacity(params.len());
        let mut nulls = Vec::with_capacity(params.len());
        for param in params {
            let datum = param.datum();
            nulls.push(if datum.is_some() { b' ' } else { b'n' } as std::ffi::c_char);
            values.push(datum.unwrap_or(pg_sys::Datum::from(0)));
        }
        let _planned = planner::by_index();
        // SAFETY: the plan was prepared for as many parameters of these types, and the snapshot
        // is copied by SPI before anything else runs.
        let code = unsafe {
            pg_sys::SPI_execute_snapshot(
                plan,
                values.as_mut_ptr(),
                nulls.as_ptr(),
                pg_sys::GetLatestSnapshot(),
                std::ptr::null_mut(),
                false,
                true,
                0,
            )
        };
        self.rows(code)
    }

    fn rows(&self, code: i32) -> Result<Rows<'_>> {
        if code < 0 {
            return Err(Error::internal("SPI_execute"));
        }
        // SAFETY: set by the statement that just ran; the table lives until SPI_finish.
        let (table, affected) = unsafe { (pg_sys::SPI_tuptable, pg_sys::SPI_processed) };
        Ok(Rows {
            table,
            affected,
            session: PhantomData,
        })
    }

    fn plan(statement: &Statement, params: &[Param<'_>]) -> Result<pg_sys::SPIPlanPtr> {
        let kept = statement.plan.load(Ordering::Relaxed);
        if !kept.is_null() {
            return Ok(kept);
        }
        let mut types: Vec<pg_sys::Oid> = params.iter().map(|param| param.type_oid()).collect();
        let count = i32::try_from(types.len()).map_err(|_| Error::internal("parameters"))?;
        // SAFETY: a valid C string and as many types as said; SPI is connected.
        let plan = unsafe {
            let plan = pg_sys::SPI_prepare(statement.text.as_ptr(), count, types.as_mut_ptr());
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                return Err(Error::internal("SPI_prepare"));
            }
            plan
        };
        statement.plan.store(plan, Ordering::Relaxed);
        Ok(plan)
    }
}

/// Whether this server is a standby, which can write nothing.
pub(crate) fn on_standby() -> bool {
    // SAFETY: reads the server's state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Ends with Postgres's own error where the transaction can write nothing: on a standby, or because it is
/// read-only.
pub(crate) fn require_writable(function: &CStr) {
    // SAFETY: reads the backend's own state, and raises.
    unsafe { pg_sys::PreventCommandIfReadOnly(function.as_ptr()) };
}

/// What a statement returned.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'s> {
    table: *mut pg_sys::SPITupleTable,
    affected: u64,
    session: PhantomData<&'s Session>,
}

impl<'s> Rows<'s> {
    /// How many rows were returned, or changed where none are returned.
    pub(crate) fn affected(&self) -> u64 {
        self.affected
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Row<'s>> {
        let count = if self.table.is_null() {
            0
        } else {
            usize::try_from(self.affected).unwrap_or(0)
        };
        (0..count).map(move |at| {
            // SAFETY: SPI filled the table with as many tuples as it processed.
            let (tuple, descriptor) =
                unsafe { (*(*self.table).vals.add(at), (*self.table).tupdesc) };
            Row {
                tuple,
                descriptor,
                session: PhantomData,
            }
        })
    }

    pub(crate) fn first(self) -> Option<Row<'s>> {
        self.iter().next()
    }
}

/// One row; columns count from zero.
#[derive(Clone, Copy)]
pub(crate) struct Row<'s> {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    session: PhantomData<&'s Session>,
}

impl Row<'_> {
    /// The raw column, for handing on into a result of the same type.
    pub(super) fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        let number = i32::try_from(column + 1).ok()?;
        let mut is_null = false;
        // SAFETY: tuple and descriptor belong together and live as long as the session; SPI
        // answers NULL for a column that is not there.
        let datum =
            unsafe { pg_sys::SPI_getbinval(self.tuple, self.descriptor, number, &raw mut is_null) };
        (!is_null).then_some(datum)
    }

    /// The type of a column.
    pub(super) fn type_oid(&self, column: usize) -> pg_sys::Oid {
        let number = i32::try_from(column + 1).unwrap_or(0);
        // SAFETY: as above.
        unsafe { pg_sys::SPI_gettypeid(self.descriptor, number) }
    }

    /// Whether a column is not NULL.
    pub(crate) fn datum_is_some(&self, column: usize) -> bool {
        self.datum(column).is_some()
    }

    fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        let datum = self.datum(column)?;
        debug_assert!(T::is_compatible_with(self.type_oid(column)));
        // SAFETY: the statement beside the caller says the column's type.
        unsafe { T::from_datum(datum, false) }
    }

    pub(crate) fn text(&self, column: usize) -> Option<String> {
        self.get(column)
    }

    pub(crate) fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        self.get(column)
    }

    pub(crate) fn integer(&self, column: usize) -> Option<i32> {
        self.get(column)
    }

    pub(crate) fn bigint(&self, column: usize) -> Option<i64> {
        self.get(column)
    }

    pub(crate) fn boolean(&self, column: usize) -> Option<bool> {
        self.get(column)
    }

    /// Microseconds since 2000.
    pub(crate) fn timestamp(&self, column: usize) -> Option<i64> {
        let datum = self.datum(column)?;
        debug_assert_eq!(self.type_oid(column), pg_sys::TIMESTAMPTZOID);
        // SAFETY: a timestamp is passed as the 64-bit integer that it is.
        unsafe { i64::from_datum(datum, false) }
    }

    pub(crate) fn uuid(&self, column: usize) -> Option<Uuid> {
        self.get::<pgrx::Uuid>(column)
            .map(|uuid| Uuid::from_bytes(*uuid.as_bytes()))
    }
}
