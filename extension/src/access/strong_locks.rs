//! Statements that lock a table before Postgres looks whether its sender may: CREATE RULE, CREATE TRIGGER,
//! a foreign key's REFERENCES, a partition of it or attached from it, ALTER INDEX … DEPENDS ON EXTENSION.
//!
//! Such a lock conflicts with the weakest of another session's, and while the statement waits for it, every
//! reader queues up behind it. So whoever may name our tables could stop all reads, with no right on any of
//! them. Here such a statement of somebody who does not own the table is refused before it waits, with the
//! words that Postgres has for it afterwards. The same for the system's catalogues, which every new session
//! reads.
//!
//! Postgres looks a name up again after each wait. So that it finds the same table as was looked at here, a
//! name without a schema is given that of its table.
#![allow(unsafe_code)]

use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::{PgList, pg_sys};
use std::ffi::c_char;
use std::sync::OnceLock;

unsafe extern "C-unwind" {
    // The function itself: pgrx's is wrapped, and would turn an error into a panic that nobody catches here.
    #[link_name = "standard_ProcessUtility"]
    fn run_utility(
        planned: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

static PREVIOUS: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();

/// Installs the hook; once, while the library is preloaded.
pub(crate) fn install() {
    // SAFETY: the postmaster has one thread while it loads libraries.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(before_utility);
    }
}

#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn before_utility(
    planned: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: what Postgres passed, handed on unchanged; this frame holds nothing that needs to be
    // dropped when an error jumps over it.
    unsafe {
        let planned = pgrx_extern_c_guard(|| examined(planned, read_only_tree));
        let next = match PREVIOUS.get() {
            Some(Some(previous)) => *previous,
            _ => run_utility,
        };
        next(
            planned,
            text,
            read_only_tree,
            context,
            params,
            environment,
            destination,
            completion,
        );
    }
}

/// The statement, or a copy of it where it must stay as it is, with names that cannot change their meaning.
///
/// # Safety
/// A statement as Postgres passes it to its utility hook.
unsafe fn examined(
    planned: *mut pg_sys::PlannedStmt,
    read_only_tree: bool,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: a node is of the type that its tag says, and a copy lives as long as the current memory context.
    unsafe {
        let statement = (*planned).utilityStmt;
        if statement.is_null() || !may_lock_strongly((*statement).type_) {
            return planned;
        }
        let own: *mut pg_sys::PlannedStmt = if read_only_tree {
            pg_sys::copyObjectImpl(planned.cast()).cast()
        } else {
            planned
        };
        refuse((*own).utilityStmt);
        own
    }
}

fn may_lock_strongly(kind: pg_sys::NodeTag) -> bool {
    matches!(
        kind,
        pg_sys::NodeTag::T_RuleStmt
            | pg_sys::NodeTag::T_CreateTrigStmt
            | pg_sys::NodeTag::T_AlterObjectDependsStmt
            | pg_sys::NodeTag::T_CreateStmt
            | pg_sys::NodeTag::T_CreateForeignTableStmt
            | pg_sys::NodeTag::T_AlterTableStmt
    )
}

/// # Safety
/// A statement that may be changed.
unsafe fn refuse(statement: *mut pg_sys::Node) {
    // SAFETY: a node is of the type that its tag says.
    unsafe {
        match (*statement).type_ {
            pg_sys::NodeTag::T_RuleStmt => {
                refuse_relation((*statement.cast::<pg_sys::RuleStmt>()).relation);
            }
            pg_sys::NodeTag::T_CreateTrigStmt => {
                refuse_relation((*statement.cast::<pg_sys::CreateTrigStmt>()).relation);
            }
            pg_sys::NodeTag::T_AlterObjectDependsStmt => {
                refuse_relation((*statement.cast::<pg_sys::AlterObjectDependsStmt>()).relation);
            }
            // A foreign table begins as a table does.
            pg_sys::NodeTag::T_CreateStmt | pg_sys::NodeTag::T_CreateForeignTableStmt => {
                let create = statement.cast::<pg_sys::CreateStmt>();
                for parent in list::<pg_sys::RangeVar>((*create).inhRelations) {
                    refuse_relation(parent);
                }
                refuse_references((*create).tableElts);
                refuse_references((*create).constraints);
            }
            pg_sys::NodeTag::T_AlterTableStmt => {
                let alter = statement.cast::<pg_sys::AlterTableStmt>();
                for command in list::<pg_sys::AlterTableCmd>((*alter).cmds) {
                    refuse_change((*command).def);
                }
            }
            _ => {}
        }
    }
}

