//! The versions of all secrets, out of a dump in pg_dump's plain format.
//!
//! What is looked for is the block `COPY control_plane.secrets (…) FROM stdin;`. Everything else is
//! passed over in bounded memory, other tables' rows as well as texts that look like such a block.

mod copy_text;
mod lines;
mod quotes;

use copy_text::{bytea, fields, unescape};
use lines::{Ended, Lines};
use quotes::Quotes;
use std::io::{Chain, Cursor, Read};
use thiserror::Error;
use uuid::Uuid;

const SCHEMA: &str = "control_plane";
const TABLE: &str = "secrets";

/// The longest row, in bytes: a value of 16 MiB, each byte of its message as five characters.
const LONGEST_ROW: u64 = 128 << 20;

/// The longest statement that may turn out to be a COPY, in bytes: 1600 columns of the longest names.
const LONGEST_HEADER: u64 = 1 << 20;

/// Enough of a row of another table to see whether it is the end.
const END_OF_ROWS: u64 = 4;

/// Enough of a file to know its format.
const MAGIC: usize = 8;

/// Why a dump was not read. Nothing of its rows is in any of these.
#[derive(Debug, Error)]
pub(crate) enum DumpError {
    /// The custom, tar or directory format, which pg_restore reads.
    #[error("it is an archive of pg_dump, not its plain format")]
    Archive,
    /// Compressed; this program prints what was compressed.
    #[error("it is compressed")]
    Compressed(&'static str),
    /// The table is there in another form.
    #[error(
        "it was written as INSERT statements (pg_dump --inserts), which are not read; restore it into a server, or take one without that option"
    )]
    Inserts,
    /// Nothing of us is in it.
    #[error("it does not hold the rows of control_plane.secrets")]
    NoTable,
    /// It ends within the table.
    #[error("it ends in the middle of control_plane.secrets, so the rest of it is missing")]
    Truncated,
    /// The table is of another version of pg_secrets.
    #[error("its table control_plane.secrets has no column {0}")]
    NoColumn(&'static str),
    /// A row that is none.
    #[error("its line {0} is not a row of control_plane.secrets")]
    Row(u64),
    /// The operating system's word.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// What has become of a version, as far as the dump tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    /// In grace, or past it and not yet erased.
    Superseded,
    Destroyed,
    Deleted,
}

/// A version without its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: Uuid,
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) created_at: String,
    pub(crate) destroyed_at: Option<String>,
    pub(crate) key_fingerprint: Option<String>,
    pub(crate) state: State,
}

/// Where the columns stand that are of use here.
struct Columns {
    count: usize,
    id: usize,
    project_id: usize,
    name: usize,
    value_encrypted: usize,
    version: usize,
    active: usize,
    created_at: usize,
    destroyed_at: usize,
    deleted_at: usize,
    key_fingerprint: usize,
}

impl Columns {
    fn find(names: &[String]) -> Result<Self, DumpError> {
        let place = |wanted: &'static str| {
            let mut names = names.iter();
            names
                .position(|name| name == wanted)
                .ok_or(DumpError::NoColumn(wanted))
        };
        Ok(Self {
            count: names.len(),
            id: place("id")?,
            project_id: place("project_id")?,
            name: place("name")?,
            value_encrypted: place("value_encrypted")?,
            version: place("version")?,
            active: place("active")?,
            created_at: place("created_at")?,
            destroyed_at: place("destroyed_at")?,
            deleted_at: place("deleted_at")?,
            key_fingerprint: place("key_fingerprint")?,
        })
    }
}

/// A dump that is being read.
pub(crate) struct Dump<R> {
    lines: Lines<Chain<Cursor<Vec<u8>>, R>>,
    quotes: Quotes,
    /// Those of the table that is being read.
    columns: Option<Columns>,
    found: bool,
}

