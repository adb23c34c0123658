//! What a value may be.

use crate::backend::arguments::Arguments;
use crate::error::{Error, Result};
use crate::gucs;
use zeroize::Zeroizing;

/// Reads the value that is to be stored: not empty, and not longer than pg_secrets.max_value_size.
pub(crate) fn read(arguments: &Arguments<'_>, position: usize) -> Result<Zeroizing<String>> {
    let value = arguments
        .secret(position, "value", gucs::max_value_size())
        .map_err(|error| match error.is_too_large() {
            true => error.with_hint("The limit is pg_secrets.max_value_size in postgresql.conf."),
            false => error,
        })?;
    if value.is_empty() {
        return Err(Error::bad_input("value must not be empty"));
    }
    Ok(value)
}