/// What a subcommand of ALTER TABLE names beside its own table.
///
/// # Safety
/// Its definition, or NULL.
unsafe fn refuse_change(definition: *mut pg_sys::Node) {
    if definition.is_null() {
        return;
    }
    // SAFETY: a node is of the type that its tag says.
    unsafe {
        match (*definition).type_ {
            // ATTACH and DETACH PARTITION.
            pg_sys::NodeTag::T_PartitionCmd => {
                refuse_relation((*definition.cast::<pg_sys::PartitionCmd>()).name);
            }
            // INHERIT and NO INHERIT.
            pg_sys::NodeTag::T_RangeVar => refuse_relation(definition.cast()),
            _ => refuse_reference(definition),
        }
    }
}

/// # Safety
/// A list of columns and constraints, or NULL.
unsafe fn refuse_references(elements: *mut pg_sys::List) {
    // SAFETY: the caller's promise.
    unsafe {
        for element in list::<pg_sys::Node>(elements) {
            refuse_reference(element);
        }
    }
}

/// # Safety
/// A column, a constraint, or another node.
unsafe fn refuse_reference(element: *mut pg_sys::Node) {
    // SAFETY: a node is of the type that its tag says.
    unsafe {
        match (*element).type_ {
            pg_sys::NodeTag::T_ColumnDef => {
                refuse_references((*element.cast::<pg_sys::ColumnDef>()).constraints);
            }
            pg_sys::NodeTag::T_Constraint => {
                refuse_relation((*element.cast::<pg_sys::Constraint>()).pktable);
            }
            _ => {}
        }
    }
}

/// # Safety
/// A list of pointers to nodes of this type, or NULL.
unsafe fn list<T>(list: *mut pg_sys::List) -> Vec<*mut T> {
    // SAFETY: the caller's promise.
    unsafe { PgList::<T>::from_pg(list).iter_ptr().collect() }
}

/// Refuses where the relation is one of ours, or of the system's, and not the user's own; otherwise says of
/// which schema it is.
///
/// # Safety
/// A name as it was parsed, or NULL.
unsafe fn refuse_relation(relation: *mut pg_sys::RangeVar) {
    if relation.is_null() {
        return;
    }
    // SAFETY: lookups in a transaction, without any lock.
    unsafe {
        let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
        let flags = pg_sys::RVROption::RVR_MISSING_OK;
        let named =
            pg_sys::RangeVarGetRelidExtended(relation, lock, flags, None, std::ptr::null_mut());
        if named == pg_sys::InvalidOid {
            return;
        }
        let schema = pg_sys::get_rel_namespace(named);
        if (*relation).schemaname.is_null() {
            (*relation).schemaname = if pg_sys::isTempNamespace(schema) {
                pg_sys::pstrdup(c"pg_temp".as_ptr())
            } else {
                pg_sys::get_namespace_name(schema)
            };
        }
        let guarded = schema.to_u32() == pg_sys::PG_CATALOG_NAMESPACE
            || schema == pg_sys::get_namespace_oid(c"control_plane".as_ptr(), true);
        if !guarded || owns(named) {
            return;
        }
        pg_sys::aclcheck_error(
            pg_sys::AclResult::ACLCHECK_NOT_OWNER,
            pg_sys::ObjectType::OBJECT_TABLE,
            (*relation).relname,
        );
    }
}

/// # Safety
/// In a transaction.
unsafe fn owns(relation: pg_sys::Oid) -> bool {
    // SAFETY: a lookup.
    unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, user);
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, user)
    }
}
