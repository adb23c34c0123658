//! A transaction that several statements of one request share.

use crate::db::{Database, Parameter, run_on, when_idle};
use crate::error::{Error, Fault};
use deadpool_postgres::Object;
use std::fmt;
use tokio::sync::Mutex;
use tokio_postgres::Row;

/// A connection in the middle of a transaction. One that is dropped there is closed, and with it everything
/// that was not committed is gone: nobody else is ever given it.
pub(crate) struct Transaction {
    connection: Mutex<Option<Object>>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transaction")
    }
}

impl Transaction {
    /// Begins one.
    ///
    /// # Errors
    /// Where the database cannot be used.
    pub(crate) async fn begin(database: &Database) -> Result<Self, Error> {
        let transaction = Self {
            connection: Mutex::new(Some(database.connection().await?)),
        };
        transaction.run("BEGIN", &[]).await?;
        Ok(transaction)
    }

    /// Runs a statement in it.
    ///
    /// # Errors
    /// What the database says. After that the transaction can only end.
    pub(crate) async fn run(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        // Taken out meanwhile: a request that is given up in the middle of it takes the connection along.
        let mut place = self.connection.lock().await;
        let connection = place.take().ok_or_else(ended)?;
        let connection = Guarded(Some(connection));
        let (outcome, usable) = run_on(connection.get()?, statement, parameters).await;
        if usable {
            *place = connection.keep();
        }
        outcome
    }

    /// Ends it, keeping what was done. The connection can be used again.
    ///
    /// # Errors
    /// Where nothing of it, or it is not known what, was kept.
    pub(crate) async fn commit(&self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Ends it, keeping nothing.
    pub(crate) async fn roll_back(&self) {
        if self.end("ROLLBACK").await.is_err() {
            tracing::debug!("a transaction ended with its connection");
        }
    }

    async fn end(&self, how: &'static str) -> Result<(), Error> {
        self.run(how, &[]).await?;
        // Back to the pool.
        drop(self.connection.lock().await.take());
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        drop(Guarded(self.connection.get_mut().take()));
    }
}

fn ended() -> Error {
    Error::Unavailable(Fault::new("the transaction's connection is gone"))
}

/// A connection that is closed when it is dropped, as soon as what runs on it has ended: until then it keeps its
/// place in the pool.
struct Guarded(Option<Object>);

impl Guarded {
    fn get(&self) -> Result<&Object, Error> {
        self.0.as_ref().ok_or_else(ended)
    }

    fn keep(mut self) -> Option<Object> {
        self.0.take()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            when_idle(connection, |connection| drop(Object::take(connection)));
        }
    }
}
