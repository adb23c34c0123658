//! `pg-secrets logout`: forgets the address and the token. The token itself stays valid until it is
//! revoked.

use crate::client::failure::Failure;
use crate::client::{login_file, output};

/// Removes the file.
///
/// # Errors
/// Where it cannot be removed.
pub(crate) fn run() -> Result<(), Failure> {
    if login_file::remove()? {
        output::note("the login is forgotten; its token is valid until it is revoked");
    } else {
        output::note("there was no login");
    }
    Ok(())
}
