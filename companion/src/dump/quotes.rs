//! Whether a line of a dump begins within a quoted text.
//!
//! Function bodies and comments are texts of other people, and may hold lines that look like the
//! beginning of a table. pg_dump doubles quotes and backslashes wherever they stand in a text, so
//! a backslash needs no attention.

/// The longest tag of a dollar quote that is looked at: that of the longest identifier, and more.
const LONGEST_TAG: usize = 256;

#[derive(Debug, Default)]
enum State {
    #[default]
    Statement,
    /// `-` was seen.
    Dash,
    /// `$` and the beginning of a tag were seen.
    Tag(Vec<u8>),
    Comment,
    /// Until the same character comes again; a doubled one ends it and begins it anew.
    Quoted(u8),
    /// Until `$tag$`, of which so many bytes were just seen.
    Dollar {
        end: Vec<u8>,
        seen: usize,
    },
}

/// Follows the statements of a dump byte by byte.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    state: State,
}

impl Quotes {
    /// Whether the next byte belongs to a statement itself.
    pub(super) fn closed(&self) -> bool {
        matches!(self.state, State::Statement | State::Dash)
    }

    /// Goes on.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = next(std::mem::take(&mut self.state), *byte);
        }
    }
}

fn next(state: State, byte: u8) -> State {
    match state {
        State::Dash if byte == b'-' => State::Comment,
        State::Statement | State::Dash => match byte {
            b'-' => State::Dash,
            b'\'' | b'"' => State::Quoted(byte),
            b'$' => State::Tag(Vec::new()),
            _ => State::Statement,
        },
        State::Tag(mut tag) => match byte {
            b'$' => State::Dollar {
                end: [b"$", tag.as_slice(), b"$"].concat(),
                seen: 0,
            },
            // Not a digit first: that is a parameter.
            b'0'..=b'9' if tag.is_empty() => State::Statement,
            b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. if tag.len() < LONGEST_TAG => {
                tag.push(byte);
                State::Tag(tag)
            }
            _ => next(State::Statement, byte),
        },
        State::Comment if byte == b'\n' => State::Statement,
        State::Quoted(quote) if byte == quote => State::Statement,
        State::Comment | State::Quoted(_) => state,
        State::Dollar { end, seen } => {
            // A dollar stands at the beginning and the end of `end` alone, so a mismatch can only
            // begin anew.
            let seen = match byte {
                _ if byte == end[seen] => seen + 1,
                b'$' => 1,
                _ => 0,
            };
            if seen == end.len() {
                State::Statement
            } else {
                State::Dollar { end, seen }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_where_a_text_is_open() {
        for (text, closed) in [
            ("CREATE TABLE a (b text);\n", true),
            ("COMMENT ON TABLE a IS 'it", false),
            ("COMMENT ON TABLE a IS 'it''s\nCOPY';\n", true),
            ("COMMENT ON TABLE a IS 'ends in a backslash \\';\n", true),
            ("SELECT E'C:\\\\';\n", true),
            ("CREATE TABLE \"o'clock\" (", true),
            ("-- Name: o'clock; Type: TABLE\n", true),
            ("-- Name: o'clock", false),
            ("SELECT a - 'b", false),
            ("AS $$ it's", false),
            ("AS $$ it's $$;\n", true),
            ("AS $_$ $1 $$ $_", false),
            ("AS $_$ $1 $$ $$_$;\n", true),
            ("AS $body$ $bod$body$;\n", true),
            ("RETURN $1 || 'a';\n", true),
            ("\\connect -reuse-previous=on \"dbname='app'\"\n", true),
        ] {
            for size in [1, 2, 7, text.len()] {
                let mut quotes = Quotes::default();
                text.as_bytes()
                    .chunks(size)
                    .for_each(|chunk| quotes.feed(chunk));
                assert_eq!(quotes.closed(), closed, "{text}");
            }
        }
    }
}
