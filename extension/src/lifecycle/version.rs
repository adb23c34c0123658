//! Finding versions, and the lock that puts all changes of one name into an order.

use crate::access::identity::Caller;
use crate::access::rights::{Permission, Reach, Rights};
use crate::audit::record::Record;
use crate::backend::session::{Param, Row, Rows, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::event::Event;
use serde_json::Value;
use uuid::Uuid;

/// A row of control_plane.versions, without its value.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) id: Uuid,
    pub(crate) chain_id: Uuid,
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) number: i32,
    pub(crate) state: State,
    pub(crate) deleted: bool,
    pub(crate) key_fingerprint: Option<String>,
}

/// What may be done with a version; see control_plane.versions for the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Grace,
    Destroyed,
    Deleted,
}

impl Version {
    /// Reads the columns of control_plane.versions, in their order.
    pub(crate) fn read(row: &Row<'_>) -> Result<Self> {
        let missing = || Error::internal("a version without a column that it must have");
        Ok(Self {
            id: row.uuid(0).ok_or_else(missing)?,
            chain_id: row.uuid(1).ok_or_else(missing)?,
            project_id: row.text(2).ok_or_else(missing)?,
            name: row.text(3).ok_or_else(missing)?,
            number: row.integer(4).ok_or_else(missing)?,
            deleted: row.datum_is_some(14),
            key_fingerprint: row.text(16),
            state: match row.text(17).as_deref() {
                Some("active") => State::Active,
                Some("grace") => State::Grace,
                Some("deleted") => State::Deleted,
                Some("destroyed") => State::Destroyed,
                _ => return Err(missing()),
            },
        })
    }

    /// A record that `action` happened to it.
    pub(crate) fn record(&self, action: &'static str) -> Record {
        let mut record = Record::new(action);
        record.project_id = Some(self.project_id.clone());
        record.secret_id = Some(self.id);
        record.name = Some(self.name.clone());
        record.version = Some(self.number);
        record
    }

    /// An event that tells of it.
    pub(crate) fn event(&self, kind: &'static str, data: Value) -> Event<'_> {
        Event {
            kind,
            project_id: &self.project_id,
            secret_id: self.id,
            name: &self.name,
            chain_id: self.chain_id,
            data,
        }
    }
}

/// The column of control_plane.versions that holds the message.
pub(crate) const VALUE_ENCRYPTED: usize = 18;

static BY_ID: Statement =
    Statement::new(c"SELECT v.* FROM control_plane.versions AS v WHERE v.id = $1");

/// The version with this id, deleted or not.
pub(crate) fn by_id(session: &Session, id: Uuid) -> Result<Option<Row<'_>>> {
    Ok(session.run(&BY_ID, &[Param::Uuid(Some(id))])?.first())
}

/// A name whose rights are asked for where there is no secret.
const NO_NAME: &str = "there is no such secret";

/// A version that the caller may do something with, and all else that it may do with that secret.
pub(crate) struct Permitted<'s> {
    pub(crate) row: Row<'s>,
    pub(crate) version: Version,
    pub(crate) rights: Rights,
}

/// The version with this id, deleted or not, for a caller who has `permission` on it. To
/// anybody else it answers as if it did not exist, and takes as long.
pub(crate) fn permitted<'s>(
    session: &'s Session,
    caller: &Caller,
    id: Uuid,
    permission: Permission,
) -> Result<Permitted<'s>> {
    caller.require_known()?;
    let Some(row) = by_id(session, id)? else {
        // A lookup as that below, whose absence would tell by the time that there is nothing.
        Rights::on(session, caller, &id.to_string(), NO_NAME)?;
        return Err(Error::no_such_secret());
    };
    let version = Version::read(&row)?;
    let rights = Rights::on(session, caller, &version.project_id, &version.name)?;
    rights.require_on_secret(permission)?;
    Ok(Permitted {
        row,
        version,
        rights,
    })
}

/// The version with this id as one answers it: without the message.
pub(crate) fn answer(session: &Session, id: Uuid) -> Result<Row<'_>> {
    by_id(session, id)?.ok_or_else(|| Error::internal("the version is gone"))
}

