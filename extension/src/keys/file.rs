//! Reading a file that holds a key or a passphrase.

use crate::keys::reason::Reason;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use zeroize::Zeroizing;

/// The longest file that is read, in bytes: some dozens of keys. A file of a megabyte could keep the
/// postmaster busy for seconds.
const LONGEST: usize = 128 << 10;

/// The content of the file that `setting` names. It must be an ordinary file: the postmaster itself
/// reads it, and must neither wait for a pipe's other end nor fill its memory from a device.
pub(super) fn read_bounded(setting: &str, path: &str) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let named = format_args!("the file that {setting} names ({path})").to_string();
    let cannot = |error: std::io::Error| Reason::unreadable(&named, &error);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if !about.is_file() {
        return Err(Reason::new(format!("{named} is not an ordinary file")));
    }
    // Room for all of it at once: growing would leave copies behind.
    let room = usize::try_from(about.len()).unwrap_or(LONGEST).min(LONGEST);
    let mut content = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(LONGEST as u64 + 1)
        .read_to_end(&mut content)
        .map_err(cannot)?;
    if content.len() > LONGEST {
        return Err(Reason::new(format!(
            "{named} is longer than any file of keys"
        )));
    }
    Ok(content)
}

/// Whether every account of the machine may read the file.
pub(super) fn is_open_to_all(path: &str) -> bool {
    const READ_BY_OTHERS: u32 = 0o004;
    std::fs::metadata(path).is_ok_and(|about| about.mode() & READ_BY_OTHERS != 0)
}
