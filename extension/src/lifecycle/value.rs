//! What a value may be.

use crate::error::{Error, Result};
use crate::gucs;
use zeroize::Zeroizing;

/// Checks a value that is to be stored: not empty, and not longer than pg_secrets.max_value_size.
pub(crate) fn check(value: Option<Zeroizing<String>>) -> Result<Zeroizing<String>> {
    let value = value.ok_or_else(|| Error::null("value"))?;
    if value.is_empty() {
        return Err(Error::bad_input("value must not be empty"));
    }
    let limit = gucs::max_value_size();
    if value.len() > limit {
        return Err(Error::too_large(format!(
            "value has {} bytes, and at most {limit} are allowed",
            value.len()
        ))
        .with_hint("The limit is pg_secrets.max_value_size in postgresql.conf."));
    }
    Ok(value)
}
