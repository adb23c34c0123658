//! Writing into the audit's table without a statement: nothing is parsed or planned, and no trigger,
//! rule or policy that somebody hung on the table comes between.
#![allow(unsafe_code)]

use crate::audit::encoded::{self, Encoded};
use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::ptr::null_mut;
use uuid::Uuid;

/// The types of the columns, in their order; see sql/10_tables.sql.
const COLUMNS: [pg_sys::Oid; 16] = [
    pg_sys::UUIDOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::UUIDOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::INETOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
    pg_sys::INT8OID,
];

/// control_plane.audit_logs, open for writing in the current transaction.
pub(super) struct AuditTable {
    relation: pg_sys::Relation,
    executor: *mut pg_sys::EState,
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
}

impl AuditTable {
    /// Opens it, with its indexes.
    ///
    /// # Errors
    /// Where there is none, or not one of the columns that it must have.
    pub(super) fn open() -> Result<Self> {
        // SAFETY: in a transaction; what is opened is closed by `close`, or by the transaction's abort.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"control_plane".as_ptr(), true);
            let table = pg_sys::get_relname_relid(c"audit_logs".as_ptr(), schema);
            if table == pg_sys::InvalidOid {
                return Err(Error::internal("the audit's table is gone"));
            }
            let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as _);
            if !is_as_declared(relation) {
                return Err(Error::internal(
                    "the audit's table is not what it was made as",
                ));
            }
            let executor = pg_sys::CreateExecutorState();
            let target =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            pg_sys::InitResultRelInfo(target, relation, 0, null_mut(), 0);
            pg_sys::ExecOpenIndices(target, false);
            let slot = pg_sys::table_slot_create(relation, null_mut());
            Ok(Self {
                relation,
                executor,
                target,
                slot,
            })
        }
    }

    /// Adds a record. `outcome` stands in the place of its own where it is given; `arrival` is its
    /// number among the records that came through the ring.
    pub(super) fn insert(&mut self, record: &Encoded<'_>, outcome: Option<&str>, arrival: i64) {
        let text = |column: usize| record.texts[column].map(text_datum);
        let values = [
            Some(uuid_datum(record.id)),
            Some(pg_sys::Datum::from(record.at)),
            text(encoded::ACTION),
            outcome.map_or_else(
                || text(encoded::OUTCOME),
                |outcome| Some(text_datum(outcome)),
            ),
            text(encoded::ACTOR),
            text(encoded::LOGIN),
            text(encoded::PROJECT_ID),
            record.secret_id.map(uuid_datum),
            text(encoded::NAME),
            record.version.map(pg_sys::Datum::from),
            text(encoded::SERVICE),
            record.texts[encoded::CLIENT_ADDRESS].map(|text| input(pg_sys::inet_in, text)),
            text(encoded::APPLICATION_NAME),
            text(encoded::REQUEST_ID),
            record.texts[encoded::DETAIL].map(|text| input(pg_sys::jsonb_in, text)),
            Some(pg_sys::Datum::from(arrival)),
        ];
        // SAFETY: the slot has as many columns as the relation, of which `open` has checked that they
        // are at least these, of these types; what the values point to lives until the transaction ends.
        unsafe {
            pg_sys::ExecClearTuple(self.slot);
            let all = usize::try_from((*(*self.slot).tts_tupleDescriptor).natts).unwrap_or(0);
            let nulls = std::slice::from_raw_parts_mut((*self.slot).tts_isnull, all);
            let columns = std::slice::from_raw_parts_mut((*self.slot).tts_values, all);
            nulls.fill(true);
            for ((null, column), value) in nulls.iter_mut().zip(columns).zip(values) {
                *null = value.is_none();
                *column = value.unwrap_or(pg_sys::Datum::from(0));
            }
            pg_sys::ExecStoreVirtualTuple(self.slot);
            pg_sys::simple_table_tuple_insert(self.relation, self.slot);
            pg_sys::ExecInsertIndexTuples(
                self.target,
                self.slot,
                self.executor,
                false,
                false,
                null_mut(),
                null_mut(),
                #[cfg(not(feature = "pg15"))]
                false,
            );
        }
    }

    /// Closes it; the lock stays until the transaction ends.
    pub(super) fn close(self) {
        // SAFETY: what `open` opened.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::ExecCloseIndices(self.target);
            pg_sys::FreeExecutorState(self.executor);
            pg_sys::table_close(self.relation, pg_sys::NoLock as _);
        }
    }
}

/// Whether it is an ordinary table that begins with our columns.
///
/// # Safety
/// The relation is open.
unsafe fn is_as_declared(relation: pg_sys::Relation) -> bool {
    // SAFETY: an open relation has its catalogue row and its descriptor.
    unsafe {
        let descriptor = (*relation).rd_att;
        let all = usize::try_from((*descriptor).natts).unwrap_or(0);
        (*(*relation).rd_rel).relkind == pg_sys::RELKIND_RELATION as core::ffi::c_char
            && all >= COLUMNS.len()
            && (1..)
                .zip(COLUMNS)
                .all(|(number, expected)| pg_sys::SPI_gettypeid(descriptor, number) == expected)
    }
}

fn text_datum(text: &str) -> pg_sys::Datum {
    let length = i32::try_from(text.len()).unwrap_or(0);
    // SAFETY: copies as many bytes as the text has.
    pg_sys::Datum::from(unsafe { pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), length) })
}

fn uuid_datum(uuid: Uuid) -> pg_sys::Datum {
    // SAFETY: room for sixteen bytes, in the current memory context.
    unsafe {
        let room = pg_sys::palloc(16).cast::<u8>();
        std::ptr::copy_nonoverlapping(uuid.as_bytes().as_ptr(), room, 16);
        pg_sys::Datum::from(room)
    }
}

/// What a type's input function makes of a text; one that it does not take is an ERROR.
fn input(
    function: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
    text: &str,
) -> pg_sys::Datum {
    let text = std::ffi::CString::new(text).unwrap_or_default();
    let argument = pg_sys::Datum::from(text.as_ptr());
    // SAFETY: an input function, which takes a C string and keeps nothing of it.
    let made = unsafe { pgrx::direct_function_call_as_datum(function, &[Some(argument)]) };
    made.unwrap_or(pg_sys::Datum::from(0))
}
