//! Records that are durable before anything else happens, whatever becomes of the transaction.

use crate::audit::ring::{self, Outcome, Ticket};
use crate::backend::{latch, session};
use crate::error::{Error, Result};
use crate::gucs;
use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How many records of one read are under way at once; a larger one comes in several parts.
const CHUNK: usize = ring::SLOTS / 8;

/// How long a single reader looks for the end of its record before it sleeps.
const SPIN: Duration = Duration::from_micros(500);

/// How many processors there are.
pub(super) static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// How long to wait for a free slot before looking again.
const FULL: Duration = Duration::from_millis(2);

/// Hands records to the audit worker and waits until they are committed and flushed. On any error,
/// and where the wait is cancelled, nothing may be released; the worker then records that.
pub(crate) fn write(records: &[Vec<u8>]) -> Result<()> {
    write_or_withdraw(records, || None)
}

/// The same. Where it fails although some of them were written, the record that `withdrawal` makes says of
/// these that nothing was released.
pub(super) fn write_or_withdraw(
    records: &[Vec<u8>],
    withdrawal: impl Fn() -> Option<Vec<u8>>,
) -> Result<()> {
    refuse_on_standby()?;
    let deadline = Instant::now() + gucs::audit_timeout();
    let mut underway = Underway {
        tickets: VecDeque::with_capacity(records.len().min(CHUNK)),
        written: 0,
        withdrawal,
    };
    // A process that is terminated drops nothing. Of a single record there is next to no time between its
    // being written and its reader's hearing of it.
    if records.len() > 1 {
        ring::set_last_word((underway.withdrawal)());
    }
    for chunk in records.chunks(CHUNK) {
        for record in chunk {
            // Where no slot is free, what this reader holds itself is brought to its end first: readers that
            // held slots and waited for more would wait for each other.
            let ticket = loop {
                if let Some(ticket) = Ticket::submit(record) {
                    break ticket;
                }
                ring::wake_worker();
                if !underway.finish_first(deadline)? {
                    break submit(record, deadline)?;
                }
            };
            underway.tickets.push_back(ticket);
        }
        ring::wake_worker();
        while underway.finish_first(deadline)? {}
    }
    underway.written = 0;
    Ok(())
}

/// The records of one reader that are not all written yet. When it is dropped too early, by an error or a
/// cancelled wait, what was written of it is withdrawn.
struct Underway<F: Fn() -> Option<Vec<u8>>> {
    tickets: VecDeque<Ticket>,
    written: usize,
    withdrawal: F,
}

impl<F: Fn() -> Option<Vec<u8>>> Underway<F> {
    /// Waits for the first of the tickets; false where there is none.
    fn finish_first(&mut self, deadline: Instant) -> Result<bool> {
        let Some(first) = self.tickets.front() else {
            return Ok(false);
        };
        wait(first, deadline)?;
        self.tickets.pop_front();
        self.written += 1;
        Ok(true)
    }
}

impl<F: Fn() -> Option<Vec<u8>>> Drop for Underway<F> {
    fn drop(&mut self) {
        for ticket in self.tickets.drain(..) {
            self.written += usize::from(ticket.give_up());
        }
        ring::set_last_word(None);
        if self.written > 0
            && let Some(record) = (self.withdrawal)()
        {
            ring::leave(&record);
        }
    }
}

/// Hands a record to the audit worker and does not wait for it.
pub(crate) fn hand_in(record: &[u8]) -> Result<()> {
    refuse_on_standby()?;
    let deadline = Instant::now() + gucs::audit_timeout();
    drop(submit(record, deadline)?);
    ring::wake_worker();
    Ok(())
}

/// Refuses where nothing can be written.
pub(crate) fn refuse_on_standby() -> Result<()> {
    if session::on_standby() {
        return Err(Error::unrecordable("secrets cannot be read on a standby").with_hint(
            "Every read is recorded first, and a standby can write nothing: connect to the primary server.",
        ));
    }
    Ok(())
}

fn submit(record: &[u8], deadline: Instant) -> Result<Ticket> {
    if record.len() > ring::LONGEST_RECORD {
        return Err(Error::internal("a record of the audit is too long"));
    }
    loop {
        if let Some(ticket) = Ticket::submit(record) {
            return Ok(ticket);
        }
        ring::wake_worker();
        latch::wait(FULL.min(remaining(deadline)?));
    }
}

fn wait(ticket: &Ticket, deadline: Instant) -> Result<()> {
    spin(ticket);
    loop {
        match ticket.outcome() {
            Outcome::Done => return Ok(()),
            Outcome::Failed => return Err(not_durable("the audit worker failed")),
            Outcome::Waiting => {
                latch::wait(remaining(deadline)?);
            }
        }
    }
}

/// Looks for the record's end without sleeping: what a process takes to fall asleep and wake up is as
/// long as a flush of a good disk. Only where nobody else waits: the processors are needed otherwise.
fn spin(ticket: &Ticket) {
    if !ring::waits_alone() || *PROCESSORS < 2 {
        return;
    }
    let end = Instant::now() + SPIN;
    while ticket.outcome() == Outcome::Waiting && Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn remaining(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(not_durable(
            "it did not become durable within pg_secrets.audit_timeout",
        ));
    }
    Ok(left)
}

fn not_durable(why: &str) -> Error {
    Error::unrecordable(format!(
        "the read could not be recorded, so nothing is released: {why}"
    ))
    .with_hint("Look for the process 'pg_secrets auditor' in pg_stat_activity and at what it waits for, at the disk, at a synchronous standby that is gone, and into the server's log; then try again.")
}