static CURRENT: Statement = Statement::new(
    c"SELECT v.* FROM control_plane.versions AS v WHERE v.project_id = $1 AND v.name = $2 AND v.active AND v.deleted_at IS NULL",
);

/// The current version of a name.
pub(crate) fn current<'s>(
    session: &'s Session,
    project: &str,
    name: &str,
) -> Result<Option<Row<'s>>> {
    let params = [Param::Text(Some(project)), Param::Text(Some(name))];
    Ok(session.run(&CURRENT, &params)?.first())
}

static BY_NUMBER: Statement = Statement::new(
    c"SELECT v.* FROM control_plane.versions AS v WHERE v.project_id = $1 AND v.name = $2 AND v.version = $3",
);

/// The version of a name with this number.
pub(crate) fn by_number<'s>(
    session: &'s Session,
    project: &str,
    name: &str,
    number: i32,
) -> Result<Option<Row<'s>>> {
    let params = [
        Param::Text(Some(project)),
        Param::Text(Some(name)),
        Param::Integer(Some(number)),
    ];
    Ok(session.run(&BY_NUMBER, &params)?.first())
}

static ALL_CURRENT: Statement = Statement::new(
    c"SELECT v.* FROM control_plane.versions AS v WHERE v.project_id = $1 AND v.active AND v.deleted_at IS NULL AND ($2::text[] IS NULL OR v.name = ANY ($2)) AND ($3::text[] IS NULL OR EXISTS (SELECT FROM unnest($3) AS p (prefix) WHERE pg_catalog.starts_with(v.name, p.prefix))) ORDER BY v.name",
);

/// The current versions of a project's secrets within `reach`, all or those named.
pub(crate) fn all_current<'s>(
    session: &'s Session,
    project: &str,
    names: Option<&[String]>,
    reach: &Reach,
) -> Result<Rows<'s>> {
    session.run(&ALL_CURRENT, &of_many(project, names, reach))
}

fn of_many<'p>(project: &'p str, names: Option<&'p [String]>, reach: &'p Reach) -> [Param<'p>; 3] {
    [
        Param::Text(Some(project)),
        Param::Texts(names),
        Param::Texts(reach.prefixes()),
    ]
}

static SIZE_OF_ALL_CURRENT: Statement = Statement::new(
    c"SELECT coalesce(sum(pg_catalog.octet_length(s.value_encrypted)), 0)::bigint FROM control_plane.secrets AS s WHERE s.project_id = $1 AND s.active AND s.deleted_at IS NULL AND ($2::text[] IS NULL OR s.name = ANY ($2)) AND ($3::text[] IS NULL OR EXISTS (SELECT FROM unnest($3) AS p (prefix) WHERE pg_catalog.starts_with(s.name, p.prefix)))",
);

/// How many bytes of messages [`all_current`] would load.
pub(crate) fn size_of_all_current(
    session: &Session,
    project: &str,
    names: Option<&[String]>,
    reach: &Reach,
) -> Result<u64> {
    let params = of_many(project, names, reach);
    let size = session.run(&SIZE_OF_ALL_CURRENT, &params)?.first();
    let size = size.and_then(|row| row.bigint(0));
    size.and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| Error::internal("no size"))
}

static LOCK: Statement = Statement::new(
    c"SELECT n.last_version FROM control_plane.secret_names AS n WHERE n.project_id = $1 AND n.name = $2 FOR UPDATE",
);

/// Locks the name of `version` until the transaction ends. What is read after this sees every
/// change that was made before; so the caller's permission is looked up again, and so must the
/// version be: it may be history by now.
pub(crate) fn lock_name(
    session: &Session,
    caller: &Caller,
    version: &Version,
    permission: Permission,
) -> Result<()> {
    let (project, name) = (version.project_id.as_str(), version.name.as_str());
    let params = [Param::Text(Some(project)), Param::Text(Some(name))];
    if session.run(&LOCK, &params)?.first().is_none() {
        return Err(Error::no_such_secret());
    }
    Rights::on(session, caller, project, name)?.require_on_secret(permission)
}

