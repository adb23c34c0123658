//! What pg_secrets masks: which statements may hold a secret, what of a statement is a literal, which
//! texts are secrets by their own looks, and what in a receiver's answer may be one. Shared by the
//! extension and the companion; nothing but `answer` allocates, so that the rest can run where a
//! process is about to fail.

pub mod answer;
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
