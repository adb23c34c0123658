//! verify_secrets: whether everything that is stored can be read with the keys that are there.

use crate::access::identity::Caller;
use crate::access::rights::{Permission, Rights};
use crate::audit::record::{self, Record};
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring::{self, Held};
use serde_json::json;
use uuid::Uuid;

/// How many messages are in memory at once.
const PAGE: i32 = 32;

static VERSIONS: Statement = Statement::new(
    c"SELECT v.id, v.value_encrypted, v.key_fingerprint FROM control_plane.versions AS v WHERE v.state <> 'destroyed' AND v.id > $1 ORDER BY v.id LIMIT $2",
);

static ENDPOINTS: Statement = Statement::new(
    c"SELECT e.id, e.secret_encrypted, e.key_fingerprint FROM control_plane.endpoints AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2",
);

static FAILURE: Statement = Statement::new(c"SELECT $1, $2, $3, $4");

/// Something that cannot be read.
struct Failure {
    id: Uuid,
    fingerprint: Option<String>,
    kind: &'static str,
    problem: String,
}

/// verify_secrets: decrypts every value and every signing secret, and answers those that fail.
pub(crate) fn verify_secrets<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let rights = Rights::of(session, caller, None)?;
    rights.require(Permission::Admin)?;
    let held = keyring::require()?;
    let mut failures = Vec::new();
    let mut checked = 0;
    for (kind, statement) in [("version", &VERSIONS), ("endpoint", &ENDPOINTS)] {
        checked += verify_table(session, &held, kind, statement, &mut failures)?;
    }

    let mut record = Record::new("secrets.verified");
    record.detail = Some(json!({"checked": checked, "failed": failures.len()}));
    let record = record.by_administrator(rights.is_administrator());
    record::write(session, caller, record)?;

    let mut rows = Vec::with_capacity(failures.len());
    for failure in failures {
        let row = session.run(
            &FAILURE,
            &[
                Param::Uuid(Some(failure.id)),
                Param::Text(failure.fingerprint.as_deref()),
                Param::Text(Some(failure.kind)),
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
    kind: &'static str,
    statement: &Statement,
    failures: &mut Vec<Failure>,
) -> Result<u64> {
    let mut checked = 0;
    let mut after = Uuid::nil();
    loop {
        // A page's messages are given back with the page.
        let last = session.nested(|page| {
            let parameters = [Param::Uuid(Some(after)), Param::Integer(Some(PAGE))];
            let mut last = None;
            for row in page.run(statement, &parameters)?.iter() {
                let id = row.uuid(0).ok_or_else(|| Error::internal("no id"))?;
                last = Some(id);
                checked += 1;
                let problem = match row.bytes(1) {
                    Some(message) => held.keyring().open(id, &message, message.len()).err(),
                    None => continue,
                };
                if let Some(problem) = problem {
                    failures.push(Failure {
                        id,
                        fingerprint: row.text(2),
                        kind,
                        problem: problem.to_string(),
                    });
                }
            }
            Ok(last)
        })?;
        match last {
            Some(last) => after = last,
            None => return Ok(checked),
        }
    }
}
