//! One sweep over everything that is due. It takes a batch of each kind in turn, so that many of one kind
//! do not hold up the others.

use crate::backend::session::Session;
use crate::backend::transaction::Failure;
use crate::error::Result;
use crate::maintenance::Actor;
use crate::maintenance::due::{self, BATCH, Due, Outcome, Task};

/// How a sweep does its steps, each of which may fail by itself.
pub(super) trait Steps {
    /// Does one step: all of it, or nothing.
    fn step<T>(
        &mut self,
        work: impl FnOnce(&Session) -> Result<T>,
    ) -> std::result::Result<T, Failure>;

    /// Hears of one that failed, and will be met again by the next sweep.
    fn failed(&mut self, due: &Due, failure: Failure);

    /// Hears of one that is done, or need not be any more.
    fn settled(&mut self, due: &Due);
}

/// What a sweep has done.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Swept {
    pub(super) warned: i32,
    pub(super) destroyed: i32,
    pub(super) purged: i32,
    /// Whether something was left to whoever is changing it.
    pub(super) busy: bool,
    /// When the first of those ends that are not held now and may be yet, in microseconds since 2000.
    pub(super) unheld: Option<i64>,
}

/// Sweeps over what is due at `now`, in microseconds since 2000.
pub(super) fn sweep(
    steps: &mut impl Steps,
    actor: &Actor<'_>,
    now: i64,
) -> std::result::Result<Swept, Failure> {
    let mut swept = Swept::default();
    let mut kinds: Vec<_> = Task::ALL
        .into_iter()
        .map(|task| (task, task.beginning(now)))
        .collect();
    while !kinds.is_empty() {
        let mut unfinished = Vec::new();
        for (task, after) in kinds {
            let batch = steps.step(|session| task.find(session, now, after))?;
            for due in &batch {
                swept.perform(steps, actor, due);
            }
            if let Some(last) = batch.last()
                && batch.len() >= usize::try_from(BATCH).unwrap_or(0)
            {
                unfinished.push((task, last.cursor()));
            }
        }
        kinds = unfinished;
    }
    Ok(swept)
}

impl Swept {
    fn perform(&mut self, steps: &mut impl Steps, actor: &Actor<'_>, due: &Due) {
        match steps.step(|session| due.perform(session, actor)) {
            Ok(Outcome::Done) => {
                match due.task {
                    Task::Warn => self.warned += 1,
                    Task::Destroy => self.destroyed += 1,
                    Task::Purge => self.purged += 1,
                    Task::Hold | Task::Rotate => {}
                }
                steps.settled(due);
            }
            Ok(Outcome::Over) => {
                if due.task == Task::Hold {
                    self.unheld = self.unheld.into_iter().chain([due.at]).min();
                }
                steps.settled(due);
            }
            Ok(Outcome::Busy) => self.busy = true,
            Err(failure) if failure.collided => self.busy = true,
            Err(failure) => steps.failed(due, failure),
        }
    }
}

/// The line of the log for one that failed: ids, and words that hold no value.
pub(super) fn line(due: &Due, reason: &str) -> String {
    format!(
        "pg_secrets: {} version {}: {reason}",
        due.task.name(),
        due.id
    )
}

pub(super) use due::now;
