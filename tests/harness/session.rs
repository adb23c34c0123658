//! A session in a database, and what it answers when it refuses.

use std::fmt;
use std::path::Path;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, NoTls, Row};

/// A session: one connection.
pub struct Session {
    client: Client,
    connection: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Session")
    }
}

/// An error of the database, in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// The five characters; empty where the connection itself failed.
    pub state: String,
    /// The message.
    pub message: String,
    /// DETAIL.
    pub detail: String,
    /// HINT.
    pub hint: String,
}

impl SqlError {
    /// A member of the JSON object in DETAIL, as text.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<String> {
        let detail: serde_json::Value = serde_json::from_str(&self.detail).ok()?;
        detail.get(name)?.as_str().map(str::to_owned)
    }
}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(raised) => Self {
                state: raised.code().code().to_owned(),
                message: raised.message().to_owned(),
                detail: raised.detail().unwrap_or_default().to_owned(),
                hint: raised.hint().unwrap_or_default().to_owned(),
            },
            None => Self {
                state: String::new(),
                message: format!("{error:?}"),
                detail: String::new(),
                hint: String::new(),
            },
        }
    }
}

/// The arguments of a statement.
pub type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Session {
    pub(crate) async fn open(host: &Path, login: &str, database: &str) -> Result<Self, SqlError> {
        let (client, connection) = Config::new()
            .host_path(host)
            .port(5432)
            .user(login)
            .dbname(database)
            .connect(NoTls)
            .await?;
        let connection = tokio::spawn(async move {
            // How a connection ends shows in what was asked on it.
            let _ = connection.await;
        });
        Ok(Self { client, connection })
    }

    /// Runs statements as psql sends them: as text, in one message.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn run(&self, statements: &str) -> Result<(), SqlError> {
        Ok(self.client.batch_execute(statements).await?)
    }

    /// The rows of a statement.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn rows(
        &self,
        statement: &str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>, SqlError> {
        Ok(self.client.query(statement, arguments).await?)
    }

    /// The first column of all rows.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn all<T: for<'r> FromSql<'r>>(
        &self,
        statement: &str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<T>, SqlError> {
        let rows = self.rows(statement, arguments).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The first column of the one row.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn one<T: for<'r> FromSql<'r>>(
        &self,
        statement: &str,
        arguments: Arguments<'_>,
    ) -> Result<T, SqlError> {
        let row = self.client.query_one(statement, arguments).await?;
        Ok(row.try_get(0)?)
    }

    /// The error of a statement.
    ///
    /// # Panics
    /// Where it succeeds.
    pub async fn refused(&self, statement: &str, arguments: Arguments<'_>) -> SqlError {
        match self.rows(statement, arguments).await {
            Ok(_) => panic!("not refused: {statement}"),
            Err(error) => error,
        }
    }

    /// The error of statements that are sent as text.
    ///
    /// # Panics
    /// Where they succeed.
    pub async fn refused_text(&self, statements: &str) -> SqlError {
        match self.run(statements).await {
            Ok(()) => panic!("not refused: {statements}"),
            Err(error) => error,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
