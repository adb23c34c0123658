//! Where webhooks go. Every change of an endpoint needs `manage` on its project, and is recorded
//! without its URL, which may carry a token of the receiver's.

mod checks;
mod create;
mod delete;
mod list;
mod ping;
mod rotate_secret;
mod update;

pub(crate) use create::create_endpoint;
pub(crate) use delete::delete_endpoint;
pub(crate) use list::{get_endpoint, list_endpoints};
pub(crate) use ping::ping_endpoint;
pub(crate) use rotate_secret::rotate_endpoint_secret;
pub(crate) use update::update_endpoint;

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

/// An endpoint that the caller may manage.
pub(super) struct Endpoint {
    pub(super) id: Uuid,
    pub(super) project_id: String,
    pub(super) service: Option<String>,
    pub(super) enabled: bool,
    pub(super) rights: Rights,
}

static FIND: Statement = Statement::new(
    c"SELECT e.project_id, e.service::text, e.enabled FROM control_plane.endpoints AS e WHERE e.id = $1",
);

// What locks it puts off the claims from this endpoint, and nothing else.
static LOCK: Statement = Statement::new(
    c"SELECT e.project_id, e.service::text, e.enabled FROM control_plane.endpoints AS e WHERE e.id = $1 FOR NO KEY UPDATE",
);

impl Endpoint {
    /// Finds an endpoint that `caller` may manage.
    pub(super) fn permitted(session: &Session, caller: &Caller, id: Uuid) -> Result<Self> {
        caller.require_known()?;
        let Some(row) = session.run(&FIND, &[Param::Uuid(Some(id))])?.first() else {
            return Err(Error::no_such_endpoint());
        };
        let project = row.text(0).unwrap_or_default();
        let rights = Rights::of(session, caller, Some(&project))?;
        rights.require_on_endpoint()?;
        Self::read(&row, id, rights)
    }

    /// The same, locked until the end of the transaction. Nobody without the right holds the lock.
    pub(super) fn locked(session: &Session, caller: &Caller, id: Uuid) -> Result<Self> {
        let found = Self::permitted(session, caller, id)?;
        match session.run(&LOCK, &[Param::Uuid(Some(id))])?.first() {
            Some(row) => Self::read(&row, id, found.rights),
            None => Err(Error::no_such_endpoint()),
        }
    }

    fn read(row: &Row<'_>, id: Uuid, rights: Rights) -> Result<Self> {
        Ok(Self {
            id,
            project_id: row
                .text(0)
                .ok_or_else(|| Error::internal("an endpoint without its project"))?,
            service: row.text(1),
            enabled: row.boolean(2) == Some(true),
            rights,
        })
    }

    /// A record that `action` happened to it.
    pub(super) fn record(&self, action: &'static str) -> Record {
        let mut record = Record::new(action);
        record.project_id = Some(self.project_id.clone());
        record.service = self.service.clone();
        record.detail = Some(json!({"endpoint_id": self.id}));
        record.by_administrator(self.rights.is_administrator())
    }
}

static ROW: Statement =
    Statement::new(c"SELECT v.*, NULL::text FROM control_plane.endpoint_rows AS v WHERE v.id = $1");

/// The endpoint as callers see it, with its signing secret where that is new.
fn answer<'s>(session: &'s Session, id: Uuid, secret: Option<&str>) -> Result<Answer<'s>> {
    let row = session.run(&ROW, &[Param::Uuid(Some(id))])?.first();
    Ok(Answer::One(Composite {
        row: row.ok_or_else(Error::no_such_endpoint)?,
        secret: secret.map(|secret| Zeroizing::new(secret.as_bytes().to_vec())),
    }))
}

/// A signing secret from the operating system's randomness.
fn new_secret() -> Result<Zeroizing<String>> {
    pg_secrets_signature::new_secret()
        .map_err(|_| Error::unavailable("the operating system gives no randomness"))
}
