//! Telling how a try ended, and what follows from it for the delivery, for those that wait behind it,
//! and for the endpoint.

use crate::access::identity::Caller;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::claim::require_relay;
use crate::outbox::health::{self, Health, TryEnded, Verdict};
use crate::{gucs, id};
use pg_secrets_patterns::answer;
use std::time::Duration;
use uuid::Uuid;

/// The longest text that is kept of a try's error, in characters.
const LONGEST_ERROR: usize = 200;

/// How much of a receiver's answer is kept, in bytes.
const LONGEST_ANSWER: usize = 1024;

/// The longest wait that a receiver may ask for, in seconds.
const LONGEST_RETRY_AFTER: i32 = 60 * 60;

/// How many tries of a delivery are kept, the last ones.
const TRIES_KEPT: i32 = 50;

/// How a try ended.
struct Outcome<'o> {
    status: Option<i32>,
    error: Option<&'o str>,
    /// How long the receiver wants us to wait, in microseconds, within our bounds.
    retry_after: i64,
    duration_ms: Option<i32>,
    answer: Option<&'o str>,
}

/// finish_delivery: how the try of a claim ended. A status from 200 to 299 is a delivery; anything
/// else is tried again by pg_secrets.retry_schedule, until that ends. False if the claim is not the
/// last one any more.
pub(crate) fn finish_delivery<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_relay(session, caller)?;
    let delivery = arguments.required_uuid(0, "delivery_id")?;
    let attempt = arguments.integer(1).ok_or_else(|| Error::null("attempt"))?;
    let error: Option<String> = arguments.text(3)?.map(|text| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_ERROR)
            .collect()
    });
    let retry_after = arguments.integer(4).unwrap_or(0);
    let answer = arguments.text(6)?;
    // Masked before it is cut: what the cut leaves of a secret might not look like one.
    let answer = answer.map(|text| cut(answer::mask(&text), LONGEST_ANSWER));
    let outcome = Outcome {
        status: arguments.integer(2),
        error: error.as_deref(),
        retry_after: i64::from(retry_after.clamp(0, LONGEST_RETRY_AFTER)) * 1_000_000,
        duration_ms: arguments.integer(5).filter(|duration| *duration >= 0),
        answer: answer.as_deref(),
    };
    let Some(tried) = Tried::find(session, delivery, attempt)? else {
        return Ok(Answer::Boolean(false));
    };
    Ok(Answer::Boolean(end_try(session, &tried, &outcome)?))
}

fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// Ends a try that was not made because of something on our side, which says nothing of the endpoint.
pub(super) fn end_unsent(
    session: &Session,
    delivery: Uuid,
    attempt: i32,
    reason: &str,
) -> Result<()> {
    let Some(mut tried) = Tried::find(session, delivery, attempt)? else {
        return Ok(());
    };
    tried.health = None;
    let outcome = Outcome {
        status: None,
        error: Some(reason),
        retry_after: 0,
        duration_ms: None,
        answer: None,
    };
    end_try(session, &tried, &outcome)?;
    Ok(())
}

// The endpoint's columns are NULL where it was deleted meanwhile.
static FIND: Statement = Statement::new(
    c"SELECT d.endpoint_id, d.chain_id, d.attempts_before, e.id, e.enabled, e.disabled_reason IS NOT NULL, e.answering, e.slow_downs, e.failing_since, d.generation FROM control_plane.deliveries AS d LEFT JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending' AND d.leased_until IS NOT NULL",
);

/// The delivery of a try, and how its endpoint was before.
struct Tried {
    delivery: Uuid,
    attempt: i32,
    /// How many tries were made since the delivery was last asked for, with this one.
    tries: i32,
    endpoint: Uuid,
    chain: Option<Uuid>,
    health: Option<Health>,
    given_up: bool,
    /// The endpoint's generation when it was claimed.
    generation: Option<i32>,
}

impl Tried {
    fn find(session: &Session, delivery: Uuid, attempt: i32) -> Result<Option<Self>> {
        let params = [Param::Uuid(Some(delivery)), Param::Integer(Some(attempt))];
        let Some(row) = session.run(&FIND, &params)?.first() else {
            return Ok(None);
        };
        let missing = || Error::internal("a delivery without its endpoint's id");
        let endpoint = row.uuid(0).ok_or_else(missing)?;
        let read_health = |row: &Row<'_>| Health {
            answering: row.boolean(6).unwrap_or(true),
            slow_downs: row.integer(7).unwrap_or(0),
            failing_since: row.timestamp(8),
        };
        Ok(Some(Self {
            delivery,
            attempt,
            tries: attempt - row.integer(2).unwrap_or(0),
            endpoint,
            chain: row.uuid(1),
            health: row.datum_is_some(3).then(|| read_health(&row)),
            given_up: row.boolean(5) == Some(true),
            generation: row.integer(9),
        }))
    }
}

static DELIVERED: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'delivered', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_status = $3, last_error = NULL WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending' AND d.leased_until IS NOT NULL",
);

