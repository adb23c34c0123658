//! The lines of a dump, each in bounded memory: other tables may have rows of a gigabyte.

use crate::dump::quotes::Quotes;
use std::io::{BufRead, BufReader, Read, Result};

/// How much is read at once of what is only looked through, in bytes.
const CHUNK: u64 = 64 << 10;

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it is kept.
    Whole,
    /// Its beginning is kept; the rest was passed over.
    Cut,
}

/// Reads line by line and keeps the current one.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    kept: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(256 << 10, input),
            kept: Vec::new(),
            number: 0,
        }
    }

    /// The current line without its end, as far as it was kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The current line's number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Goes to the next line and keeps at most `limit` bytes of it; `None` behind the last one.
    pub(super) fn advance(&mut self, limit: u64) -> Result<Option<Ended>> {
        let Some(ended) = self.keep(limit)? else {
            return Ok(None);
        };
        if ended == Ended::Cut {
            self.input.skip_until(b'\n')?;
        }
        Ok(Some(ended))
    }

    /// The same, with every byte of the line shown to `quotes`.
    pub(super) fn advance_through(
        &mut self,
        limit: u64,
        quotes: &mut Quotes,
    ) -> Result<Option<Ended>> {
        let Some(ended) = self.keep(limit)? else {
            return Ok(None);
        };
        quotes.feed(&self.kept);
        if ended == Ended::Cut {
            let mut rest = Vec::new();
            loop {
                rest.clear();
                (&mut self.input).take(CHUNK).read_until(b'\n', &mut rest)?;
                quotes.feed(&rest);
                if rest.is_empty() || rest.ends_with(b"\n") {
                    break;
                }
            }
        }
        quotes.feed(b"\n");
        Ok(Some(ended))
    }

    fn keep(&mut self, limit: u64) -> Result<Option<Ended>> {
        self.kept.clear();
        let read = (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut self.kept)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = if self.kept.ends_with(b"\n") {
            self.kept.pop();
            // A file that went through Windows; within a value a carriage return is escaped.
            if self.kept.ends_with(b"\r") {
                self.kept.pop();
            }
            Ended::Whole
        } else if (read as u64) < limit {
            Ended::Whole
        } else {
            Ended::Cut
        };
        Ok(Some(ended))
    }

    /// Reads what is left, so that whoever writes into a pipe comes to its end.
    pub(super) fn drain(&mut self) -> Result<()> {
        std::io::copy(&mut self.input, &mut std::io::sink()).map(|_| ())
    }
}