/// Locks the name of `found` and gives what that version is now.
pub(crate) fn lock(
    session: &Session,
    caller: &Caller,
    found: &Version,
    permission: Permission,
) -> Result<Version> {
    lock_name(session, caller, found, permission)?;
    let now = by_id(session, found.id)?.ok_or_else(Error::no_such_secret)?;
    Version::read(&now)
}

static LOCK_IF_FREE: Statement = Statement::new(
    c"SELECT FROM control_plane.secret_names AS n WHERE n.project_id = $1 AND n.name = $2 FOR UPDATE SKIP LOCKED",
);

/// Locks a name until the transaction ends; false where somebody else is changing it.
pub(crate) fn lock_name_if_free(session: &Session, project: &str, name: &str) -> Result<bool> {
    let params = [Param::Text(Some(project)), Param::Text(Some(name))];
    Ok(session.run(&LOCK_IF_FREE, &params)?.affected() > 0)
}

static LATEST: Statement = Statement::new(
    c"SELECT v.* FROM control_plane.versions AS v WHERE v.chain_id = $1 AND v.active",
);

/// The version of a secret, deleted or not, that is or was current.
pub(crate) fn latest(session: &Session, chain: Uuid) -> Result<Version> {
    let row = session.run(&LATEST, &[Param::Uuid(Some(chain))])?.first();
    Version::read(&row.ok_or_else(Error::no_such_secret)?)
}

static LOCK_ALL: Statement =
    Statement::new(c"SELECT FROM control_plane.secrets AS s WHERE s.chain_id = $1 FOR UPDATE");

/// Locks all versions of a secret, behind its name, for who is about to change its consumers, and
/// answers how many there are. Who stores usage holds a version first and then its consumers, and
/// leaves alone what is locked: in the other order the two would wait for each other.
pub(crate) fn lock_all(session: &Session, chain: Uuid) -> Result<u64> {
    Ok(session
        .run(&LOCK_ALL, &[Param::Uuid(Some(chain))])?
        .affected())
}

static NEXT: Statement = Statement::new(
    c"INSERT INTO control_plane.secret_names AS n (project_id, name, last_version) VALUES ($1, $2, 1) ON CONFLICT (project_id, name) DO UPDATE SET last_version = n.last_version + 1 RETURNING n.last_version",
);

/// Takes the next version number of a name, locking it until the transaction ends.
pub(crate) fn next_number(session: &Session, project: &str, name: &str) -> Result<i32> {
    let params = [Param::Text(Some(project)), Param::Text(Some(name))];
    session
        .run(&NEXT, &params)?
        .first()
        .and_then(|row| row.integer(0))
        .ok_or_else(|| Error::internal("no version number"))
}

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.secrets (id, chain_id, project_id, name, value_encrypted, key_fingerprint, version, rotated_from, rotation_reason, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
);

/// A version that is about to become the current one.
pub(crate) struct NewVersion<'v> {
    pub(crate) id: Uuid,
    pub(crate) chain_id: Uuid,
    pub(crate) project_id: &'v str,
    pub(crate) name: &'v str,
    pub(crate) sealed: &'v pg_secrets_openpgp::Sealed,
    pub(crate) number: i32,
    pub(crate) rotated_from: Option<Uuid>,
    pub(crate) rotation_reason: Option<&'v str>,
    pub(crate) created_by: &'v str,
}

/// Writes the row of a new current version.
pub(crate) fn insert(session: &Session, new: &NewVersion<'_>) -> Result<()> {
    session.run(
        &INSERT,
        &[
            Param::Uuid(Some(new.id)),
            Param::Uuid(Some(new.chain_id)),
            Param::Text(Some(new.project_id)),
            Param::Text(Some(new.name)),
            Param::Bytes(&new.sealed.message),
            Param::Text(Some(&new.sealed.fingerprint)),
            Param::Integer(Some(new.number)),
            Param::Uuid(new.rotated_from),
            Param::Text(new.rotation_reason),
            Param::Text(Some(new.created_by)),
        ],
    )?;
    Ok(())
}
