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
    REJECTED.exclusive().add(Tries {
        login,
        address,
        number: 1,
        first_at: now,
        last_at: now,
    });
}

impl Rejected {
    /// Adds tries to those of the same login and address; where there is no place for these, to those of all
    /// others.
    fn add(&mut self, more: Tries) {
        let last = KINDS - 1;
        let same = |tries: &Tries| (tries.login, tries.address) == (more.login, more.address);
        let place = self.0[..last]
            .iter()
            .position(|tries| tries.number == 0 || same(tries));
        let tries = &mut self.0[place.unwrap_or(last)];
        if tries.number == 0 {
            let (login, address) = place.map_or((0, 0), |_| (more.login, more.address));
            *tries = Tries {
                login,
                address,
                ..more
            };
        } else {
            tries.number = tries.number.saturating_add(more.number);
            tries.first_at = tries.first_at.min(more.first_at);
            tries.last_at = tries.last_at.max(more.last_at);
        }
    }
}

/// What was counted until it was taken.
pub(crate) struct Counted(Rejected);

/// Takes what was counted since the last time.
pub(crate) fn take() -> Counted {
    Counted(std::mem::take(&mut *REJECTED.exclusive()))
}

impl Counted {
    fn tries(&self) -> impl Iterator<Item = &Tries> {
        self.0.0.iter().filter(|tries| tries.number > 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tries().next().is_none()
    }

    /// Records it: one record for each login and address.
    pub(crate) fn record(&self, session: &Session) -> Result<()> {
        for tries in self.tries() {
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

    /// Counts it once more, where it could not be recorded.
    pub(crate) fn give_back(&self) {
        let mut rejected = REJECTED.exclusive();
        for tries in self.tries() {
            rejected.add(*tries);
        }
    }
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
