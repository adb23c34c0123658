//! An administrator at the command line: a login with the rights of its own role, or one that acts for
//! the subject of the token in `PG_SECRETS_TOKEN`.

use crate::database_url::DatabaseTarget;
use crate::db::{Database, Parameter};
use crate::error::Error;
use crate::secret_text::SecretText;
use crate::visible::visible;
use anyhow::anyhow;
use axum::http::StatusCode;
use serde_json::json;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

/// A statement of the caller's: whom the token is for, or where there is none the login itself. Its own
/// parameters begin with `$3`.
macro_rules! as_caller {
    ($columns:literal, $call:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (SELECT CASE WHEN $1::text IS NULL THEN '' ELSE control_plane.authenticate($1, $2) END AS subject) AS caller, LATERAL control_plane.",
            $call,
            " WHERE caller.subject IS NOT NULL"
        )
    };
}

pub(crate) use as_caller;

pub(crate) struct Administrator {
    database: Database,
    /// Whose rights count, where the login acts for others.
    token: Option<SecretText>,
    /// The command, as the audit names it.
    command: &'static str,
}

impl Administrator {
    /// Takes the token from the environment; a login that acts for nobody but itself has no use for one,
    /// as `probe` finds out, a statement that only an administrator may run.
    ///
    /// # Errors
    /// Where the settings of the database make no sense.
    pub(crate) async fn of(
        target: &DatabaseTarget,
        command: &'static str,
        probe: &'static str,
    ) -> anyhow::Result<Self> {
        let token = std::env::var("PG_SECRETS_TOKEN").ok();
        let mut administrator = Self {
            database: Database::new(target, 1)?,
            token: token.filter(|token| !token.is_empty()).map(SecretText::new),
            command,
        };
        if administrator.token.is_some()
            && let Err(Error::Refused(problem)) = administrator.ask(probe, &[]).await
            && problem.status == StatusCode::FORBIDDEN
        {
            administrator.token = None;
        }
        Ok(administrator)
    }

    async fn ask(
        &self,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Error> {
        let request = Json(json!({"application_name": self.command}));
        let mut all: Vec<Parameter<'_>> = vec![&self.token, &request];
        all.extend_from_slice(parameters);
        self.database.run(statement, &all).await
    }

    /// The rows of a statement made by [`as_caller`].
    ///
    /// # Errors
    /// What the database said, in words for somebody who runs a command.
    pub(crate) async fn rows(
        &self,
        statement: &'static str,
        parameters: &[Parameter<'_>],
    ) -> anyhow::Result<Vec<Row>> {
        let rows = self.ask(statement, parameters).await;
        rows.map_err(|error| anyhow!(explain(&error, self.token.is_some())))
    }
}

/// What the database said, in words for somebody who runs a command.
fn explain(error: &Error, with_token: bool) -> String {
    match error {
        Error::Refused(problem) if problem.status == StatusCode::UNAUTHORIZED && !with_token => {
            "nobody is authenticated: this login acts for others, so set PG_SECRETS_TOKEN to the token of an administrator".to_owned()
        }
        // 3F000: no such schema; 42883: no such function.
        Error::Internal(fault)
            if fault
                .sqlstate
                .as_deref()
                .is_some_and(|state| matches!(state, "3F000" | "42883")) =>
        {
            "this database does not hold pg_secrets, or an older one: DATABASE_URL must name the database of the setting pg_secrets.database".to_owned()
        }
        other => visible(&other.for_people()),
    }
}
