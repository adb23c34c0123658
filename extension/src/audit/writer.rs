//! The audit worker: it commits the records that wait in the ring, all of them in one transaction, and
//! lets their readers go on when that is flushed.
//!
//! It waits for the disk and for a synchronous standby whatever the server's settings say. When the
//! server stops while it waits, the wait ends without the standby's word: then nobody is let go on.
#![allow(unsafe_code)]

use crate::audit::durable::PROCESSORS;
use crate::audit::encoded::{self, Encoded};
use crate::audit::protection;
use crate::audit::ring::{self, Seen, Taken};
use crate::audit::table::AuditTable;
use crate::backend::latch;
use crate::backend::raise;
use crate::backend::session::{Param, Session, Statement};
use crate::backend::transaction::attempt;
use crate::error::Result;
use crate::id;
use crate::workers::{process, wake};
use pgrx::{PgLogLevel, pg_guard, pg_sys};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often to look whether the extension is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long to look for the next record of a single reader before sleeping; see `durable.rs`.
const SPIN: Duration = Duration::from_micros(200);

// One that somebody forged to be the last of all must not become the first of too many. The limit moves on with
// the clock, a million a second, and the numbers given out behind it do not: none of them is used twice.
static LAST_ARRIVAL: Statement = Statement::new(
    c"SELECT coalesce(pg_catalog.max(a.arrival), 0) FROM control_plane.audit_logs AS a WHERE a.arrival < $1",
);

/// How far ahead of the clock a number may be to be believed, in microseconds: a hundred years.
const BELIEVED_AHEAD: i64 = 100 * 366 * 86_400_000_000;

static NOT_RELEASED: Statement = Statement::new(
    c"UPDATE control_plane.audit_logs AS a SET outcome = 'not released' WHERE a.id = ANY ($1::uuid[]) AND a.outcome = 'success'",
);

/// The worker's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn pgs_auditor_main(_argument: pg_sys::Datum) {
    if !process::begin() {
        return;
    }
    let Some(left_behind) = ring::become_worker() else {
        return;
    };
    // A failure ends this process with an error in the log, and the launcher starts it again.
    let last = attempt(last_arrival).expect("the audit's table can be read");
    let mut writer = Writer {
        arrival: last.max(id::now()),
    };
    fail(&left_behind);
    // What an earlier worker wrote may have anything.
    ring::note(Seen::Service, writer.arrival);
    ring::note(Seen::Denial, writer.arrival);
    ring::settle(writer.arrival);
    loop {
        let seen = ring::submissions();
        let taken = ring::take();
        if taken.is_empty() {
            process::report_statistics();
            if !latch::wait(LOOK_AGAIN) && !process::is_wanted() {
                return;
            }
        } else {
            writer.commit(&taken);
            process::report_statistics();
            if taken.len() == 1 {
                spin(seen);
            }
        }
        process::check_for_interrupts();
    }
}

