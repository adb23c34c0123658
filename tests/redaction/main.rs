//! What of values gets out through logs, statistics and other libraries: nothing. A binary of its own,
//! since each of these tests starts a server with settings that no other test would bear.

mod bound;
mod companion;
mod disguises;
mod doctor;
mod everything;
mod functions;
mod later;
mod loud;
mod others;
mod statements;
mod trouble;
mod wrappers;
