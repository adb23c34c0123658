//! What pg_secrets masks: which statements may hold a secret, what of a statement is a literal, and
//! which texts are secrets by their own looks. Shared by the extension and the companion; nothing in
//! here allocates, so that it can run where a process is about to fail.

mod bytes;
mod disguise;
mod known;
mod literals;
mod misspelt;
mod names;
mod prepared;
mod transaction_end;

pub use known::{MASK, mask_known};
pub use literals::mask_literals;
pub use names::{is_sensitive_statement, mentions};
pub use prepared::{LONGEST_NAME, PreparedNames, executes_escaped_name};
pub use transaction_end::ends_transaction;
