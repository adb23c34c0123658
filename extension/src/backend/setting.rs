//! Settings of others, as the session has them now.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use std::ffi::CStr;

/// The text of a setting; `None` where nobody has set it, or it is not UTF-8.
pub(crate) fn of(name: &CStr) -> Option<String> {
    // SAFETY: a C string; what is answered is NULL, or a C string that the next change of the setting
    // would end, and is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        if value.is_null() {
            return None;
        }
        CStr::from_ptr(value).to_str().ok().map(str::to_owned)
    }
}

/// Whether anybody has set it in this session, in whatever transaction: a setting that no library defines
/// stays known until the session ends, with an empty text.
pub(crate) fn is_known(name: &CStr) -> bool {
    // SAFETY: a C string; what is answered is NULL, or a copy in the context of the call. It is a text also
    // where the setting has none, as after RESET, when GetConfigOption answers NULL.
    unsafe { !pg_sys::GetConfigOptionByName(name.as_ptr(), std::ptr::null_mut(), true).is_null() }
}
