//! Where things are.

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

fn built() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    target.join("release")
}

/// The companion that `make build` built.
#[must_use]
pub fn companion_binary() -> PathBuf {
    built().join("pg-secrets")
}

/// The extension's library that `make build` built.
#[must_use]
pub fn extension_library() -> PathBuf {
    built().join("libpg_secrets.so")
}

/// The extension's library that masks nothing, which dev/build-unredacted.sh built.
pub(crate) fn unredacted_library() -> PathBuf {
    built().join("unredacted/pg_secrets.so")
}

/// A program of the Postgres server that pgrx.toml names, or `PG_SECRETS_TEST_PG_CONFIG` in its place.
///
/// # Panics
/// Where pgrx.toml names none.
#[must_use]
pub fn postgres_binary(name: &str) -> PathBuf {
    postgres_binaries().join(name)
}

fn postgres_binaries() -> PathBuf {
    if let Some(pg_config) = std::env::var_os("PG_SECRETS_TEST_PG_CONFIG") {
        let pg_config = PathBuf::from(pg_config);
        return pg_config.parent().expect("pg_config is in a folder").into();
    }
    let settings =
        std::fs::read_to_string(repository().join("pgrx.toml")).expect("pgrx.toml can be read");
    let pg_config = settings
        .lines()
        .find_map(|line| line.strip_prefix("pg15 = \"")?.strip_suffix('"'))
        .expect("pgrx.toml names a pg_config");
    Path::new(pg_config)
        .parent()
        .expect("pg_config is in a folder")
        .to_owned()
}
