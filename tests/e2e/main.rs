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
mod clone;
mod consumers;
mod crashes;
mod dangerous_names;
mod decrypt;
mod definers;
mod delivery_ends;
mod delivery_rules;
mod delivery_scene;
mod dry_run;
mod dump;
mod durable_audit;
mod endpoint_strangers;
mod endpoints;
mod erasing;
mod erasure;
mod forgery;
mod generated;
mod gnupg;
mod golden;
mod grace;
mod grant_ends;
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
mod notify_queue;
mod policy;
mod postgrest;
mod prefixes;
mod protected_audit;
mod races;
mod readme;
mod reencrypt;
mod refusals;
mod relay_chaos;
mod relay_death;
mod restore;
mod restored;
mod retention;
mod rollback;
mod row_security;
mod schema;
mod segments;
mod signing_secrets;
mod token_routes;
mod tokens;
mod unrecordable;
mod usage;
mod verdict;
mod vouching;
mod webhook_docs;
mod webhooks;
mod workers;

/// The length of a fault test: short in `make test`, full in `make soak`.
fn duration(short: u64, full: u64) -> std::time::Duration {
    let soak = std::env::var_os("PG_SECRETS_SOAK").is_some();
    std::time::Duration::from_secs(if soak { full } else { short })
}
