//! What the tests stand on: real Postgres servers with the extension, the real companion, and a
//! real receiver of webhooks. Nothing in here stands in for a part of pg_secrets.
//!
//! The tests of a binary share one server and one companion ([`TestApp::shared`]) and keep apart
//! by their projects' ids; a test that needs other settings, or that stops something, starts its
//! own.

mod api;
mod app;
mod canaries;
mod cli;
mod cluster;
mod companion;
mod failure;
mod home;
mod issuer;
mod keys;
mod places;
mod proxy;
mod search;
mod server_tree;
mod session;
mod sink;
mod terminal;
mod wire;

pub use api::{Answer, Api};
pub use app::{COMPANION_LOGIN, TestApp};
pub use canaries::{Canaries, Finder, Leak};
pub use cli::{Cli, Ran, ended, ran};
pub use cluster::{Cluster, Preload};
pub use companion::Companion;
pub use failure::{Failure, Proof};
pub use home::Home;
pub use issuer::Issuer;
pub use keys::Key;
pub use places::{companion_binary, extension_library, postgres_binary, repository};
pub use proxy::Proxy;
pub use search::{Needles, files_below};
pub use session::{Arguments, Session, SqlError};
pub use sink::{Received, Reply, Sink};
pub use terminal::Terminal;
pub use wire::Wire;

use std::time::{Duration, Instant};

/// How long the tests wait for what should happen soon: generous, since a busy machine is no fault
/// of what is tested.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer, at most for [`SOON`].
///
/// # Panics
/// Where there is none in time; `what` says what was waited for.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every record of the audit is chained.
pub async fn chained(sql: &Session) {
    eventually("the chain", || async {
        let unchained: i64 = sql
            .one("SELECT unchained FROM control_plane.verify_audit()", &[])
            .await
            .ok()?;
        (unchained == 0).then_some(())
    })
    .await;
}

/// A project id that no other test uses.
#[must_use]
pub fn project(of: &str) -> String {
    format!("{of}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}
