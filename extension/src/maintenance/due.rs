//! What is due, in the order in which it came due, by batches: each begins behind the last one, so that
//! what failed or is locked is met once in a sweep and keeps nothing else from its turn.

use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::lifecycle::{destroy, expiring, hold, purge, schedule, version};
use crate::maintenance::Actor;
use crate::{gucs, id};
use uuid::Uuid;

/// How many are looked up at once.
pub(super) const BATCH: i32 = 100;

/// What can be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Hold,
    Warn,
    Destroy,
    Purge,
    Rotate,
}

/// Up to where a kind of work was gone through: a time in microseconds since 2000, and the version that was
/// due then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    at: i64,
    id: Uuid,
}

/// One version or secret that is due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) task: Task,
    pub(super) id: Uuid,
    pub(super) at: i64,
    project_id: String,
    name: String,
}

/// How it went with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It is not due any more.
    Over,
    /// Somebody else is changing the secret.
    Busy,
}

// Each of these is read from an index of sql/15_indexes.sql with the same condition.
static EXPIRING: Statement = Statement::new(
    c"SELECT s.expires_at, s.id, s.project_id, s.name FROM control_plane.secrets AS s WHERE s.warned_at IS NULL AND s.destroyed_at IS NULL AND s.deleted_at IS NULL AND (s.expires_at, s.id) > ($1, $2) AND s.expires_at <= $3 ORDER BY s.expires_at, s.id LIMIT $4",
);

static EXPIRED: Statement = Statement::new(
    c"SELECT s.expires_at, s.id, s.project_id, s.name FROM control_plane.secrets AS s WHERE s.destroyed_at IS NULL AND (s.expires_at, s.id) > ($1, $2) AND s.expires_at <= $3 ORDER BY s.expires_at, s.id LIMIT $4",
);

static PURGEABLE: Statement = Statement::new(
    c"SELECT s.purge_at, s.id, s.project_id, s.name FROM control_plane.secrets AS s WHERE s.active AND (s.purge_at, s.id) > ($1, $2) AND s.purge_at <= $3 ORDER BY s.purge_at, s.id LIMIT $4",
);

// The policy as a subquery of its own, so that the order stays that of the index.
static HOLDABLE: Statement = Statement::new(
    c"SELECT s.expires_at, s.id, s.project_id, s.name FROM control_plane.secrets AS s WHERE s.destroyed_at IS NULL AND s.deleted_at IS NULL AND (s.expires_at, s.id) > ($1, $2) AND s.expires_at <= $3 AND (SELECT p.hold_for_stragglers FROM control_plane.policies AS p WHERE p.project_id = s.project_id) ORDER BY s.expires_at, s.id LIMIT $4",
);

static ROTATABLE: Statement = Statement::new(
    c"SELECT r.next_rotation_at, s.id, s.project_id, s.name FROM control_plane.rotations AS r JOIN control_plane.secrets AS s ON s.chain_id = r.chain_id WHERE s.active AND s.deleted_at IS NULL AND r.next_rotation_at >= $1 AND (r.next_rotation_at, s.id) > ($1, $2) AND r.next_rotation_at <= $3 ORDER BY r.next_rotation_at, s.id LIMIT $4",
);

// Not when a hold is to be decided: that is looked for in every sweep, and there is one in every interval.
static NEXT: Statement = Statement::new(
    c"SELECT LEAST((SELECT pg_catalog.min(s.expires_at) FROM control_plane.secrets AS s WHERE s.warned_at IS NULL AND s.destroyed_at IS NULL AND s.deleted_at IS NULL AND s.expires_at > $1 + $2) - $2, (SELECT pg_catalog.min(s.expires_at) FROM control_plane.secrets AS s WHERE s.destroyed_at IS NULL AND s.expires_at > $1), (SELECT pg_catalog.min(s.purge_at) FROM control_plane.secrets AS s WHERE s.active AND s.purge_at > $1), (SELECT pg_catalog.min(r.next_rotation_at) FROM control_plane.rotations AS r WHERE r.next_rotation_at > $1))",
);

/// When something is due next, after `now`; both in microseconds since 2000.
pub(super) fn next(session: &Session, now: i64) -> Result<Option<i64>> {
    let params = [Param::Timestamp(Some(now)), Param::Interval(warning())];
    let next = session.run(&NEXT, &params)?.first();
    Ok(next.and_then(|row| row.timestamp(0)))
}

/// How long before the end to warn, in microseconds.
fn warning() -> i64 {
    i64::try_from(gucs::expiry_warning().as_micros()).unwrap_or(i64::MAX)
}

impl Task {
    /// In the order in which they are done: what is held must not be destroyed.
    pub(super) const ALL: [Self; 5] = [
        Task::Hold,
        Task::Warn,
        Task::Destroy,
        Task::Purge,
        Task::Rotate,
    ];

    /// What is done, for the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Task::Hold => "holding",
            Task::Warn => "warning of the end of",
            Task::Destroy => "destroying",
            Task::Purge => "purging the secret of",
            Task::Rotate => "rotating",
        }
    }

    /// Where a sweep at `now` begins: what is over already is neither warned of nor held.
    pub(super) fn beginning(self, now: i64) -> Cursor {
        let at = match self {
            Task::Hold | Task::Warn => now,
            Task::Destroy | Task::Purge | Task::Rotate => i64::MIN,
        };
        Cursor {
            at,
            id: Uuid::nil(),
        }
    }

    /// The next batch behind `after` of what is due at `now`.
    pub(super) fn find(self, session: &Session, now: i64, after: Cursor) -> Result<Vec<Due>> {
        let (statement, until) = match self {
            Task::Hold => (&HOLDABLE, now.saturating_add(hold::lead())),
            Task::Warn => (&EXPIRING, now.saturating_add(warning())),
            Task::Destroy => (&EXPIRED, now),
            Task::Purge => (&PURGEABLE, now),
            Task::Rotate => (&ROTATABLE, now),
        };
        let params = [
            Param::Timestamp(Some(after.at)),
            Param::Uuid(Some(after.id)),
            Param::Timestamp(Some(until)),
            Param::Integer(Some(BATCH)),
        ];
        let missing = || Error::internal("something due without a name");
        let rows = session.run(statement, &params)?.iter().map(|row| {
            Ok(Due {
                task: self,
                at: row.timestamp(0).ok_or_else(missing)?,
                id: row.uuid(1).ok_or_else(missing)?,
                project_id: row.text(2).ok_or_else(missing)?,
                name: row.text(3).ok_or_else(missing)?,
            })
        });
        rows.collect()
    }
}

impl Due {
    /// Where the search goes on behind it.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            at: self.at,
            id: self.id,
        }
    }

    /// Does it, if it is still to be done once the name is locked.
    pub(super) fn perform(&self, session: &Session, actor: &Actor<'_>) -> Result<Outcome> {
        if !version::lock_name_if_free(session, &self.project_id, &self.name)? {
            return Ok(Outcome::Busy);
        }
        let done = match self.task {
            Task::Hold => hold::hold(session, actor, self.id)?,
            Task::Warn => expiring::warn(session, actor, self.id, warning())?,
            Task::Destroy => destroy::expire(session, actor, self.id)?,
            Task::Purge => purge::expire(session, actor, self.id)?,
            Task::Rotate => schedule::rotate_if_due(session, actor, self.id)?,
        };
        Ok(if done { Outcome::Done } else { Outcome::Over })
    }
}

/// The time of a sweep, in microseconds since 2000.
pub(super) fn now() -> i64 {
    id::now()
}