impl<R: Read> Dump<R> {
    /// Looks at the beginning of `input`.
    ///
    /// # Errors
    /// Where it is of another format than the plain one.
    pub(crate) fn new(mut input: R) -> Result<Self, DumpError> {
        let mut start = Vec::with_capacity(MAGIC);
        (&mut input).take(MAGIC as u64).read_to_end(&mut start)?;
        match start.as_slice() {
            [b'P', b'G', b'D', b'M', b'P', ..] | b"toc.dat\0" => return Err(DumpError::Archive),
            [0x1f, 0x8b, ..] => return Err(DumpError::Compressed("gzip -dc")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(DumpError::Compressed("zstd -dc")),
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(DumpError::Compressed("lz4 -dc")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(DumpError::Compressed("xz -dc")),
            [b'B', b'Z', b'h', ..] => return Err(DumpError::Compressed("bzip2 -dc")),
            _ => {}
        }
        Ok(Self {
            lines: Lines::new(Cursor::new(start).chain(input)),
            quotes: Quotes::default(),
            columns: None,
            found: false,
        })
    }

    /// The next version; `None` at the end of the dump.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub(crate) fn next_row(&mut self) -> Result<Option<Row<'_>>, DumpError> {
        loop {
            if self.columns.is_none() {
                match self.next_table()? {
                    Some(columns) => self.columns = Some(columns),
                    None if self.found => return Ok(None),
                    None => return Err(DumpError::NoTable),
                }
                self.found = true;
            }
            match self.lines.advance(LONGEST_ROW)? {
                None => return Err(DumpError::Truncated),
                Some(Ended::Cut) => return Err(DumpError::Row(self.lines.number())),
                Some(Ended::Whole) if self.lines.kept() == b"\\." => self.columns = None,
                Some(Ended::Whole) => break,
            }
        }
        let columns = self.columns.as_ref().ok_or(DumpError::NoTable)?;
        Row::split(self.lines.kept(), self.lines.number(), columns).map(Some)
    }

    /// Goes to the next beginning of our table.
    fn next_table(&mut self) -> Result<Option<Columns>, DumpError> {
        while let Some(statement) = self.next_statement()? {
            if let Some(behind) = statement.strip_prefix(b"INSERT INTO ") {
                if is_ours(&identifiers(behind, b'.').0) {
                    return Err(DumpError::Inserts);
                }
            } else if let Some(header) = copy_header(&statement) {
                let (table, behind) = identifiers(header, b'.');
                if is_ours(&table) {
                    let behind = behind.trim_ascii().strip_prefix(b"(").unwrap_or_default();
                    return Columns::find(&identifiers(behind, b',').0).map(Some);
                }
                self.skip_rows()?;
            }
        }
        Ok(None)
    }

    /// The next line that begins outside of all quotes. If it may be a COPY or INSERT, it goes on to
    /// where its quotes are closed: the name of a table may hold the end of a line.
    fn next_statement(&mut self) -> Result<Option<Vec<u8>>, DumpError> {
        let mut statement: Option<Vec<u8>> = None;
        loop {
            let begins = self.quotes.closed();
            let ended = self
                .lines
                .advance_through(LONGEST_HEADER, &mut self.quotes)?;
            if ended.is_none() {
                return Ok(None);
            }
            let line = self.lines.kept();
            match &mut statement {
                Some(statement) => {
                    statement.push(b'\n');
                    statement.extend_from_slice(line);
                    let most = usize::try_from(LONGEST_HEADER).unwrap_or(usize::MAX);
                    statement.truncate(most);
                }
                None if begins && (line.starts_with(b"COPY ") || line.starts_with(b"INSERT ")) => {
                    statement = Some(line.to_owned());
                }
                None => continue,
            }
            if self.quotes.closed() {
                return Ok(statement);
            }
        }
    }

    /// Passes over the rows of another table.
    fn skip_rows(&mut self) -> Result<(), DumpError> {
        while self.lines.advance(END_OF_ROWS)?.is_some() {
            if self.lines.kept() == b"\\." {
                break;
            }
        }
        Ok(())
    }

    /// Reads what is left without looking at it.
    ///
    /// # Errors
    /// Those of the input.
    pub(crate) fn drain(&mut self) -> std::io::Result<()> {
        self.lines.drain()
    }
}

/// What stands between COPY and FROM, where the line is the beginning of a table's rows.
fn copy_header(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"COPY ")?.strip_suffix(b" FROM stdin;")
}

