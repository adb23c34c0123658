//! When tokens were used last: noted in shared memory by whoever authenticates, stored by the
//! bookkeeper. So a reader writes nothing, waits for nobody's lock on the token, and what it used
//! counts although it rolls back. To the minute: a token is noted once in that time.
#![allow(unsafe_code)]

use crate::audit::changes;
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::id;
use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_guard, pg_shmem_init};
use uuid::Uuid;

/// How many tokens are noted until the bookkeeper comes by, which it does every second. What has no
/// place is noted at its next use.
const PLACES: usize = 256;

/// How far apart stored uses are, in microseconds.
const MINUTE: i64 = 60 * 1_000_000;

/// One use; of no token where `at` is 0.
#[derive(Debug, Clone, Copy)]
struct Use {
    token: u128,
    /// Microseconds since 2000.
    at: i64,
}

const NONE: Use = Use { token: 0, at: 0 };

#[derive(Debug, Clone, Copy)]
struct Uses([Use; PLACES]);

impl Default for Uses {
    fn default() -> Self {
        Self([NONE; PLACES])
    }
}

// SAFETY: plain numbers, without a pointer.
unsafe impl PGRXSharedMemory for Uses {}

// SAFETY: the name is that of no other structure of ours.
static USES: PgLwLock<Uses> = unsafe { PgLwLock::new(c"pg_secrets token uses") };

/// Asks for the shared memory; once, while the library is preloaded.
pub(crate) fn request_shared_memory() {
    pg_shmem_init!(USES);
}

/// Notes that a token is used now, of which is stored that it was used at `stored`.
pub(crate) fn note(token: Uuid, stored: Option<i64>) {
    let now = id::now();
    if stored.is_some_and(|stored| now - stored < MINUTE) {
        return;
    }
    let token = token.as_u128();
    if USES.share().place_of(token).is_some() {
        return;
    }
    let mut uses = USES.exclusive();
    if uses.place_of(token).is_none()
        && let Some(free) = uses.0.iter().position(|noted| noted.at == 0)
    {
        uses.0[free] = Use { token, at: now };
    }
}

impl Uses {
    fn place_of(&self, token: u128) -> Option<usize> {
        let same = |noted: &Use| noted.at != 0 && noted.token == token;
        self.0.iter().position(same)
    }
}

/// Whether there is something to store.
pub(crate) fn any() -> bool {
    USES.share().0.iter().any(|noted| noted.at != 0)
}

// A token that somebody is revoking at this moment is left alone, and so is one whose use was stored
// while it was noted again.
static STORE: Statement = Statement::new(
    c"WITH free AS MATERIALIZED (SELECT t.id FROM control_plane.tokens AS t WHERE t.id = $1 AND (t.last_used_at IS NULL OR t.last_used_at <= $2 - $3) FOR UPDATE SKIP LOCKED) UPDATE control_plane.tokens AS t SET last_used_at = $2 FROM free WHERE t.id = free.id",
);

/// Stores what was noted. What fails with the transaction is noted again at the token's next use.
pub(crate) fn store(session: &Session) -> Result<()> {
    let noted = std::mem::take(&mut *USES.exclusive());
    // That a token was used is no change of it; what was done with it has its own records.
    let _recorded = changes::recorded_elsewhere();
    for used in noted.0.iter().filter(|noted| noted.at != 0) {
        session.run(
            &STORE,
            &[
                Param::Uuid(Some(Uuid::from_u128(used.token))),
                Param::Timestamp(Some(used.at)),
                Param::Interval(MINUTE),
            ],
        )?;
    }
    Ok(())
}
