//! Reading values. What may be read is decided by the latest state and the clock, then the read is
//! recorded, then the value leaves.

use crate::access::identity::Caller;
use crate::access::names::check_service;
use crate::access::rights::{Permission, ReadingService, Rights};
use crate::audit::reads::{self, Attempt};
use crate::backend::answer::{Answer, Composite, SET_LIMIT, refuse_spill};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Row, Session};
use crate::error::{Error, Result};
use crate::keys::keyring;
use crate::lifecycle::version::{self, State, VALUE_ENCRYPTED, Version};
use pg_secrets_openpgp::Place;
use uuid::Uuid;
use zeroize::Zeroizing;

/// get_secret: exactly the version with this id.
pub(crate) fn get_secret<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let service = service_argument(arguments, 1)?;
    let attempt = Attempt {
        secret_id: Some(id),
        service: service.clone(),
        ..Attempt::default()
    };
    reads::or_refused(session, caller, attempt, || {
        keyring::require()?;
        let (reader, row) = Reader::by_id(session, caller, id, None, service)?;
        reader.read(session, row)
    })
}

/// get_secret_by_name: the current version of a name, or the one with the number given.
pub(crate) fn get_secret_by_name<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    let name = arguments.required_text(1, "name")?;
    let number = arguments.integer(2);
    let service = service_argument(arguments, 3)?;
    let attempt = Attempt {
        project_id: Some(project.clone()),
        name: Some(name.clone()),
        version: number,
        service: service.clone(),
        ..Attempt::default()
    };
    reads::or_refused(session, caller, attempt, || {
        keyring::require()?;
        let (reader, row) = Reader::by_name(session, caller, &project, &name, number, service)?;
        reader.read(session, row)
    })
}

/// get_secret_version: the version with this number of the secret that any version's id finds.
pub(crate) fn get_secret_version<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "secret_id")?;
    let number = arguments.integer(1).ok_or_else(|| Error::null("version"))?;
    let service = service_argument(arguments, 2)?;
    let attempt = Attempt {
        secret_id: Some(id),
        version: Some(number),
        service: service.clone(),
        ..Attempt::default()
    };
    reads::or_refused(session, caller, attempt, || {
        keyring::require()?;
        let (reader, row) = Reader::by_id(session, caller, id, Some(number), service)?;
        reader.read(session, row)
    })
}

/// get_secrets: the current versions of a project's secrets, all or those named. A name that is not
/// there, or not for this caller, fails the whole call: an application that starts with a part of its
/// secrets is broken later and elsewhere.
pub(crate) fn get_secrets<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    let names = arguments.texts(1, "an element of names")?;
    let service = service_argument(arguments, 2)?;
    let attempt = Attempt {
        project_id: Some(project.clone()),
        service: service.clone(),
        ..Attempt::default()
    };
    reads::or_refused(session, caller, attempt, || {
        read_many(
            session,
            caller,
            &project,
            names.as_deref(),
            service.as_deref(),
        )
    })
}

fn read_many<'s>(
    session: &'s Session,
    caller: &Caller,
    project: &str,
    names: Option<&[String]>,
    service: Option<&str>,
) -> Result<Answer<'s>> {
    keyring::require()?;
    let rights = Rights::within(session, caller, project)?;
    let reach = rights.reach(Permission::Read)?;
    if version::size_of_all_current(session, project, names, &reach)? > SET_LIMIT as u64 {
        return Err(too_large_together());
    }
    let rows: Vec<Row<'s>> = version::all_current(session, project, names, &reach)?
        .iter()
        .collect();
    let versions = rows.iter().map(Version::read).collect::<Result<Vec<_>>>()?;
    if let Some(names) = names {
        let missing: Vec<usize> = (1..)
            .zip(names)
            .filter(|(_, name)| !versions.iter().any(|version| version.name == **name))
            .map(|(position, _)| position)
            .collect();
        if !missing.is_empty() {
            return Err(Error::missing(&missing));
        }
    }
    // Each by the grants for its name, which may be bound to different services.
    let mut read = Vec::with_capacity(versions.len());
    for version in &versions {
        let rights = rights.narrowed_to(&version.name);
        read.push((version, rights.reading_service(caller, service)?));
    }
    if read.is_empty() {
        rights.reading_service(caller, service)?;
    }
    let mut composites = Vec::with_capacity(rows.len());
    let mut total = 0;
    for (row, version) in rows.into_iter().zip(&versions) {
        let value = open(&row, version)?;
        total += value.len();
        if total > SET_LIMIT {
            return Err(too_large_together());
        }
        composites.push(Composite {
            row,
            secret: Some(value),
        });
    }
    reads::record(caller, &read, rights.is_administrator())?;
    Ok(Answer::Many(composites))
}

