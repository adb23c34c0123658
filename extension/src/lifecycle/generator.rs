//! Values that the database makes, and how often a secret is due for a new one.

use crate::access::identity::Caller;
use crate::access::rights::Permission;
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::gucs;
use crate::lifecycle::duration::{self, Least, SECOND};
use crate::lifecycle::value;
use crate::lifecycle::version::{self, Version};
use crate::workers::wake;
use pg_secrets_generator::Generator;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

// The next rotation is due up to a tenth before the period is over: what was scheduled together does not
// come due together, and nothing is ever late for that.
static SET: Statement = Statement::new(
    c"INSERT INTO control_plane.rotations AS r (chain_id, rotate_every, length, alphabet, next_rotation_at) VALUES ($1, $2, $3, $4, pg_catalog.clock_timestamp() + $2 * (1 - pg_catalog.random() / 10)) ON CONFLICT (chain_id) DO UPDATE SET rotate_every = excluded.rotate_every, length = excluded.length, alphabet = excluded.alphabet, next_rotation_at = excluded.next_rotation_at",
);

static RESTART: Statement = Statement::new(
    c"UPDATE control_plane.rotations AS r SET next_rotation_at = pg_catalog.clock_timestamp() + r.rotate_every * (1 - pg_catalog.random() / 10) WHERE r.chain_id = $1 AND r.rotate_every IS NOT NULL",
);

static REMOVE: Statement =
    Statement::new(c"DELETE FROM control_plane.rotations AS r WHERE r.chain_id = $1");

static GET: Statement = Statement::new(
    c"SELECT $1, r.rotate_every, r.length, r.alphabet, r.next_rotation_at FROM (SELECT) AS one LEFT JOIN control_plane.rotations AS r ON r.chain_id = $1",
);

/// set_rotation: the generator of a secret and how often it is due, both or either; what is not said is
/// taken back.
pub(crate) fn set_rotation<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let any_id = arguments.required_uuid(0, "secret_id")?;
    let period = arguments
        .interval(1)
        .map(|period| duration::microseconds("rotate_every", period, Least::Minute))
        .transpose()?;
    let length = arguments.integer(2);
    let alphabet = arguments.text(3)?;
    let generator = generator(length, alphabet.as_deref())?;
    let permitted = version::permitted(session, caller, any_id, Permission::Manage)?;
    let (named, rights) = (permitted.version, permitted.rights);
    version::lock_name(session, caller, &named, Permission::Manage)?;
    let found = version::by_id(session, any_id)?.ok_or_else(Error::no_such_secret)?;
    if Version::read(&found)?.deleted {
        return Err(Error::no_such_secret());
    }

    let mut record = Record::new("rotation.changed");
    record.project_id = Some(named.project_id.clone());
    record.secret_id = Some(named.id);
    record.name = Some(named.name.clone());
    // How large the alphabet is, and not its text: somebody may have put a value in its place.
    record.detail = Some(json!({
        "rotate_every_seconds": period.map(|period| period / SECOND),
        "length": length,
        "alphabet_size": generator.as_ref().map(Generator::alphabet_size),
    }));
    let chain = Param::Uuid(Some(named.chain_id));
    {
        let _declared =
            changes::declare(caller, record.by_administrator(rights.is_administrator()));
        if period.is_none() && generator.is_none() {
            session.run(&REMOVE, &[chain])?;
        } else {
            session.run(
                &SET,
                &[
                    chain,
                    Param::OptionalInterval(period),
                    Param::Integer(length),
                    Param::Text(alphabet.as_deref()),
                ],
            )?;
        }
    }
    // It may be due before the maintenance would look again.
    wake::changed();
    let row = session.run(&GET, &[chain])?.first();
    let row = row.ok_or_else(|| Error::internal("no rotation"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}

/// The generator that the two arguments describe; `None` where both are missing.
fn generator(length: Option<i32>, alphabet: Option<&str>) -> Result<Option<Generator>> {
    match (length, alphabet) {
        (None, None) => Ok(None),
        (Some(length), Some(alphabet)) => usize::try_from(length)
            .ok()
            .map_or(Err(pg_secrets_generator::Refused::Length), |length| {
                Generator::new(length, alphabet)
            })
            .map(Some)
            .map_err(|refused| Error::bad_input(refused.to_string())),
        _ => Err(Error::bad_input(
            "length and alphabet belong together: give both or neither",
        )),
    }
}

/// Begins the period of a secret's schedule anew, if it has one, since it was just rotated. To be called
/// within the declared change.
pub(crate) fn restart_schedule(session: &Session, chain: Uuid) -> Result<()> {
    session.run(&RESTART, &[Param::Uuid(Some(chain))])?;
    Ok(())
}

/// The value of a rotation: the one that it brings, else one that the secret's generator makes.
pub(crate) fn value_of_rotation(
    session: &Session,
    arguments: &Arguments<'_>,
    position: usize,
    chain: Uuid,
) -> Result<Zeroizing<String>> {
    if arguments.is_null(position) {
        generate(session, chain)
    } else {
        value::read(arguments, position)
    }
}

/// A new value for a secret that has a generator.
fn generate(session: &Session, chain: Uuid) -> Result<Zeroizing<String>> {
    generated(session, chain)?.ok_or_else(|| {
        Error::null("value").with_hint(
            "Only for a secret that has a generator it can be left out; control_plane.set_rotation() gives it one.",
        )
    })
}

/// A new value for a secret; `None` where it has no generator.
pub(super) fn generated(session: &Session, chain: Uuid) -> Result<Option<Zeroizing<String>>> {
    let row = session.run(&GET, &[Param::Uuid(Some(chain))])?.first();
    let (length, alphabet) = match &row {
        Some(row) => (row.integer(2), row.text(3)),
        None => (None, None),
    };
    let Some(generator) = generator(length, alphabet.as_deref())? else {
        return Ok(None);
    };
    let value = generator
        .generate()
        .map_err(|_| Error::unavailable("the operating system gives no randomness"))?;
    let (size, limit) = (value.len(), gucs::max_value_size());
    if size > limit {
        return Err(Error::too_large(format!(
            "the generated value has {size} bytes, and at most {limit} are allowed"
        ))
        .with_hint("The limit is pg_secrets.max_value_size in postgresql.conf; the length is what control_plane.set_rotation() said."));
    }
    Ok(Some(value))
}
