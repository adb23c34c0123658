//! rotate_endpoint_secret.

use crate::access::identity::Caller;
use crate::audit::changes;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;
use crate::outbox::endpoints::{self, Endpoint};
use pg_secrets_openpgp::Place;
use pgrx::pg_sys::Interval;
use serde_json::json;

const DAY: i128 = 86_400_000_000;

/// The longest overlap, in days.
const LONGEST_OVERLAP: i128 = 30;

// With an overlap of nothing the old secret signs nothing from now on.
static ROTATE: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET secret_encrypted = $2, key_fingerprint = $3, previous_secret_encrypted = CASE WHEN $4 > '0'::interval THEN e.secret_encrypted END, previous_key_fingerprint = CASE WHEN $4 > '0'::interval THEN e.key_fingerprint END, previous_until = CASE WHEN $4 > '0'::interval THEN pg_catalog.clock_timestamp() + $4 END WHERE e.id = $1",
);

/// rotate_endpoint_secret: a new signing secret, shown in this answer and never again. For the length
/// of `overlap` every webhook is signed with the one before as well.
pub(crate) fn rotate_endpoint_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "endpoint_id")?;
    let overlap = arguments
        .interval(1)
        .ok_or_else(|| Error::null("overlap"))?;
    let overlap = microseconds(overlap)?;
    let endpoint = Endpoint::locked(session, caller, id)?;
    keyring::require()?;
    let secret = endpoints::new_secret()?;
    let sealed = keyring::seal(Place::endpoint(id), secret.as_bytes())?;

    let mut record = endpoint.record("endpoint.secret_rotated");
    record.add_detail("overlap_seconds", json!(overlap / 1_000_000));
    {
        let _declared = changes::declare(caller, record);
        session.run(
            &ROTATE,
            &[
                Param::Uuid(Some(id)),
                Param::Bytes(&sealed.message),
                Param::Text(Some(&sealed.fingerprint)),
                Param::Interval(overlap),
            ],
        )?;
    }
    endpoints::answer(session, id, Some(&secret))
}

/// The length of an overlap. A month counts 30 days, as Postgres counts when it compares intervals.
fn microseconds(overlap: Interval) -> Result<i64> {
    let days = i128::from(overlap.month) * 30 + i128::from(overlap.day);
    let microseconds = days * DAY + i128::from(overlap.time);
    i64::try_from(microseconds)
        .ok()
        .filter(|_| (0..=LONGEST_OVERLAP * DAY).contains(&microseconds))
        .ok_or_else(|| Error::bad_input("overlap must be 0 to 30 days"))
}
