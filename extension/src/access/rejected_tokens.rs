//! Tokens that were not valid, counted in shared memory by login and address and recorded together:
//! nobody fills the audit with them.
#![allow(unsafe_code)]

use crate::access::identity::{self, Caller, Request};
use crate::audit::record::{self, Record};
use crate::backend::client;
use crate::backend::session::Session;
use crate::error::Result;
use crate::id;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_guard, pg_shmem_init};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many logins and addresses are told apart until the next record; more are counted together.
const KINDS: usize = 32;

/// Tries of one login from one address.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    login: u32,
    /// As an address of version 6; 0 where it is not known.
    address: u128,
    number: u64,
    /// Microseconds since 2000.
    first_at: i64,
    last_at: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rejected([Tries; KINDS]);

// SAFETY: plain numbers, without a pointer.
unsafe impl PGRXSharedMemory for Rejected {}

// SAFETY: the name is that of no other structure of ours.
static REJECTED: PgLwLock<Rejected> = unsafe { PgLwLock::new(c"pg_secrets rejected tokens") };

/// Asks for the shared memory; once, while the library is preloaded.
pub(crate) fn request_shared_memory() {
    pg_shmem_init!(REJECTED);
}

/// Counts one that was not valid.
pub(crate) fn count(request: &Request) {
    // SAFETY: reads the backend's own state.
    let login = unsafe { pg_sys::GetAuthenticatedUserId() }.to_u32();
    let described = request.client_address.as_deref();
    let address = described
        .and_then(|address| address.parse().ok())
        .or_else(client::address)
        .map_or(0, to_number);
    let now = id::now();
    let mut rejected = REJECTED.exclusive();
    let last = KINDS - 1;
    let place = rejected.0[..last]
        .iter()
        .position(|tries| tries.number == 0 || (tries.login, tries.address) == (login, address));
    let tries = &mut rejected.0[place.unwrap_or(last)];
    if tries.number == 0 {
        let (login, address) = place.map_or((0, 0), |_| (login, address));
        *tries = Tries {
            login,
            address,
            first_at: now,
            ..Tries::default()
        };
    }
    tries.number = tries.number.saturating_add(1);
    tries.last_at = now;
}

/// Records what was counted since the last time: one record for each login and address.
pub(crate) fn record(session: &Session) -> Result<()> {
    if REJECTED.share().0.iter().all(|tries| tries.number == 0) {
        return Ok(());
    }
    let counted = std::mem::take(&mut *REJECTED.exclusive());
    for tries in counted.0.iter().filter(|tries| tries.number > 0) {
        let mut caller = Caller::worker();
        if let Some(login) = identity::role_name(pg_sys::Oid::from(tries.login)) {
            caller.actor.clone_from(&login);
            caller.login = login;
        }
        caller.request.client_address = from_number(tries.address).map(|a| a.to_string());
        let mut rejected = Record::new("token.rejected");
        rejected.outcome = "denied";
        rejected.detail = Some(json!({
            "attempts": tries.number,
            "seconds": (tries.last_at - tries.first_at) / 1_000_000,
        }));
        record::write(session, &caller, rejected)?;
    }
    Ok(())
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn from_number(number: u128) -> Option<IpAddr> {
    let address = Ipv6Addr::from_bits(number);
    let mapped: Option<Ipv4Addr> = address.to_ipv4_mapped();
    (number != 0).then(|| mapped.map_or(IpAddr::V6(address), IpAddr::V4))
}
