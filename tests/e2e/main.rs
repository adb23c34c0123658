//! What pg_secrets promises, each promise proved by a test of its name: on a real Postgres with the
//! extension, and where REST or webhooks are meant, through the real companion.

mod access;
mod attacks;
mod audit;
mod audit_heads;
mod audit_log;
mod audit_pages;
mod audit_rights;
mod binding;
mod blast_radius;
mod chain;
mod chain_load;
mod churn;
mod cli_files;
mod cli_login;
mod cli_run;
mod cli_secrets;
mod cli_servers;
mod cli_terminal;
mod cli_unseen;
mod cli_watch;
mod clone;
mod consumers;
mod crashes;
mod decrypt;
mod definers;
mod dry_run;
mod dump;
mod durable_audit;
mod erasing;
mod erasure;
mod generated;
mod gnupg;
mod golden;
mod grace;
mod holds;
mod install;
mod interop;
mod key_errors;
mod key_file;
mod life;
mod lifetimes;
mod lock_queues;
mod maintenance;
mod maintenance_faults;
mod make_run;
mod messages;
mod million;
mod misuse;
mod no_plaintext;
mod policy;
mod protected_audit;
mod races;
mod readme;
mod reencrypt;
mod refusals;
mod relay_death;
mod restore;
mod restored;
mod retention;
mod rollback;
mod schema;
mod segments;
mod tokens;
mod unrecordable;
mod usage;
mod verdict;
mod webhooks;
mod workers;

/// The length of a fault test: short in `make test`, full in `make soak`.
fn duration(short: u64, full: u64) -> std::time::Duration {
    let soak = std::env::var_os("PG_SECRETS_SOAK").is_some();
    std::time::Duration::from_secs(if soak { full } else { short })
}
