//! Bringing what is encrypted to an older key over to the primary one, while others read and rotate.
//!
//! A batch locks the rows that it changes, and no other, and waits for none: what another session
//! holds is left for the next call. The locks let others refer to the rows, so that no reader waits
//! either. Every message is opened as a read would open it, and the new one is opened again before it
//! takes the old one's place.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::changes;
use crate::audit::record::{self, Record};
use crate::audit::renewal::{self, Renewed};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring::{self, Held};
use crate::keys::pages::{self, PAGE};
use pg_secrets_openpgp::{Place, Sealed};
use serde_json::json;
use uuid::Uuid;

/// The most that one call re-encrypts.
const LARGEST_BATCH: i32 = 10_000;

/// A table that holds messages.
struct Table {
    place: fn(Uuid) -> Place,
    /// `(fingerprint, after, count)`: the next rows with a message to that key.
    page: &'static Statement,
    /// `(id, message, fingerprint, old message)`: puts the new message into the row, unless somebody
    /// else holds the row, or has changed it since it was read.
    replace: &'static Statement,
}

static VERSIONS: Statement = Statement::new(
    c"SELECT s.id, s.value_encrypted FROM control_plane.secrets AS s WHERE s.key_fingerprint = $1 AND s.id > $2 AND (SELECT v.state FROM control_plane.versions AS v WHERE v.id = s.id) <> 'destroyed' ORDER BY s.id LIMIT $3",
);

static REPLACE_VERSION: Statement = Statement::new(
    c"UPDATE control_plane.secrets AS s SET value_encrypted = $2, key_fingerprint = $3 WHERE s.id = (SELECT l.id FROM control_plane.secrets AS l WHERE l.id = $1 AND l.value_encrypted = $4 FOR NO KEY UPDATE SKIP LOCKED)",
);

static ENDPOINTS: Statement = Statement::new(
    c"SELECT e.id, e.secret_encrypted FROM control_plane.endpoints AS e WHERE e.key_fingerprint = $1 AND e.id > $2 ORDER BY e.id LIMIT $3",
);

static REPLACE_ENDPOINT: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET secret_encrypted = $2, key_fingerprint = $3 WHERE e.id = (SELECT l.id FROM control_plane.endpoints AS l WHERE l.id = $1 AND l.secret_encrypted = $4 FOR NO KEY UPDATE SKIP LOCKED)",
);

// Until it signs no more.
static PREVIOUS: Statement = Statement::new(
    c"SELECT e.id, e.previous_secret_encrypted FROM control_plane.endpoints AS e WHERE e.previous_key_fingerprint = $1 AND e.previous_until > pg_catalog.clock_timestamp() AND e.id > $2 ORDER BY e.id LIMIT $3",
);

static REPLACE_PREVIOUS: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET previous_secret_encrypted = $2, previous_key_fingerprint = $3 WHERE e.id = (SELECT l.id FROM control_plane.endpoints AS l WHERE l.id = $1 AND l.previous_secret_encrypted = $4 FOR NO KEY UPDATE SKIP LOCKED)",
);

// Two ranges, which an index serves; "not equal" it does not.
static LEFT: Statement = Statement::new(
    c"SELECT (SELECT count(*) FROM control_plane.versions AS v WHERE (v.key_fingerprint < $1 OR v.key_fingerprint > $1) AND v.state <> 'destroyed') + (SELECT count(*) FROM control_plane.endpoints AS e WHERE e.key_fingerprint <> $1) + (SELECT count(*) FROM control_plane.endpoints AS e WHERE e.previous_key_fingerprint <> $1 AND e.previous_until > pg_catalog.clock_timestamp())",
);

