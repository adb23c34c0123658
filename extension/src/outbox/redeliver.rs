//! redeliver: what was sent before, or could not be, once more; under the same webhook-id.

use crate::access::identity::Caller;
use crate::audit::record;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::outbox::endpoints::Endpoint;
use crate::workers::wake;
use serde_json::json;
use uuid::Uuid;

static EXISTS: Statement = Statement::new(
    c"SELECT FROM control_plane.deliveries AS d WHERE d.id = $1 AND d.endpoint_id = $2",
);

// What is under way needs no second one. The schedule begins anew.
static ONE: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'pending', attempts_before = d.attempts, next_attempt_at = $2, leased_until = NULL, finished_at = NULL WHERE d.id = $1 AND (d.status <> 'pending' OR d.leased_until IS NULL OR d.leased_until <= $2)",
);

// What waits for its next try, which may be a day away, is brought forward with them.
static UNDELIVERED: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET status = 'pending', attempts_before = d.attempts, next_attempt_at = $2, leased_until = NULL, finished_at = NULL WHERE d.endpoint_id = $1 AND d.event_id < $3 AND (d.status = 'failed' OR (d.status = 'pending' AND (d.leased_until IS NULL OR d.leased_until <= $2))) AND d.created_at >= $4 AND d.created_at < $5",
);

/// How far before its event's id a delivery may seem to be made, in microseconds: the two are taken
/// one after the other.
const SLACK: i64 = 60_000_000;

/// redeliver: one delivery, whatever became of it; or all of an endpoint that were made from `since` on and
/// before `until` and are not delivered yet, dead letters and those that wait for a try. Answers how many.
pub(crate) fn redeliver<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let endpoint_id = arguments.required_uuid(0, "endpoint_id")?;
    let delivery = arguments.uuid(1);
    let (since, until) = (arguments.timestamp(2), arguments.timestamp(3));
    let endpoint = Endpoint::permitted(session, caller, endpoint_id)?;
    if delivery.is_some() == since.is_some() || (delivery.is_some() && until.is_some()) {
        return Err(Error::bad_input(
            "give either delivery_id, or since with or without until",
        ));
    }
    if !endpoint.enabled {
        return Err(Error::endpoint_disabled());
    }
    let now = id::now();
    let again = match delivery {
        Some(delivery) => one(session, endpoint_id, delivery, now)?,
        None => {
            let (since, until) = (since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
            if until < since {
                return Err(Error::bad_input("until must not be before since"));
            }
            let newest = id::least_at(until.saturating_add(SLACK));
            session
                .run(
                    &UNDELIVERED,
                    &[
                        Param::Uuid(Some(endpoint_id)),
                        Param::Timestamp(Some(now)),
                        Param::Uuid(Some(newest)),
                        Param::Timestamp(Some(since)),
                        Param::Timestamp(Some(until)),
                    ],
                )?
                .affected()
        }
    };
    let mut record = endpoint.record("deliveries.redelivered");
    record.add_detail("count", json!(again));
    if let Some(delivery) = delivery {
        record.add_detail("delivery_id", json!(delivery));
    }
    record::write(session, caller, record)?;
    wake::at_commit();
    i32::try_from(again)
        .map(Answer::Integer)
        .map_err(|_| Error::too_large("too many deliveries at once"))
}

fn one(session: &Session, endpoint: Uuid, delivery: Uuid, now: i64) -> Result<u64> {
    let known = [Param::Uuid(Some(delivery)), Param::Uuid(Some(endpoint))];
    if session.run(&EXISTS, &known)?.affected() == 0 {
        return Err(Error::not_found("no such delivery"));
    }
    let params = [Param::Uuid(Some(delivery)), Param::Timestamp(Some(now))];
    Ok(session.run(&ONE, &params)?.affected())
}