fn is_ours(table: &[String]) -> bool {
    table == [SCHEMA, TABLE]
}

/// The identifiers at the beginning of `text`, quoted or not, with `separator` and blanks between
/// them; and what follows.
fn identifiers(text: &[u8], separator: u8) -> (Vec<String>, &[u8]) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (name, behind) = identifier(rest.trim_ascii_start());
        found.push(name);
        rest = behind;
        match behind.split_first() {
            Some((byte, behind)) if *byte == separator => rest = behind,
            _ => return (found, rest),
        }
    }
}

/// The identifier at the beginning of `text`, which is empty where there is none; and what follows.
fn identifier(text: &[u8]) -> (String, &[u8]) {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | 0x80..);
        let end = text.iter().position(|byte| !part(byte));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        return (String::from_utf8_lossy(name).into_owned(), rest);
    };
    let mut name = Vec::new();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'"' {
            match behind.strip_prefix(b"\"") {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        name.push(*byte);
    }
    (String::from_utf8_lossy(&name).into_owned(), rest)
}

/// A row, not yet unescaped.
pub(crate) struct Row<'d> {
    fields: Vec<&'d [u8]>,
    columns: &'d Columns,
    line: u64,
}

impl<'d> Row<'d> {
    fn split(line: &'d [u8], number: u64, columns: &'d Columns) -> Result<Self, DumpError> {
        // One too many is enough to see that it is none.
        let fields: Vec<&[u8]> = fields(line).take(columns.count + 1).collect();
        if fields.len() != columns.count {
            return Err(DumpError::Row(number));
        }
        Ok(Self {
            fields,
            columns,
            line: number,
        })
    }

    fn bad(&self) -> DumpError {
        DumpError::Row(self.line)
    }

    fn text(&self, column: usize) -> Option<String> {
        unescape(self.fields[column]).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    fn required(&self, column: usize) -> Result<String, DumpError> {
        self.text(column).ok_or_else(|| self.bad())
    }

    /// The version's id.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn id(&self) -> Result<Uuid, DumpError> {
        let text = self.required(self.columns.id)?;
        text.parse().map_err(|_| self.bad())
    }

    /// Everything about the version but its value.
    ///
    /// # Errors
    /// Where the row misses something.
    pub(crate) fn version(&self) -> Result<Version, DumpError> {
        let columns = self.columns;
        let destroyed_at = self.text(columns.destroyed_at);
        let state = if destroyed_at.is_some() {
            State::Destroyed
        } else if self.text(columns.deleted_at).is_some() {
            State::Deleted
        } else if self.required(columns.active)? == "t" {
            State::Active
        } else {
            State::Superseded
        };
        Ok(Version {
            id: self.id()?,
            project_id: self.required(columns.project_id)?,
            name: self.required(columns.name)?,
            version: self.required(columns.version)?,
            created_at: self.required(columns.created_at)?,
            destroyed_at,
            key_fingerprint: self.text(columns.key_fingerprint),
            state,
        })
    }

    /// The OpenPGP message; `None` once the version is destroyed.
    ///
    /// # Errors
    /// Where the field is no bytea.
    pub(crate) fn message(&self) -> Result<Option<Vec<u8>>, DumpError> {
        match unescape(self.fields[self.columns.value_encrypted]) {
            None => Ok(None),
            Some(text) => bytea(&text).map(Some).ok_or_else(|| self.bad()),
        }
    }
}

#[cfg(test)]
mod tests;