fn too_large_together() -> Error {
    Error::too_large("the values are too large for one answer")
        .with_hint("Ask for fewer names at once.")
}

/// A caller who may read, under the name of a service.
pub(super) struct Reader<'c> {
    caller: &'c Caller,
    service: ReadingService,
    administrator: bool,
}

impl<'c> Reader<'c> {
    fn new(caller: &'c Caller, rights: &Rights, service: Option<String>) -> Result<Self> {
        Ok(Self {
            caller,
            service: rights.reading_service(caller, service.as_deref())?,
            administrator: rights.is_administrator(),
        })
    }

    /// A reader of the version with this id, or of the one with this number of the same secret, and the row
    /// of control_plane.versions, if there is one.
    pub(super) fn by_id<'s>(
        session: &'s Session,
        caller: &'c Caller,
        id: Uuid,
        number: Option<i32>,
        service: Option<String>,
    ) -> Result<(Self, Option<Row<'s>>)> {
        let permitted = version::permitted(session, caller, id, Permission::Read)?;
        let reader = Self::new(caller, &permitted.rights, service)?;
        let Some(number) = number else {
            return Ok((reader, Some(permitted.row)));
        };
        let named = permitted.version;
        let row = version::by_number(session, &named.project_id, &named.name, number)?;
        // The same name may have been another secret once.
        let same_chain =
            |row: &Row<'_>| Version::read(row).is_ok_and(|v| v.chain_id == named.chain_id);
        Ok((reader, row.filter(same_chain)))
    }

    /// The same for the current version of a name, or the one with this number.
    pub(super) fn by_name<'s>(
        session: &'s Session,
        caller: &'c Caller,
        project: &str,
        name: &str,
        number: Option<i32>,
        service: Option<String>,
    ) -> Result<(Self, Option<Row<'s>>)> {
        let rights = Rights::on(session, caller, project, name)?;
        rights.require_on_secret(Permission::Read)?;
        let reader = Self::new(caller, &rights, service)?;
        let row = match number {
            Some(number) => version::by_number(session, project, name, number)?,
            None => version::current(session, project, name)?,
        };
        Ok((reader, row))
    }

    /// Records that the reader was told that it has the value of `version` already.
    pub(super) fn record_check(&self, version: &Version) -> Result<()> {
        let checked = (version, self.service.clone());
        reads::record_check(self.caller, &checked, self.administrator)
    }

    /// Gives the value of the row of control_plane.versions that was found, if it may be read.
    fn read<'s>(&self, session: &'s Session, row: Option<Row<'s>>) -> Result<Answer<'s>> {
        let (row, version) = readable(session, row)?;
        let value = open(&row, &version)?;
        refuse_spill(value.len())?;
        let read = [(&version, self.service.clone())];
        reads::record(self.caller, &read, self.administrator)?;
        Ok(Answer::One(Composite {
            row,
            secret: Some(value),
        }))
    }
}

/// The row that was found, where its value may be read now.
pub(super) fn readable<'s>(
    session: &'s Session,
    row: Option<Row<'s>>,
) -> Result<(Row<'s>, Version)> {
    let row = row.ok_or_else(Error::no_such_secret)?;
    let version = Version::read(&row)?;
    if version.deleted {
        return Err(Error::no_such_secret());
    }
    if version.state == State::Destroyed {
        let current = version::current(session, &version.project_id, &version.name)?;
        let current = current.as_ref().map(Version::read).transpose()?;
        return Err(Error::destroyed(current.map(|current| current.id)));
    }
    Ok((row, version))
}

/// Opens the message of a row of control_plane.versions that may be read.
pub(super) fn open(row: &Row<'_>, version: &Version) -> Result<Zeroizing<Vec<u8>>> {
    let message = row
        .bytes(VALUE_ENCRYPTED)
        .ok_or_else(|| Error::internal("a readable version without its message"))?;
    let fingerprint = version.key_fingerprint.as_deref().unwrap_or("(unknown)");
    // We never compress, so that the value is always shorter than its message.
    keyring::open(
        Place::version(version.id),
        &message,
        message.len(),
        fingerprint,
    )
}

/// The service that a reader names itself by.
pub(super) fn service_argument(
    arguments: &Arguments<'_>,
    position: usize,
) -> Result<Option<String>> {
    let service = arguments.text(position)?;
    if let Some(service) = &service {
        check_service(service)?;
    }
    Ok(service)
}
