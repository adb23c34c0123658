//! A server with another library of ours than the one that is installed: its folders once more, made of
//! links. A server finds them by the place of its own program.

use crate::places::{postgres_binary, unredacted_library};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes one below `home` that has the library which masks nothing. Answers where its program is.
///
/// # Panics
/// Where that library was not built: dev/build-unredacted.sh does it.
pub(crate) fn unredacted(home: &Path) -> PathBuf {
    let library = unredacted_library();
    assert!(
        library.exists(),
        "dev/build-unredacted.sh makes {}",
        library.display()
    );
    let [programs, libraries, shared] = ["--bindir", "--pkglibdir", "--sharedir"].map(folder);
    let common: PathBuf = programs
        .components()
        .zip(libraries.components())
        .zip(shared.components())
        .take_while(|((a, b), c)| a == b && b == c)
        .map(|((a, _), _)| a)
        .collect();
    let place = |folder: &Path| {
        let below = folder.strip_prefix(&common).expect("below what they share");
        home.join("server").join(below)
    };
    fs::create_dir_all(place(&libraries)).expect("a folder");
    for entry in fs::read_dir(&libraries)
        .expect("the server's libraries")
        .flatten()
    {
        if entry.file_name() != "pg_secrets.so" {
            let link = place(&libraries).join(entry.file_name());
            symlink(entry.path(), link).expect("a link");
        }
    }
    fs::copy(library, place(&libraries).join("pg_secrets.so")).expect("a copy");
    fs::create_dir_all(place(&shared).parent().expect("not the root")).expect("a folder");
    symlink(&shared, place(&shared)).expect("a link");
    fs::create_dir_all(place(&programs)).expect("a folder");
    let program = place(&programs).join("postgres");
    // A copy: of a link the server would go where it leads.
    fs::copy(postgres_binary("postgres"), &program).expect("a copy");
    program
}

fn folder(option: &str) -> PathBuf {
    let output = Command::new(postgres_binary("pg_config"))
        .arg(option)
        .output();
    let printed = output.expect("pg_config runs").stdout;
    PathBuf::from(String::from_utf8_lossy(&printed).trim())
}
