//! Reading a file that holds a key or a passphrase.

use crate::keys::Reason;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes: some hundred keys.
const LONGEST: usize = 1 << 20;

/// The content of the file that `setting` names. It must be an ordinary file: the postmaster itself
/// reads it, and must neither wait for a pipe's other end nor fill its memory from a device.
pub(super) fn read_bounded(setting: &str, path: &str) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let unreadable =
        |why: &dyn std::fmt::Display| format!("the file that {setting} names ({path}) {why}");
    let cannot = |error: std::io::Error| unreadable(&format_args!("cannot be read: {error}"));
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if !about.is_file() {
        return Err(unreadable(&"is not an ordinary file"));
    }
    // Room for all of it at once: growing would leave copies behind.
    let room = usize::try_from(about.len()).unwrap_or(LONGEST).min(LONGEST);
    let mut content = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(LONGEST as u64 + 1)
        .read_to_end(&mut content)
        .map_err(cannot)?;
    if content.len() > LONGEST {
        return Err(unreadable(&"is longer than any file of keys"));
    }
    Ok(content)
}