/// Looks for a moment whether there is something new.
fn spin(seen: u32) {
    if *PROCESSORS < 2 {
        return;
    }
    let end = Instant::now() + SPIN;
    while ring::submissions() == seen && Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn last_arrival() -> Result<i64> {
    Session::with(|session| {
        let believed = id::now().saturating_add(BELIEVED_AHEAD);
        let last = session
            .run(&LAST_ARRIVAL, &[Param::Bigint(believed)])?
            .first();
        Ok(last.and_then(|row| row.bigint(0)).unwrap_or(0))
    })
}

struct Writer {
    /// The number of the last record that was written. The first one is a time, in microseconds since
    /// 2000: what another server wrote, and a restore may bring, has other numbers.
    arrival: i64,
}

/// A record and where it came from.
type Waiting<'t> = (&'t Taken, Encoded<'t>);

impl Writer {
    /// Commits the records and lets their readers go on. Where they cannot be committed together, each is
    /// tried by itself: none fails for another.
    fn commit(&mut self, taken: &[Taken]) {
        let mut batch: Vec<Waiting<'_>> = Vec::with_capacity(taken.len());
        for one in taken {
            match Encoded::from_bytes(&one.record) {
                Some(record) => batch.push((one, record)),
                None => drop(one.finish(false)),
            }
        }
        let mut left = Vec::new();
        if !batch.is_empty() && self.write(&batch, &mut left).is_err() {
            // What can be wrong with all of them: a restore has brought such numbers.
            if let Ok(last) = attempt(last_arrival) {
                self.arrival = self.arrival.max(last);
            }
            for one in &batch {
                if let Err(reason) = self.write(std::slice::from_ref(one), &mut left) {
                    give_up(one.0, &reason);
                }
            }
        }
        mark_not_released(&left);
        if process::is_stopping() {
            return;
        }
        ring::settle(self.arrival);
        wake::bookkeeper();
    }

    /// Writes records in one transaction. `left` are those whose readers gave up before they heard of it.
    fn write(
        &mut self,
        batch: &[Waiting<'_>],
        left: &mut Vec<Uuid>,
    ) -> std::result::Result<(), String> {
        let first = self.arrival;
        let insert = || {
            process::as_owner(|| {
                let mut table = AuditTable::open()?;
                for ((one, record), arrival) in batch.iter().zip(first + 1..) {
                    let released = record.texts[encoded::OUTCOME] == Some("success");
                    let outcome = (one.abandoned && released).then_some("not released");
                    table.insert(record, outcome, arrival);
                }
                table.close();
                Ok(())
            })?;
            // What somebody hung on the table may have changed how the commit waits.
            process::override_setting(c"synchronous_commit", c"on");
            Ok(())
        };
        self.arrival += i64::try_from(batch.len()).unwrap_or(0);
        attempt(insert)?;
        if process::is_stopping() {
            // The commit may not have waited for the standby: whoever comes next lets the readers fail.
            return Ok(());
        }
        for ((_, record), arrival) in batch.iter().zip(first + 1..) {
            if record.texts[encoded::SERVICE].is_some() {
                ring::note(Seen::Service, arrival);
            }
            if record.texts[encoded::OUTCOME] == Some("denied") {
                ring::note(Seen::Denial, arrival);
            }
        }
        for (one, record) in batch {
            if one.finish(true) && !one.abandoned {
                left.push(record.id);
            }
        }
        Ok(())
    }
}

/// Tells the reader of a record that cannot be written, and the server's log.
fn give_up(one: &Taken, reason: &str) {
    one.finish(false);
    let said = format!("pg_secrets: a record of the audit could not be written: {reason}");
    raise::log(PgLogLevel::WARNING, &said);
}

/// Brings to its end what a worker before this one has not: its readers fail, and where it was committed
/// nevertheless, the record says that nothing was released.
fn fail(left_behind: &[Taken]) {
    let records = left_behind
        .iter()
        .filter_map(|one| Encoded::from_bytes(&one.record));
    let ids: Vec<Uuid> = records.map(|record| record.id).collect();
    mark_not_released(&ids);
    for one in left_behind {
        one.finish(false);
    }
}

/// Says of records that are written already that nothing was released; before they are settled.
fn mark_not_released(ids: &[Uuid]) {
    if ids.is_empty() {
        return;
    }
    let texts: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    if let Err(reason) = update_outcomes(&texts) {
        let said = format!(
            "pg_secrets: {} reads that were given up are recorded as if they were not: {reason}",
            ids.len()
        );
        raise::log(PgLogLevel::WARNING, &said);
    }
}

fn update_outcomes(ids: &[String]) -> std::result::Result<(), String> {
    Ok(attempt(|| {
        process::as_owner(|| {
            let _permitted = protection::permit();
            Session::with(|session| {
                session.run(&NOT_RELEASED, &[Param::Texts(Some(ids))])?;
                Ok(())
            })
        })?;
        process::override_setting(c"synchronous_commit", c"on");
        Ok(())
    })?)
}
