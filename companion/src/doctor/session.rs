//! A connection of the doctor's own, and what it answers where the login may not look.

use crate::database_url::DatabaseTarget;
use crate::error::Error;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::{Client, Row};

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Session {
    client: Client,
    /// Whether the server follows another, and takes no writes.
    pub(super) standby: bool,
}

/// Why a question was not answered.
pub(super) enum Refusal {
    /// The login may not ask it.
    Forbidden,
    /// In words for people.
    Failed(String),
}

impl Refusal {
    /// In words for people; `needs` is what would have been allowed to ask.
    pub(super) fn explain(&self, needs: &str) -> String {
        match self {
            Self::Forbidden => format!("this login may not look; {needs} may"),
            Self::Failed(why) => why.clone(),
        }
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("42501" | "PT403" | "PT401") => Self::Forbidden,
            _ => Self::Failed(Error::from(error).for_people()),
        }
    }
}

/// Where a connection was tried, without its password.
fn place(settings: &tokio_postgres::Config) -> String {
    let hosts: Vec<String> = settings
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        })
        .collect();
    let port = settings.get_ports().first().copied().unwrap_or(5432);
    format!(
        "{} (port {port}, database {}, login {})",
        hosts.join(", "),
        settings.get_dbname().unwrap_or("of the login's name"),
        settings.get_user().unwrap_or("of the account's name"),
    )
}

/// What hinders a connection, in words for people (the codes of Postgres's manual, appendix A).
fn hindrance(error: tokio_postgres::Error) -> String {
    let code = error.code().map(|code| code.code().to_owned());
    match code.as_deref() {
        Some("28000") => "the login does not exist there, or pg_hba.conf lets it in by another way",
        Some("28P01") => "the password is wrong, or missing: PGPASSWORD or DATABASE_URL give it",
        Some("3D000") => "there is no such database",
        Some("53300") => "the server has no connection left (max_connections)",
        Some("57P03") => "the server starts, stops or recovers just now",
        _ => return Error::from(error).for_people(),
    }
    .to_owned()
}

impl Session {
    /// Connects, also to a standby and to a server whose transactions are read-only by default.
    ///
    /// # Errors
    /// In words for people.
    pub(super) async fn open(target: &DatabaseTarget) -> Result<Self, String> {
        let mut settings = target.settings.clone();
        settings.target_session_attrs(TargetSessionAttrs::Any);
        settings.application_name("pg-secrets-doctor");
        let place = place(&settings);
        let (client, connection) = timeout(LIMIT, settings.connect(target.tls.clone()))
            .await
            .map_err(|_| format!("{place}: no answer in time"))?
            .map_err(|error| format!("{place}: {}", hindrance(error)))?;
        tokio::spawn(async move {
            // How it ends shows in what is asked on it.
            let _ = connection.await;
        });
        let mut session = Self {
            client,
            standby: false,
        };
        let standby = "SELECT pg_catalog.pg_is_in_recovery()";
        let rows = session.rows(standby, &[]).await.unwrap_or_default();
        session.standby = rows.first().is_some_and(|row| row.get(0));
        if !session.standby {
            session.say("SET default_transaction_read_only = off").await;
        }
        Ok(session)
    }

    /// The rows of a statement with parameters of its own.
    pub(super) async fn rows(
        &self,
        statement: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, Refusal> {
        let answer = timeout(LIMIT, self.client.query(statement, parameters)).await;
        Ok(answer.map_err(|_| Refusal::Failed("not in time".to_owned()))??)
    }

    /// The first column of all rows, as text.
    pub(super) async fn texts(&self, statement: &str) -> Result<Vec<String>, Refusal> {
        let rows = self.rows(statement, &[]).await?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }

    /// Runs text, as psql does; whether it succeeded.
    pub(super) async fn say(&self, text: &str) -> bool {
        matches!(
            timeout(LIMIT, self.client.batch_execute(text)).await,
            Ok(Ok(()))
        )
    }
}
