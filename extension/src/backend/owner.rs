//! Acting as the extension's owner. An entry point runs as its caller, so that it can see who that
//! is; once the caller's rights are known, the tables are touched as their owner.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use pgrx::pg_sys;

/// While it lives, the current user is the owner of the function that was called. An error
/// leaves the reset to the abort of the (sub)transaction, which restores the user by itself.
pub(crate) struct AsOwner {
    user: pg_sys::Oid,
    context: i32,
}

impl AsOwner {
    /// Becomes the owner of the function `function`, as a SECURITY DEFINER function would.
    pub(crate) fn of_function(function: pg_sys::Oid) -> Result<Self> {
        let owner = function_owner(function)?;
        let mut user = pg_sys::InvalidOid;
        let mut context = 0;
        let definer = pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
        // SAFETY: plain assignments to the backend's own state.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
            pg_sys::SetUserIdAndSecContext(owner, context | definer);
        }
        Ok(Self { user, context })
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        // SAFETY: what GetUserIdAndSecContext gave.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}

fn function_owner(function: pg_sys::Oid) -> Result<pg_sys::Oid> {
    // SAFETY: a pg_proc row of the catalogue cache holds a Form_pg_proc behind its header; it is
    // read before the row is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let row = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if row.is_null() {
            return Err(Error::internal("the function that was called is not known"));
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_proc>()).proowner;
        pg_sys::ReleaseSysCache(row);
        Ok(owner)
    }
}
