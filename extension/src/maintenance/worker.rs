//! The worker that does what is due, when it is due. Each thing is a transaction by itself: what fails is
//! said in the log, tried again, and keeps nothing else from being done.
#![allow(unsafe_code)]

use crate::access::identity::Caller;
use crate::backend::session::Session;
use crate::backend::transaction::{Failure, attempt};
use crate::backend::{latch, raise};
use crate::error::Result;
use crate::gucs;
use crate::maintenance::due::{self, Due};
use crate::maintenance::sweep::{self, Steps, Swept};
use crate::maintenance::vacuum::Erased;
use crate::maintenance::{Actor, installation};
use crate::outbox::retention;
use crate::workers::{process, wake};
use pgrx::{PgLogLevel, pg_guard, pg_sys};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long changes are gathered before one looks what is due.
const GATHER: Duration = Duration::from_millis(50);

/// How soon to come back to what somebody else was changing.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How many batches of old deliveries are removed before anything else is looked at again.
const MOST_BATCHES: usize = 20;

/// How often to look whether the extension is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The worker's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgs_maintenance_main(_argument: pg_sys::Datum) {
    if !process::begin() || !wake::become_maintenance() {
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
    // A standby that is gone delays reads, and nothing here.
    process::override_setting(c"synchronous_commit", c"local");
    let mut state = State::new();
    loop {
        state.look();
        process::report_statistics();
        let pause = state.next.saturating_duration_since(Instant::now());
        if latch::wait(pause.min(LOOK_AGAIN)) {
            latch::wait_out(GATHER);
            state.next = Instant::now();
        } else if !process::is_wanted() {
            return;
        }
        process::check_for_interrupts();
    }
}

struct State {
    /// When to sweep.
    next: Instant,
    erased: Erased,
    vacuumed: Option<Instant>,
    /// When what was delivered long ago was removed last.
    forgot: Option<Instant>,
    /// Whether the log says that this database is not its own.
    said: bool,
    failing: Failing,
}

/// Why each version that fails now does so, so that the log says it once.
#[derive(Default)]
struct Failing {
    before: HashMap<Uuid, String>,
    now: HashMap<Uuid, String>,
    /// The same for what is not about one version.
    whole: Option<String>,
}

impl State {
    fn new() -> Self {
        Self {
            next: Instant::now(),
            erased: Erased::before_start(),
            vacuumed: None,
            forgot: None,
            said: false,
            failing: Failing::default(),
        }
    }

    /// Does what is due by now.
    fn look(&mut self) {
        if Instant::now() >= self.next {
            let interval = gucs::maintenance_interval();
            let pause = match self.sweep() {
                Ok(pause) => {
                    self.failing.whole = None;
                    pause.map_or(interval, |pause| pause.min(interval))
                }
                Err(failure) => {
                    self.failing.of_the_whole(failure);
                    TRY_AGAIN
                }
            };
            self.next = Instant::now() + pause;
        }
        if let Err(failure) = self.vacuum() {
            self.failing.of_the_whole(failure);
        }
    }

    /// Sweeps; how long until something is due again, if anything is.
    fn sweep(&mut self) -> std::result::Result<Option<Duration>, Failure> {
        if !self.may_act()? {
            return Ok(None);
        }
        let now = due::now();
        let caller = Caller::worker();
        let actor = Actor {
            caller: &caller,
            administrator: false,
        };
        self.failing.before = std::mem::take(&mut self.failing.now);
        let swept: Swept = sweep::sweep(&mut self.failing, &actor, now)?;
        self.forget_deliveries()?;
        let next = self.failing.step(|session| due::next(session, now))?;
        let left = |at: i64| {
            let left = u64::try_from(at.saturating_sub(due::now())).unwrap_or(0);
            Duration::from_micros(left)
        };
        let until = next.map(left);
        let again = swept.busy.then_some(TRY_AGAIN);
        // Who reads a version becomes known a moment after the read: one looks again until its end.
        let unheld = swept.unheld.map(|at| (left(at) / 2).max(TRY_AGAIN));
        Ok(until.into_iter().chain(again).chain(unheld).min())
    }

    /// Removes events, deliveries and tries that are over for long, once a maintenance interval at most.
    fn forget_deliveries(&mut self) -> std::result::Result<(), Failure> {
        let recent = |at: Instant| at.elapsed() < gucs::maintenance_interval();
        if self.forgot.is_some_and(recent) {
            return Ok(());
        }
        self.forgot = Some(Instant::now());
        for _ in 0..MOST_BATCHES {
            if !self.failing.step(retention::sweep)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether this database acts by itself; where not, the log says so, once.
    fn may_act(&mut self) -> std::result::Result<bool, Failure> {
        let own = self.failing.step(installation::is_own)?;
        if !own && !self.said {
            let line = format!(
                "pg_secrets: {}. {}",
                installation::STATE,
                installation::HINT
            );
            raise::log(PgLogLevel::WARNING, &line);
        }
        self.said = !own;
        Ok(own)
    }

    /// Vacuums after erasures, once a maintenance interval at most.
    fn vacuum(&mut self) -> std::result::Result<(), Failure> {
        let recent = |at: Instant| at.elapsed() < gucs::maintenance_interval();
        if self.vacuumed.is_some_and(recent) || !self.erased.is_removable()? {
            return Ok(());
        }
        self.vacuumed = Some(Instant::now());
        // Longer than an autovacuum of the same table needs to notice that it is in the way.
        process::wait_for_locks_at_most(c"2s");
        let vacuumed = self.erased.vacuum();
        process::check_for_interrupts();
        vacuumed
    }
}

impl Failing {
    fn of_the_whole(&mut self, failure: Failure) {
        if failure.collided || self.whole.as_ref() == Some(&failure.message) {
            return;
        }
        let line = format!("pg_secrets: maintenance: {}", failure.message);
        raise::log(PgLogLevel::WARNING, &line);
        self.whole = Some(failure.message);
    }
}

impl Steps for Failing {
    fn step<T>(
        &mut self,
        work: impl FnOnce(&Session) -> Result<T>,
    ) -> std::result::Result<T, Failure> {
        // Somebody else's open transaction delays what it concerns, and nothing else.
        process::wait_for_locks_at_most(c"200ms");
        let done = attempt(|| process::as_owner(|| Session::with(work)));
        process::check_for_interrupts();
        done
    }

    fn failed(&mut self, due: &Due, failure: Failure) {
        if self.before.get(&due.id) != Some(&failure.message) {
            raise::log(PgLogLevel::WARNING, &sweep::line(due, &failure.message));
        }
        self.now.insert(due.id, failure.message);
    }

    fn settled(&mut self, due: &Due) {
        if self.before.contains_key(&due.id) {
            let line = sweep::line(due, "works again");
            raise::log(PgLogLevel::LOG, &line);
        }
    }
}
