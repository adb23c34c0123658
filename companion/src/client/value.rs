//! A new value: from standard input or a prompt, never from an argument, which every user of the
//! machine could read in the list of processes.

use crate::client::failure::{Failure, Kind};
use crate::client::output;
use crate::client::{prompt, stdin};
use crate::secret_text::SecretText;
use clap::Args;

/// How the value is read.
#[derive(Debug, Args)]
pub struct ValueArguments {
    /// Take one line end off the end of what comes by standard input
    #[arg(long)]
    pub(crate) trim: bool,
}

/// Where a rotation's value comes from.
#[derive(Debug, Args)]
pub struct ValueSource {
    #[command(flatten)]
    pub(crate) value: ValueArguments,
    /// Let the secret's generator make the value
    #[arg(long, conflicts_with = "trim")]
    pub(crate) generate: bool,
}

impl ValueArguments {
    /// Reads it: all of standard input byte for byte, or a line typed unseen.
    ///
    /// # Errors
    /// Where it cannot be read or is empty.
    pub(crate) fn read(&self) -> Result<SecretText, Failure> {
        let value = if stdin::is_terminal() {
            prompt::hidden("Value (not shown): ")?
        } else {
            self.trimmed(stdin::read("the value")?)
        };
        if value.expose().is_empty() {
            return Err(Failure::new(Kind::Usage, "the value is empty"));
        }
        Ok(value)
    }

    fn trimmed(&self, value: SecretText) -> SecretText {
        let text = value.expose();
        let Some(without) = text.strip_suffix('\n') else {
            return value;
        };
        if self.trim {
            let without = without.strip_suffix('\r').unwrap_or(without);
            return SecretText::new(without.to_owned());
        }
        if !without.contains('\n') {
            output::note("the value ends in a line end, which is kept; --trim takes it off");
        }
        value
    }
}

impl ValueSource {
    /// Reads it; `None` where the generator makes it.
    ///
    /// # Errors
    /// As [`ValueArguments::read`].
    pub(crate) fn read(&self) -> Result<Option<SecretText>, Failure> {
        match self.generate {
            true => Ok(None),
            false => self.value.read().map(Some),
        }
    }
}
