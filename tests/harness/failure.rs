//! How a test fails: where the `?` stands.

use std::fmt::Debug;

/// What a test gives.
pub type Proof<T = ()> = Result<T, Failure>;

/// The error type of a test. It has no values: whatever `?` meets becomes a panic on the spot, so
/// that the message names the line of the test, and what the test started knows that it failed.
#[derive(Debug)]
pub enum Failure {}

macro_rules! fail_by {
    ($($error:ty),* $(,)?) => {
        $(
            impl From<$error> for Failure {
                #[track_caller]
                fn from(error: $error) -> Self {
                    fail(&error)
                }
            }
        )*
    };
}

fail_by!(
    anyhow::Error,
    crate::SqlError,
    regex::Error,
    reqwest::Error,
    serde_json::Error,
    standardwebhooks::WebhookError,
    std::io::Error,
    std::string::FromUtf8Error,
    tokio::task::JoinError,
    tokio_postgres::Error,
    uuid::Error,
);

#[track_caller]
fn fail(error: &dyn Debug) -> ! {
    panic!("{error:?}");
}
