//! Where the extension may be installed.
#![allow(unsafe_code)]

use crate::access::identity::Caller;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::Session;
use crate::error::{Error, Result};
use crate::gucs;
use crate::workers::wake;
use pgrx::pg_sys;
use std::ffi::CStr;

/// assert_installable: refuses in a database that is not the one of pg_secrets.database, or not
/// UTF8, or has the schema already: what somebody planted there would be adopted. That the library
/// is preloaded was checked on the way in.
pub(crate) fn assert_installable<'s>(
    _session: &'s Session,
    _caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let wanted = gucs::database();
    let here = current_database();
    if here.as_deref() != Some(wanted.as_str()) {
        return Err(Error::unprocessable(format!(
            "pg_secrets is to be installed in the database \"{wanted}\", and this is another one"
        ))
        .with_hint(
            "Connect to that database, or set pg_secrets.database in postgresql.conf to this one and restart the server: one database of a cluster holds the extension.",
        ));
    }
    // SAFETY: reads the backend's own state.
    if unsafe { pg_sys::GetDatabaseEncoding() } != pg_sys::pg_enc::PG_UTF8 as i32 {
        return Err(Error::unprocessable("pg_secrets needs a database in UTF8")
            .with_hint("Create one with ENCODING 'UTF8' TEMPLATE template0, and set pg_secrets.database to it."));
    }
    // SAFETY: a lookup by a valid C string.
    if unsafe { pg_sys::get_namespace_oid(c"control_plane".as_ptr(), true) } != pg_sys::InvalidOid {
        return Err(Error::schema_exists());
    }
    wake::launch_at_commit();
    Ok(Answer::Void)
}

fn current_database() -> Option<String> {
    // SAFETY: answers NULL or a C string in the current memory context.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}
