//! The way to the database: one pool, and statements that are prepared once per connection.

use crate::auth::{Caller, Credential};
use crate::database_url::DatabaseTarget;
use crate::error::{Error, Fault, spoils_connection};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Status};
use std::borrow::Cow;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

/// How long a request waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// How long a statement may take. The database's own limits are shorter; this one is for a server
/// that has vanished.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);

/// How a statement authenticates the caller by a token that the database verifies.
pub(crate) const BY_TOKEN: &str = "control_plane.authenticate($1, $2)";

/// How it does by a subject that this program has verified.
const BY_SUBJECT: &str = "control_plane.authenticate_subject($1, $2)";

/// A statement's parameter.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// The connections to the database.
#[derive(Clone)]
pub(crate) struct Database {
    pool: Pool,
}

impl Database {
    /// A pool of at most `size` connections; none is made before it is needed.
    ///
    /// # Errors
    /// Where the pool's settings contradict each other.
    pub(crate) fn new(target: &DatabaseTarget, size: usize) -> anyhow::Result<Self> {
        let manager = Manager::from_config(
            target.settings.clone(),
            target.tls.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .build()?;
        Ok(Self { pool })
    }

    /// Authenticates `caller` and runs `statement`, which must call [`BY_TOKEN`], in one round trip;
    /// `parameters` are `$3` and what follows. For a subject that was verified already the same
    /// statement calls [`BY_SUBJECT`]. A caller who has a transaction goes on in that.
    ///
    /// # Errors
    /// What the database says, or that it cannot be used.
    pub(crate) async fn call(
        &self,
        caller: &Caller,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        let request = Json(&caller.request);
        let all = |credential| {
            let mut all: Vec<Parameter<'_>> = vec![credential, &request];
            all.extend_from_slice(parameters);
            all
        };
        let (statement, all): (Cow<'_, str>, _) = match &caller.credential {
            Credential::Token(token) => (statement.into(), all(token)),
            Credential::Subject(subject) => {
                let statement = statement.replacen(BY_TOKEN, BY_SUBJECT, 1);
                (statement.into(), all(subject))
            }
        };
        match &caller.transaction {
            Some(transaction) => transaction.run(&statement, &all).await,
            None => self.send(&statement, &all).await,
        }
    }

    /// Like [`Database::call`], for a statement that answers with exactly one row.
    ///
    /// # Errors
    /// As there, and where there is no such one row.
    pub(crate) async fn call_one(
        &self,
        caller: &Caller,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Error> {
        let mut rows = self.call(caller, statement, parameters).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(Error::Internal(Fault::new(
                "a statement did not answer with one row",
            ))),
        }
    }

    /// Runs `statement` with the rights of the companion's own login.
    ///
    /// # Errors
    /// As [`Database::call`].
    pub(crate) async fn run(
        &self,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        self.send(statement, parameters).await
    }

    async fn send(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let mut running = Running(Some(self.connection().await?));
        let (outcome, usable) = run_on(running.get()?, statement, parameters).await;
        let connection = running.0.take();
        if !usable {
            drop(connection.map(Object::take));
            // What is wrong with one is wrong with those that were made with it: after a failover each would
            // fail one more request.
            self.pool.retain(|_, _| false);
        }
        outcome
    }

    /// How many connections there are, and how many requests wait for one.
    pub(crate) fn status(&self) -> Status {
        self.pool.status()
    }

    /// A connection of the pool.
    ///
    /// # Errors
    /// Where none becomes free in time, or none can be made.
    pub(crate) async fn connection(&self) -> Result<Object, Error> {
        Ok(self.pool.get().await?)
    }
}

/// A connection whose statement may go on when nobody waits for it any more: a client hangs up. Until it has
/// ended it keeps its place in the pool, so that nobody can begin more statements than there are places.
struct Running(Option<Object>);

impl Running {
    fn get(&self) -> Result<&Object, Error> {
        let lost = || Error::Internal(Fault::new("a statement without a connection"));
        self.0.as_ref().ok_or_else(lost)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            when_idle(connection, drop);
        }
    }
}

/// Hands a connection on to `then` when what runs on it has ended; one on which that does not end in time
/// is closed.
pub(crate) fn when_idle(connection: Object, then: impl FnOnce(Object) + Send + 'static) {
    let Ok(runtime) = Handle::try_current() else {
        drop(Object::take(connection));
        return;
    };
    runtime.spawn(async move {
        // Answered behind what runs, also where that fails.
        match timeout(STATEMENT_LIMIT, connection.batch_execute("")).await {
            Ok(Ok(())) => then(connection),
            _ => drop(Object::take(connection)),
        }
    });
}

/// Runs `statement` on a connection, and says whether that can be used for another one.
pub(crate) async fn run_on(
    connection: &Object,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> (Result<Vec<Row>, Error>, bool) {
    let outcome = timeout(STATEMENT_LIMIT, async {
        let prepared = connection.prepare_cached(statement).await?;
        connection.query(&prepared, parameters).await
    })
    .await;
    match outcome {
        Ok(Ok(rows)) => (Ok(rows), true),
        Ok(Err(error)) => {
            let usable = !spoils_connection(&error);
            (Err(error.into()), usable)
        }
        // Its answer may still come, and nobody waits for it.
        Err(_) => {
            let fault = Fault::new("the database did not answer in time");
            (Err(Error::Unavailable(fault)), false)
        }
    }
}
