//! Whether an analysed statement calls one of our functions: by their schema, so however it is written,
//! and through views.
//!
//! Everything in here may raise: no frame holds anything to be dropped.
#![allow(unsafe_code)]

use super::sensitive;
use pgrx::pg_sys;
use std::ffi::{c_char, c_int, c_void};

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
type Checker = unsafe extern "C-unwind" fn(pg_sys::Oid, *mut c_void) -> bool;

unsafe extern "C-unwind" {
    // Without pgrx's guard, which would stand around each node.
    #[cfg_attr(feature = "pg15", link_name = "query_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    fn walk_query(query: *mut pg_sys::Query, walker: Walker, of: *mut c_void, flags: c_int)
    -> bool;
    #[cfg_attr(feature = "pg15", link_name = "expression_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    fn walk_expression(node: *mut pg_sys::Node, walker: Walker, of: *mut c_void) -> bool;
    fn check_functions_in_node(node: *mut pg_sys::Node, checker: Checker, of: *mut c_void) -> bool;
    fn get_func_namespace(function: pg_sys::Oid) -> pg_sys::Oid;
    fn get_namespace_oid(name: *const c_char, missing_ok: bool) -> pg_sys::Oid;
    #[link_name = "try_relation_open"]
    fn open_relation(relation: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> pg_sys::Relation;
    #[link_name = "relation_close"]
    fn close_relation(relation: pg_sys::Relation, lock: pg_sys::LOCKMODE);
}

/// The views whose definitions were walked over already: each once, however often and in whichever it stands.
struct Views {
    count: usize,
    seen: [pg_sys::Oid; MOST_VIEWS],
}

/// A statement over more views than this counts as one of ours.
const MOST_VIEWS: usize = 256;

impl Views {
    const fn new() -> Self {
        Self {
            count: 0,
            seen: [pg_sys::InvalidOid; MOST_VIEWS],
        }
    }
}

/// The first id of what initdb did not make.
const FIRST_OF_USERS: u32 = 16384;

/// Whether a function is one of ours: of our schema.
///
/// # Safety
/// In a transaction; the callers' frames hold nothing to be dropped.
pub(super) unsafe fn is_ours(function: pg_sys::Oid) -> bool {
    if function.to_u32() < FIRST_OF_USERS {
        return false;
    }
    // SAFETY: lookups in the caches.
    unsafe {
        let schema = get_namespace_oid(c"control_plane".as_ptr(), true);
        schema != pg_sys::InvalidOid && get_func_namespace(function) == schema
    }
}

unsafe extern "C-unwind" fn check(function: pg_sys::Oid, _: *mut c_void) -> bool {
    // SAFETY: called by the walk below.
    unsafe { is_ours(function) }
}

/// Whether a statement calls one of ours.
///
/// # Safety
/// An analysed statement, in a transaction; the callers' frames hold nothing to be dropped.
pub(super) unsafe fn in_query(query: *mut pg_sys::Query) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let mut views = Views::new();
        in_query_over(query, (&raw mut views).cast())
    }
}

/// # Safety
/// As [`in_query`]; `views` is a `Views`.
unsafe fn in_query_over(query: *mut pg_sys::Query, views: *mut c_void) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if (*query).commandType == pg_sys::CmdType::CMD_UTILITY {
            return in_utility((*query).utilityStmt);
        }
        let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as c_int;
        walk_query(query, walk, views, flags)
    }
}

/// Whether a utility statement calls one of ours, in a statement that it holds, or executes a prepared
/// statement that does.
///
/// # Safety
/// As [`in_query`].
pub(super) unsafe fn in_utility(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag;
    if statement.is_null() {
        return false;
    }
    // SAFETY: the caller's promise; each node is what its tag says.
    unsafe {
        let held: *mut pg_sys::Node = match (*statement).type_ {
            NodeTag::T_ExecuteStmt => {
                return in_prepared((*statement.cast::<pg_sys::ExecuteStmt>()).name);
            }
            NodeTag::T_CallStmt => (*statement.cast::<pg_sys::CallStmt>()).funcexpr.cast(),
            NodeTag::T_DeclareCursorStmt => (*statement.cast::<pg_sys::DeclareCursorStmt>()).query,
            NodeTag::T_ExplainStmt => (*statement.cast::<pg_sys::ExplainStmt>()).query,
            NodeTag::T_CreateTableAsStmt => (*statement.cast::<pg_sys::CreateTableAsStmt>()).query,
            _ => return false,
        };
        // What is not analysed yet is no tree that can be walked over.
        let analysed =
            !held.is_null() && matches!((*held).type_, NodeTag::T_Query | NodeTag::T_FuncExpr);
        let mut views = Views::new();
        analysed && walk(held, (&raw mut views).cast())
    }
}

/// # Safety
/// `name` is a C string; else as [`in_query`].
unsafe fn in_prepared(name: *const c_char) -> bool {
    // SAFETY: the caller's promise; a list of analysed statements or NULL.
    unsafe {
        let (source, sensitive) = sensitive::prepared_source(name);
        sensitive || !source.is_null() && any((*source).query_list, |query| in_query(query.cast()))
    }
}

/// # Safety
/// A list of pointers, or NULL.
unsafe fn any(list: *mut pg_sys::List, is: impl Fn(*mut pg_sys::Node) -> bool) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(list) = list.as_ref() else {
            return false;
        };
        let length = usize::try_from(list.length).unwrap_or(0);
        (0..length).any(|at| is((*list.elements.add(at)).ptr_value.cast()))
    }
}

unsafe extern "C-unwind" fn walk(node: *mut pg_sys::Node, of: *mut c_void) -> bool {
    use pg_sys::NodeTag;
    if node.is_null() {
        return false;
    }
    // SAFETY: Postgres walks over nodes, each what its tag says.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Query => return in_query_over(node.cast(), of),
            NodeTag::T_RangeTblEntry => {
                // What is in it, is walked over by itself.
                return in_view(node.cast(), of.cast());
            }
            _ => {}
        }
        check_functions_in_node(node, check, of) || walk_expression(node, walk, of)
    }
}

/// Whether a relation is a view whose definition calls one of ours.
///
/// # Safety
/// As [`in_query`]; `views` is a `Views` that nothing else refers to meanwhile.
unsafe fn in_view(entry: *mut pg_sys::RangeTblEntry, views: *mut Views) -> bool {
    // SAFETY: the caller's promise. The lock, which the rewriter takes too, keeps the definition as it is
    // while it is walked over; it ends with the transaction, and with an error the reference.
    unsafe {
        let is_view = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
            && (*entry).relkind.cast_unsigned() == pg_sys::RELKIND_VIEW
            && (*entry).relid.to_u32() >= FIRST_OF_USERS;
        let count = (*views).count;
        let seen = &(&(*views).seen)[..count];
        // A definition names its own view too, as OLD and NEW.
        if !is_view || seen.contains(&(*entry).relid) {
            return false;
        }
        if count == MOST_VIEWS {
            return true;
        }
        (&mut (*views).seen)[count] = (*entry).relid;
        (*views).count = count + 1;
        let relation = open_relation((*entry).relid, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        if relation.is_null() {
            return false;
        }
        let rules = (*relation).rd_rules;
        let count = if rules.is_null() {
            0
        } else {
            (*rules).numLocks
        };
        let found = (0..usize::try_from(count).unwrap_or(0)).any(|at| {
            let rule = *(*rules).rules.add(at);
            any((*rule).actions, |query| {
                in_query_over(query.cast(), views.cast())
            })
        });
        close_relation(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        found
    }
}
