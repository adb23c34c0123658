//! The companion of the pg_secrets extension: REST over the extension's SQL functions, the relay
//! that sends its events as webhooks, and the command line.
//!
//! It keeps no state and holds no rule that the database does not enforce, so any number of
//! companions may run against one database. `route_table.rs` lists its routes.

pub mod client;
pub mod config;
pub mod core_dumps;
pub mod decrypt;
pub mod doctor;
pub mod keygen;
pub mod masking;
pub mod reencrypt;
pub mod serve;
pub mod telemetry;
pub mod token;

mod administrator;
mod answer;
mod auth;
mod condition;
mod consumer;
mod cursor;
mod database_url;
mod db;
mod dump;
mod endpoint;
mod envelope;
mod error;
mod extract;
mod figures;
mod grace;
mod grant;
mod idempotency;
mod jwt;
mod key_file;
mod metrics;
mod policy;
mod private_file;
mod problem;
mod rate_limit;
mod router;
mod routes;
mod secret;
mod secret_text;
mod state;
mod tls_listener;
mod transaction;
mod visible;
mod webhooks;
