//! create_endpoint.

use crate::access::identity::Caller;
use crate::access::names::{check_identifier, check_service};
use crate::access::rights::{Permission, Rights};
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::keys::keyring;
use crate::outbox::endpoints::{self, checks};
use crate::outbox::settings;
use pg_secrets_openpgp::Place;
use serde_json::json;

// Into the first free slot. Who takes the same one at the same moment is waited for, and then nothing is done.
static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.endpoints (id, project_id, service, url, event_types, secret_encrypted, key_fingerprint, created_by, slot) SELECT $1, $2, $3, $4, $5, $6, $7, $8, min(s.slot) FROM pg_catalog.generate_series(1, $9) AS s (slot) WHERE NOT EXISTS (SELECT FROM control_plane.endpoints AS e WHERE e.project_id = $2 AND e.slot = s.slot) HAVING min(s.slot) IS NOT NULL ON CONFLICT ON CONSTRAINT endpoints_project_id_slot_key DO NOTHING",
);

static IS_FULL: Statement = Statement::new(
    c"SELECT NOT EXISTS (SELECT FROM pg_catalog.generate_series(1, $2) AS s (slot) WHERE NOT EXISTS (SELECT FROM control_plane.endpoints AS e WHERE e.project_id = $1 AND e.slot = s.slot))",
);

/// create_endpoint: a URL for a service, or for the whole project; its signing secret is shown in
/// this answer and never again.
pub(crate) fn create_endpoint<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    check_identifier("project_id", &project)?;
    let url = arguments.required_text(1, "url")?;
    checks::url(&url)?;
    let service = arguments.text(2)?;
    if let Some(service) = &service {
        check_service(service)?;
    }
    let kinds = arguments.texts(3, "an element of event_types")?;
    checks::kinds(kinds.as_deref())?;
    let rights = Rights::of(session, caller, Some(&project))?;
    rights.require(Permission::Manage)?;
    keyring::require()?;

    let endpoint_id = id::new()?;
    let secret = endpoints::new_secret()?;
    let sealed = keyring::seal(Place::endpoint(endpoint_id), secret.as_bytes())?;

    let mut record = Record::new("endpoint.created");
    record.project_id = Some(project.clone());
    record.service = service.clone();
    record.detail = Some(json!({"endpoint_id": endpoint_id}));
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    let most = settings::endpoints_per_project();
    let params = [
        Param::Uuid(Some(endpoint_id)),
        Param::Text(Some(&project)),
        Param::Text(service.as_deref()),
        Param::Text(Some(&url)),
        Param::Texts(kinds.as_deref()),
        Param::Bytes(&sealed.message),
        Param::Text(Some(&sealed.fingerprint)),
        Param::Text(Some(&caller.actor)),
        Param::Integer(Some(most)),
    ];
    while session.run(&INSERT, &params)?.affected() == 0 {
        if is_full(session, &project, most)? {
            return Err(Error::too_many_endpoints(most));
        }
    }
    endpoints::answer(session, endpoint_id, Some(&secret))
}

/// Whether the project has no slot left.
fn is_full(session: &Session, project: &str, most: i32) -> Result<bool> {
    let params = [Param::Text(Some(project)), Param::Integer(Some(most))];
    let full = session.run(&IS_FULL, &params)?.first();
    full.and_then(|row| row.boolean(0))
        .ok_or_else(|| Error::internal("slots that cannot be counted"))
}