static AGAIN: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET next_attempt_at = pg_catalog.clock_timestamp() + $5, attempts_before = CASE WHEN $6 THEN d.attempts ELSE d.attempts_before END, leased_until = NULL, last_status = $3, last_error = $4 WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending' AND d.leased_until IS NOT NULL",
);

static FAILED: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'failed', finished_at = pg_catalog.clock_timestamp(), leased_until = NULL, last_status = $3, last_error = $4 WHERE d.id = $1 AND d.attempts = $2 AND d.status = 'pending' AND d.leased_until IS NOT NULL",
);

static KEEP: Statement = Statement::new(
    c"INSERT INTO control_plane.delivery_attempts (delivery_id, attempt, at, duration_ms, status, error, answer) VALUES ($1, $2, pg_catalog.clock_timestamp() - $3, $4, $5, $6, $7)",
);

// Who asks for a delivery again and again must not fill the disk with its tries.
static FORGET: Statement = Statement::new(
    c"DELETE FROM control_plane.delivery_attempts AS a WHERE a.delivery_id = $1 AND a.attempt <= $2",
);

// The next one waited for the one that is over now. One that has been tried already waits for its own next
// try. It is touched even if it is due: a claim that saw the first under way may be about to defer it, and
// sees by this that it must not.
static RELEASE: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET next_attempt_at = $3 WHERE d.id = (SELECT n.id FROM control_plane.deliveries AS n WHERE n.endpoint_id = $1 AND n.chain_id BETWEEN $2 AND $2 AND n.status = 'pending' ORDER BY n.chain_id, n.event_id LIMIT 1) AND d.attempts = d.attempts_before",
);

fn end_try(session: &Session, tried: &Tried, outcome: &Outcome<'_>) -> Result<bool> {
    // The endpoint before the delivery, as everywhere, so that nobody waits for each other.
    let verdict = match tried.health {
        Some(seen) => {
            let try_ended = TryEnded {
                status: outcome.status,
                retry_after: outcome.retry_after,
                slow: outcome
                    .duration_ms
                    .is_some_and(|took| took > health::SLOW_MS),
                first: tried.tries <= 1,
                generation: tried.generation,
            };
            health::store(session, tried.endpoint, seen, &try_ended)?
        }
        None => Verdict::Stays,
    };
    let id = Param::Uuid(Some(tried.delivery));
    let fence = Param::Integer(Some(tried.attempt));
    let last_status = Param::Integer(outcome.status);
    let last_error = Param::Text(outcome.error);
    let delivered = outcome.status.is_some_and(|s| (200..300).contains(&s));
    let outdated = verdict == Verdict::BegunAnew;
    let given_up = tried.given_up || verdict == Verdict::Disabled;
    let wait = match delivered || given_up {
        true => None,
        // The new URL is tried at once, and by the whole schedule.
        false if outdated => Some(0),
        false => wait_after(tried.tries)?.map(|wait| wait.max(outcome.retry_after)),
    };
    let ended = match wait {
        Some(wait) => {
            let anew = Param::Boolean(outdated);
            let wait = Param::Interval(wait);
            session.run(&AGAIN, &[id, fence, last_status, last_error, wait, anew])?
        }
        None if delivered => session.run(&DELIVERED, &[id, fence, last_status])?,
        None => session.run(&FAILED, &[id, fence, last_status, last_error])?,
    };
    if ended.affected() == 0 {
        return Ok(false);
    }
    let duration = i64::from(outcome.duration_ms.unwrap_or(0)) * 1000;
    session.run(
        &KEEP,
        &[
            id,
            fence,
            Param::Interval(duration),
            Param::Integer(outcome.duration_ms),
            last_status,
            last_error,
            Param::Text(outcome.answer),
        ],
    )?;
    if tried.attempt > TRIES_KEPT {
        let over = Param::Integer(Some(tried.attempt - TRIES_KEPT));
        session.run(&FORGET, &[id, over])?;
    }
    if wait.is_none()
        && let Some(chain) = tried.chain
    {
        let params = [
            Param::Uuid(Some(tried.endpoint)),
            Param::Uuid(Some(chain)),
            Param::Timestamp(Some(id::now())),
        ];
        session.run(&RELEASE, &params)?;
    }
    Ok(true)
}

/// How long to wait after the try with this number, in microseconds: the schedule's entry, up to a
/// tenth longer, so that what failed together does not come back together. `None`: no more tries.
fn wait_after(tries: i32) -> Result<Option<i64>> {
    let schedule = gucs::retry_schedule();
    let position = usize::try_from(tries - 1).unwrap_or(0);
    let Some(wait) = schedule.get(position).map(Duration::as_micros) else {
        return Ok(None);
    };
    let mut random = [0_u8; 2];
    id::randomness(&mut random)?;
    let jitter = wait * u128::from(u16::from_le_bytes(random)) / (10 * 65_536);
    i64::try_from(wait + jitter)
        .map(Some)
        .map_err(|_| Error::internal("pg_secrets.retry_schedule"))
}
