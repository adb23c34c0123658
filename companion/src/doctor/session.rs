//! A connection of the doctor's own, and what it answers where the login may not look.

use crate::database_url::DatabaseTarget;
use crate::error::Error;
use anyhow::Context;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::{Client, Row};

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Session {
    client: Client,
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
            Self::Failed(why) => format!("the database did not answer: {why}"),
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

impl Session {
    /// Connects.
    pub(super) async fn open(target: &DatabaseTarget) -> anyhow::Result<Self> {
        let connect = target.settings.connect(target.tls.clone());
        let (client, connection) = timeout(LIMIT, connect)
            .await
            .context("it did not answer in time")?
            .map_err(|error| anyhow::anyhow!(Error::from(error).for_people()))?;
        tokio::spawn(async move {
            // How it ends shows in what is asked on it.
            let _ = connection.await;
        });
        Ok(Self { client })
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
