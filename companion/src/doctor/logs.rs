//! The server's log, read from where it ended before something was done.

use super::finding::Finding;
use super::session::Session;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// At most how much of a file is read.
const MOST: u64 = 64 << 20;

/// One file, and where it ended.
pub(super) struct LogFile {
    pub(super) name: String,
    end: u64,
    local: bool,
}

/// The files that the operator named, or else those that the server says it writes to and lets this
/// login read.
pub(super) async fn open(session: &Session, named: &[PathBuf]) -> Result<Vec<LogFile>, Finding> {
    if !named.is_empty() {
        return named.iter().map(|path| of_this_machine(path)).collect();
    }
    let mut files = Vec::new();
    for format in ["stderr", "csvlog", "jsonlog"] {
        let asked = session
            .rows(
                "SELECT f.name, (pg_catalog.pg_stat_file(f.name)).size FROM pg_catalog.pg_current_logfile($1) AS f(name) WHERE f.name IS NOT NULL",
                &[&format],
            )
            .await;
        for row in asked.unwrap_or_default() {
            if let (Ok(name), Ok(size)) = (row.try_get(0), row.try_get::<_, i64>(1)) {
                files.push(LogFile {
                    name,
                    end: u64::try_from(size).unwrap_or(0),
                    local: false,
                });
            }
        }
    }
    Ok(files)
}

fn of_this_machine(path: &Path) -> Result<LogFile, Finding> {
    let name = path.display().to_string();
    let end = std::fs::File::open(path).and_then(|file| Ok(file.metadata()?.len()));
    match end {
        Ok(end) => Ok(LogFile {
            name,
            end,
            local: true,
        }),
        Err(error) => Err(Finding::not_checked(
            "canary",
            format!("the log {name} cannot be read: {error}"),
        )),
    }
}

impl LogFile {
    /// What was written since; `None` where it cannot be read any more.
    pub(super) async fn since(&self, session: &Session) -> Option<Vec<u8>> {
        if self.local {
            let mut file = std::fs::File::open(&self.name).ok()?;
            file.seek(SeekFrom::Start(self.end)).ok()?;
            let mut text = Vec::new();
            file.take(MOST).read_to_end(&mut text).ok()?;
            return Some(text);
        }
        let from = i64::try_from(self.end).ok()?;
        let most = i64::try_from(MOST).ok()?;
        let rows = session
            .rows(
                "SELECT pg_catalog.pg_read_binary_file($1, $2, $3, true)",
                &[&self.name, &from, &most],
            )
            .await
            .ok()?;
        rows.first()?.try_get(0).ok()
    }
}
