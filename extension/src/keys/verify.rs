//! verify_secrets: whether everything that is stored can be read with the keys that are there.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::record::{self, Record};
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring::{self, Held};
use crate::keys::pages::{self, PAGE};
use pg_secrets_openpgp::{Place, PlaceKind};
use serde_json::json;
use uuid::Uuid;

static VERSIONS: Statement = Statement::new(
    c"SELECT v.id, v.value_encrypted, v.key_fingerprint FROM control_plane.versions AS v WHERE v.state <> 'destroyed' AND v.id > $1 ORDER BY v.id LIMIT $2",
);

static ENDPOINTS: Statement = Statement::new(
    c"SELECT e.id, e.secret_encrypted, e.key_fingerprint FROM control_plane.endpoints AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2",
);

static PREVIOUS: Statement = Statement::new(
    c"SELECT e.id, e.previous_secret_encrypted, e.previous_key_fingerprint FROM control_plane.endpoints AS e WHERE e.previous_until > pg_catalog.clock_timestamp() AND e.id > $1 ORDER BY e.id LIMIT $2",
);

static FAILURE: Statement = Statement::new(c"SELECT $1, $2, $3, $4");

/// Something that cannot be read, or not with the key that its row names.
struct Failure {
    place: Place,
    fingerprint: Option<String>,
    problem: String,
}

/// verify_secrets: decrypts every value and every signing secret, and answers those that fail.
pub(crate) fn verify_secrets<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of_administrator(session, caller)?;
    let held = keyring::require()?;
    let mut failures = Vec::new();
    let mut checked = 0;
    checked += verify_table(session, &held, Place::version, &VERSIONS, &mut failures)?;
    checked += verify_table(session, &held, Place::endpoint, &ENDPOINTS, &mut failures)?;
    checked += verify_table(session, &held, Place::endpoint, &PREVIOUS, &mut failures)?;

    let mut record = Record::new("secrets.verified");
    record.detail = Some(json!({"checked": checked, "failed": failures.len()}));
    let record = record.by_administrator(rights.is_administrator());
    record::write(session, caller, record)?;

    let mut rows = Vec::with_capacity(failures.len());
    for failure in failures {
        let row = session.run(
            &FAILURE,
            &[
                Param::Uuid(Some(failure.place.id)),
                Param::Text(failure.fingerprint.as_deref()),
                Param::Text(Some(kind(failure.place))),
                Param::Text(Some(&failure.problem)),
            ],
        )?;
        let row = row.first().ok_or_else(|| Error::internal("no row"))?;
        rows.push(Composite { row, secret: None });
    }
    Ok(Answer::Many(rows))
}

/// Checks one table; answers how many rows it has looked at.
fn verify_table(
    session: &Session,
    held: &Held,
    place_of: fn(Uuid) -> Place,
    statement: &Statement,
    failures: &mut Vec<Failure>,
) -> Result<u64> {
    let mut checked = 0;
    pages::walk(session, |page, after| {
        let parameters = [Param::Uuid(Some(after)), Param::Integer(Some(PAGE))];
        let mut last = None;
        for row in page.run(statement, &parameters)?.iter() {
            let id = row.uuid(0).ok_or_else(|| Error::internal("no id"))?;
            last = Some(id);
            checked += 1;
            let Some(message) = row.bytes(1) else {
                continue;
            };
            let place = place_of(id);
            let fingerprint = row.text(2);
            if let Some(problem) = problem(held, place, &message, fingerprint.as_deref()) {
                failures.push(Failure {
                    place,
                    fingerprint,
                    problem,
                });
            }
        }
        Ok(last)
    })?;
    Ok(checked)
}

/// What is wrong with a message: whoever takes a key away goes by the fingerprints in the rows, so
/// they have to be right as well.
fn problem(held: &Held, place: Place, message: &[u8], recorded: Option<&str>) -> Option<String> {
    let opened = held.keyring().open_telling(place, message, message.len());
    match opened {
        Ok(opened) if recorded == Some(opened.fingerprint) => None,
        Ok(opened) => Some(format!(
            "it is encrypted to key {}, and its row names another",
            opened.fingerprint
        )),
        Err(error) => Some(error.to_string()),
    }
}

fn kind(place: Place) -> &'static str {
    match place.kind {
        PlaceKind::Version => "version",
        PlaceKind::Endpoint => "endpoint",
    }
}
