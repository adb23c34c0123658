//! A server, the extension, a companion and an administrator's token.

use crate::api::Api;
use crate::cluster::Cluster;
use crate::companion::Companion;
use crate::keys::Key;
use crate::session::{Session, SqlError};
use tokio::sync::OnceCell;

/// The login of the companion. A name that begins with `pg_` is Postgres's own.
pub const COMPANION_LOGIN: &str = "secrets_companion";

/// Makes a server of a test run fast, and sends no webhooks but those that its tests cause. Nothing else
/// changes what is decided, written or logged.
const QUICK: &str = "fsync = off\npg_secrets.audit_head_interval = 0\n";

/// Everything, running.
#[derive(Debug)]
pub struct TestApp {
    // Dropped in this order; the cluster's home stops both processes.
    /// The companion.
    pub companion: Companion,
    /// The server.
    pub cluster: Cluster,
    /// An administrator's token.
    pub token: String,
}

impl TestApp {
    /// The one that the tests of a binary share. Its companion hardly ever polls, so that what is
    /// delivered was told of by the database.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<TestApp> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                let app = Self::start_with(Key::new(), QUICK, "1h").await;
                app.cluster.home().keep_on_panic();
                app
            })
            .await
    }

    /// One of a test's own, with further lines of postgresql.conf and a new key.
    pub async fn start(settings: &str) -> Self {
        Self::start_with(Key::new(), settings, "200ms").await
    }

    /// The same with a given key.
    pub async fn start_with_key(key: Key, settings: &str) -> Self {
        Self::start_with(key, settings, "200ms").await
    }

    async fn start_with(key: Key, settings: &str, poll_interval: &'static str) -> Self {
        let cluster = Cluster::start(key, settings);
        cluster.install().await.expect("the extension installs");
        let token = administrator_token(&cluster).await.expect("a token");
        let companion = Companion::start(&cluster, poll_interval);
        Self {
            companion,
            cluster,
            token,
        }
    }

    /// A client of the REST service with the administrator's token.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api_as(&self.token)
    }

    /// A client of the REST service with another token.
    #[must_use]
    pub fn api_as(&self, token: &str) -> Api {
        Api::new(&self.companion.url(), Some(token))
    }

    /// A session of the superuser.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn sql(&self) -> Result<Session, SqlError> {
        self.cluster.sql().await
    }

    /// A token of a subject that has a permission on a project.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn token_for(
        &self,
        subject: &str,
        permissions: &[&str],
        project: &str,
        service: Option<&str>,
    ) -> Result<String, SqlError> {
        let sql = self.sql().await?;
        for permission in permissions {
            sql.rows(
                "SELECT control_plane.grant_project($1, $2, $3, kind => 'subject')",
                &[&subject, permission, &project],
            )
            .await?;
        }
        sql.one(
            "SELECT control_plane.create_token($1, $2)",
            &[&subject, &service],
        )
        .await
    }

    /// Kills the companion.
    pub fn kill_companion(&mut self) {
        self.companion.kill9();
    }

    /// Starts the companion again.
    pub fn resume_companion(&mut self) {
        self.companion.resume(self.cluster.home());
    }
}

async fn administrator_token(cluster: &Cluster) -> Result<String, SqlError> {
    let sql = cluster.sql().await?;
    sql.rows(
        "SELECT control_plane.grant_project('admin@local', 'admin', kind => 'subject')",
        &[],
    )
    .await?;
    sql.one("SELECT control_plane.create_token('admin@local')", &[])
        .await
}
