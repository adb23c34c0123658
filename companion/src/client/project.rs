//! The project that a command is about, and the companion that is asked.

use crate::client::access::ConnectionArguments;
use crate::client::failure::Failure;
use crate::client::http::Connection;
use clap::Args;

/// For every command about a project.
#[derive(Debug, Args)]
pub struct ProjectArguments {
    #[command(flatten)]
    connection: ConnectionArguments,
    /// The project
    #[arg(long, short, env = "PG_SECRETS_PROJECT", value_name = "PROJECT")]
    pub(crate) project: String,
}

/// For every command that reads values.
#[derive(Debug, Args)]
pub struct ReaderArguments {
    #[command(flatten)]
    pub(crate) of: ProjectArguments,
    /// The service to read as, which makes it a consumer
    #[arg(long, env = "PG_SECRETS_SERVICE", value_name = "SERVICE")]
    service: Option<String>,
}

impl ProjectArguments {
    /// A connection, over which nothing was sent yet.
    ///
    /// # Errors
    /// Where nobody is logged in, or the token must not go where it would.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        Connection::new(&self.connection.access()?)
    }
}

impl ReaderArguments {
    /// As [`ProjectArguments::connect`].
    ///
    /// # Errors
    /// As there, and where the service has no possible name.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        self.of.connect()?.reading_as(self.service.as_deref())
    }
}
