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
mod consumer;
mod database_url;
mod db;
mod dump;
mod endpoint;
mod envelope;
mod error;
mod extract;
mod grace;
mod grant;
mod jwt;
mod key_file;
mod policy;
mod private_file;
mod problem;
mod router;
mod routes;
mod secret;
mod secret_text;
mod state;
mod visible;
mod webhooks;
