//! Colour, for people: on a terminal, unless NO_COLOR (no-color.org) or a terminal without any says
//! otherwise.

use crate::client::output;

/// What is said about a text by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// As it is.
    Plain,
    /// A heading.
    Bold,
    /// Of no importance now.
    Dim,
    /// As it should be.
    Green,
    /// To be looked at.
    Yellow,
}

/// Whether there is colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// That of standard output.
    pub(crate) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            colour: output::is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }

    /// The text in a colour. It must be safe to show already.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Plain => return text.to_owned(),
            Colour::Bold => "1",
            Colour::Dim => "2",
            Colour::Green => "32",
            Colour::Yellow => "33",
        };
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_without_colour() {
        let with = Style { colour: true };
        let without = Style { colour: false };
        assert_eq!(with.paint(Colour::Yellow, "x"), "\u{1b}[33mx\u{1b}[0m");
        assert_eq!(with.paint(Colour::Plain, "x"), "x");
        assert_eq!(without.paint(Colour::Yellow, "x"), "x");
    }
}
