//! Why a command of the client gave up, and the exit code that says so to scripts.

use serde_json::{Map, Value};
use uuid::Uuid;

/// The kinds that scripts can tell apart; docs/cli.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Anything without a code of its own.
    Failed = 1,
    /// The command line, or what it was given, is refused before anything is sent.
    Usage = 2,
    /// The server cannot be reached, or cannot serve now.
    Unreachable = 3,
    /// There is no such thing, or its value is gone.
    NotFound = 4,
    /// Not logged in, or not permitted.
    Denied = 5,
    /// Another change was there first, or the state does not allow this one.
    Conflict = 6,
}

/// A command's end without success. The text is for people, shows nothing that a terminal would act
/// upon, and holds no value.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    text: String,
    members: Map<String, Value>,
}

impl Failure {
    /// A failure in our own words.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            members: Map::new(),
        }
    }

    /// With what the server says to programs.
    pub(crate) fn with_members(mut self, members: Map<String, Value>) -> Self {
        self.members = members;
        self
    }

    /// With another sentence.
    pub(crate) fn and(mut self, sentence: &str) -> Self {
        let end = match self.text.ends_with(['.', '!', '?']) {
            true => " ",
            false => ". ",
        };
        self.text.push_str(end);
        self.text.push_str(sentence);
        self
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether a companion said it.
    pub(crate) fn is_a_companions(&self) -> bool {
        !self.members.is_empty()
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.kind as u8
    }

    /// What a person is told.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The current version's id, where the server named it.
    pub(crate) fn current_id(&self) -> Option<Uuid> {
        self.members.get("current_id")?.as_str()?.parse().ok()
    }

    /// Which of the names asked for are not there, counted from 1, where the server named them.
    pub(crate) fn missing(&self) -> Vec<usize> {
        let all = self.members.get("missing").and_then(Value::as_array);
        all.into_iter()
            .flatten()
            .filter_map(|position| position.as_u64()?.try_into().ok())
            .collect()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Failed, format!("{error:#}"))
    }
}