/// reencrypt_secrets: brings up to `batch` versions, signing secrets and signed heads of the audit over to
/// the primary key, and answers how many are left under others. What cannot be opened stays as it is, and counts as left;
/// verify_secrets names it.
pub(crate) fn reencrypt_secrets<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of_administrator(session, caller)?;
    let batch = arguments.integer(0).ok_or_else(|| Error::null("batch"))?;
    if !(1..=LARGEST_BATCH).contains(&batch) {
        return Err(Error::bad_input("batch must be 1 to 10000"));
    }
    let held = keyring::require()?;
    let primary = held.keyring().primary_fingerprint();

    let versions = Table {
        place: Place::version,
        page: &VERSIONS,
        replace: &REPLACE_VERSION,
    };
    let endpoints = Table {
        place: Place::endpoint,
        page: &ENDPOINTS,
        replace: &REPLACE_ENDPOINT,
    };
    let previous = Table {
        place: Place::endpoint,
        page: &PREVIOUS,
        replace: &REPLACE_PREVIOUS,
    };
    let moved_versions = move_over(session, &held, &versions, batch)?;
    let current_secrets = move_over(session, &held, &endpoints, batch - moved_versions)?;
    let left = batch - moved_versions - current_secrets;
    let moved_endpoints = current_secrets + move_over(session, &held, &previous, left)?;
    let moved = moved_versions + moved_endpoints;
    // To look at all heads takes a while: they have a call of their own, behind the rest.
    let looked = moved < batch;
    let heads = if looked {
        renewal::renew(session, batch - moved)?
    } else {
        Renewed::default()
    };
    if moved + heads.renewed > 0 {
        let mut record = Record::new("secrets.reencrypted");
        record.detail = Some(json!({
            "key_fingerprint": primary,
            "versions": moved_versions,
            "endpoints": moved_endpoints,
            "audit_heads": heads.renewed,
        }));
        let record = record.by_administrator(rights.is_administrator());
        record::write(session, caller, record)?;
    }
    let left = session
        .run(&LEFT, &[Param::Text(Some(primary))])?
        .first()
        .and_then(|row| row.bigint(0))
        .ok_or_else(|| Error::internal("no count"))?;
    Ok(Answer::Bigint(if looked {
        left + heads.left
    } else {
        left.max(1)
    }))
}

/// Brings up to `batch` rows of a table over; answers how many.
fn move_over(session: &Session, held: &Held, table: &Table, batch: i32) -> Result<i32> {
    let mut moved = 0;
    let primary = held.keyring().primary_fingerprint();
    let older = held.keyring().keys().iter();
    for key in older.filter(|key| key.fingerprint != primary) {
        pages::walk(session, |page, after| {
            let count = PAGE.min(batch - moved);
            if count == 0 {
                return Ok(None);
            }
            let rows = page.run(
                table.page,
                &[
                    Param::Text(Some(&key.fingerprint)),
                    Param::Uuid(Some(after)),
                    Param::Integer(Some(count)),
                ],
            )?;
            let mut last = None;
            for row in rows.iter() {
                last = row.uuid(0);
                moved += i32::from(move_row(page, held, table, &row)?);
            }
            Ok(last)
        })?;
    }
    Ok(moved)
}

/// Brings one row over; whether it could be.
fn move_row(session: &Session, held: &Held, table: &Table, row: &Row<'_>) -> Result<bool> {
    let missing = || Error::internal("a row without id or message");
    let id = row.uuid(0).ok_or_else(missing)?;
    let message = row.bytes(1).ok_or_else(missing)?;
    let place = (table.place)(id);
    let Ok(value) = held.keyring().open(place, &message, message.len()) else {
        return Ok(false);
    };
    let sealed = held.keyring().seal(place, &value);
    let sealed: Sealed = sealed.map_err(|error| keyring::cannot_seal(&error))?;
    let again = held.keyring().open(place, &sealed.message, value.len());
    if !again.is_ok_and(|again| *again == *value) {
        return Err(Error::unavailable(format!(
            "what was encrypted to key {} could not be read again, and was not stored",
            sealed.fingerprint
        ))
        .with_hint("Check that key with gpg or sq, and put another one first."));
    }
    let _recorded = changes::recorded_elsewhere();
    let replaced = session.run(
        table.replace,
        &[
            Param::Uuid(Some(id)),
            Param::Bytes(&sealed.message),
            Param::Text(Some(&sealed.fingerprint)),
            Param::Bytes(&message),
        ],
    )?;
    Ok(replaced.affected() > 0)
}
