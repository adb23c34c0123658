//! The bookkeeper: the worker that goes through the records behind the readers' backs. It chains them,
//! works out who uses which version and when a token was used, watches for refusals, and lets old records go. Each of that is a
//! transaction by itself: what fails is said in the log and tried again, and keeps nothing else from
//! being done.
#![allow(unsafe_code)]

use crate::access::{rejected_tokens, token_uses};
use crate::audit::chain;
use crate::audit::denials::{self, Told};
use crate::audit::{announce, retention, usage};
use crate::backend::session::Session;
use crate::backend::transaction::attempt;
use crate::backend::{latch, raise};
use crate::error::Result;
use crate::gucs;
use crate::maintenance::installation;
use crate::workers::{process, wake};
use pgrx::{PgLogLevel, pg_guard, pg_sys};
use std::collections::HashMap;
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// How long records are gathered before they are gone through.
const GATHER: Duration = Duration::from_millis(100);

/// How soon to come back to what had to wait or failed.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How often to look whether the extension is still there, and what is due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many batches of old records are removed before anything else is looked at again.
const SWEEPS: usize = 20;

/// The worker's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgs_bookkeeper_main(_argument: pg_sys::Datum) {
    if !process::begin() || !wake::become_bookkeeper() {
        return;
    }
    // Plans are made while the tables are small, and used when they are not.
    for method in [
        c"enable_seqscan",
        c"enable_hashjoin",
        c"enable_mergejoin",
        c"jit",
    ] {
        process::override_setting(method, c"off");
    }
    // Somebody else's open transaction delays what it concerns, and nothing else.
    process::wait_for_locks_at_most(c"200ms");
    let mut state = State::new();
    loop {
        let again = state.go_through();
        process::report_statistics();
        let pause = if again { TRY_AGAIN } else { LOOK_AGAIN };
        if latch::wait(pause) {
            // One round for all that happens within this time.
            latch::wait_out(GATHER);
        } else if !process::is_wanted() {
            return;
        }
        process::check_for_interrupts();
    }
}

struct State {
    told: Told,
    rejected: Instant,
    swept: Instant,
    /// Why each task that fails now does so, so that the log says it once.
    failing: HashMap<&'static str, String>,
}

impl State {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            told: Told::default(),
            rejected: now,
            swept: now,
            failing: HashMap::new(),
        }
    }

    /// Does what there is to do; whether to come back soon.
    fn go_through(&mut self) -> bool {
        let mut again = false;
        while self.task("chaining the audit", |_, session| chain::extend(session)) == Some(true) {}
        let store = |_: &mut Self, session: &Session| usage::store(session);
        match self.recomputable("storing who uses what", store) {
            Some(false) => {}
            Some(true) | None => again = true,
        }
        if token_uses::any() {
            self.recomputable("storing when tokens were used", |_, session| {
                token_uses::store(session)
            });
        }
        if self.rejected.elapsed() >= gucs::maintenance_interval() {
            self.rejected = Instant::now();
            self.record_rejected_tokens();
        }
        if gucs::workers() {
            let is_own = |_: &mut Self, session: &Session| installation::is_own(session);
            if self.recomputable("looking where this database is from", is_own) == Some(true) {
                self.act();
            }
        }
        again
    }

    fn record_rejected_tokens(&mut self) {
        let counted = rejected_tokens::take();
        let record = |_: &mut Self, session: &Session| counted.record(session);
        if !counted.is_empty() && self.task("recording rejected tokens", record).is_none() {
            counted.give_back();
        }
    }

    /// Does what is seen outside, and what cannot be undone: not in the copy of a server,
    /// and not in a restored database before somebody has confirmed it.
    fn act(&mut self) {
        self.recomputable("watching for refused reads", |state, session| {
            denials::watch(session, &mut state.told)
        });
        if gucs::audit_head_interval().is_some() {
            self.task("signing the head of the audit", |_, session| {
                announce::announce(session)
            });
        }
        if self.swept.elapsed() >= gucs::maintenance_interval() {
            self.swept = Instant::now();
            let sweep = |_: &mut Self, session: &Session| retention::sweep(session);
            for _ in 0..SWEEPS {
                if self.task("removing old records of the audit", sweep) != Some(true) {
                    break;
                }
            }
        }
    }

    /// Does one thing in a transaction of its own; `None` where it failed. A standby that is gone delays
    /// reads, and nothing here: what is lost with a failover is worked out anew.
    fn task<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut Self, &Session) -> Result<T>,
    ) -> Option<T> {
        self.commit(what, c"local", work)
    }

    /// The same for what is worked out anew after a crash too: its commit need not wait for the disk.
    fn recomputable<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut Self, &Session) -> Result<T>,
    ) -> Option<T> {
        self.commit(what, c"off", work)
    }

    fn commit<T>(
        &mut self,
        what: &'static str,
        synchronous_commit: &CStr,
        work: impl FnOnce(&mut Self, &Session) -> Result<T>,
    ) -> Option<T> {
        process::override_setting(c"synchronous_commit", synchronous_commit);
        let done = attempt(|| process::as_owner(|| Session::with(|session| work(self, session))));
        process::check_for_interrupts();
        match done {
            Ok(done) => {
                if self.failing.remove(what).is_some() {
                    raise::log(PgLogLevel::LOG, &format!("pg_secrets: {what}: works again"));
                }
                Some(done)
            }
            Err(failure) => {
                let reason = failure.message;
                if self.failing.get(what) != Some(&reason) {
                    raise::log(
                        PgLogLevel::WARNING,
                        &format!("pg_secrets: {what}: {reason}"),
                    );
                    self.failing.insert(what, reason);
                }
                None
            }
        }
    }
}
