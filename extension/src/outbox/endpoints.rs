//! Where webhooks go.

use crate::access::identity::Caller;
use crate::access::names::{check_identifier, check_service};
use crate::access::rights::{Permission, Rights};
use crate::audit::changes;
use crate::audit::record::Record;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::keys::keyring;
use crate::outbox::event;
use pg_secrets_openpgp::Place;
use serde_json::json;
use zeroize::Zeroizing;

/// The longest URL, in characters.
const LONGEST_URL: usize = 2000;

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.endpoints AS e (id, project_id, service, url, event_types, secret_encrypted, key_fingerprint, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING e.id, e.project_id, e.service::text, e.url, e.event_types, e.enabled, e.created_by, e.created_at",
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
    check_url(&url)?;
    let service = arguments.text(2)?;
    if let Some(service) = &service {
        check_service(service)?;
    }
    let kinds = arguments.texts(3, "an element of event_types")?;
    check_kinds(kinds.as_deref())?;
    let rights = Rights::of(session, caller, Some(&project))?;
    rights.require(Permission::Manage)?;
    keyring::require()?;

    let endpoint_id = id::new()?;
    let secret = pg_secrets_signature::new_secret()
        .map_err(|_| Error::unavailable("the operating system gives no randomness"))?;
    let sealed = keyring::seal(Place::endpoint(endpoint_id), secret.as_bytes())?;

    let mut record = Record::new("endpoint.created");
    record.project_id = Some(project.clone());
    record.service = service.clone();
    record.detail = Some(json!({"endpoint_id": endpoint_id}));
    let _declared = changes::declare(caller, record.by_administrator(rights.is_administrator()));
    let row = session
        .run(
            &INSERT,
            &[
                Param::Uuid(Some(endpoint_id)),
                Param::Text(Some(&project)),
                Param::Text(service.as_deref()),
                Param::Text(Some(&url)),
                Param::Texts(kinds.as_deref()),
                Param::Bytes(&sealed.message),
                Param::Text(Some(&sealed.fingerprint)),
                Param::Text(Some(&caller.actor)),
            ],
        )?
        .first()
        .ok_or_else(|| Error::internal("the endpoint is gone"))?;
    Ok(Answer::One(Composite {
        row,
        secret: Some(Zeroizing::new(secret.as_bytes().to_vec())),
    }))
}

/// A URL that a relay may try: http or https, with a host, without a login in it. Which addresses
/// it may lead to is for the relay to check when it connects, since names change their addresses.
fn check_url(url: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::bad_input(format!("url {why}")));
    if url.chars().count() > LONGEST_URL {
        return refuse("must have at most 2000 characters");
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse("must not hold spaces or control characters");
    }
    let Some(rest) = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
    else {
        return refuse("must begin with https:// or http://");
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or("");
    if authority.is_empty() {
        return refuse("must name a host");
    }
    if authority.contains('@') {
        return refuse("must not hold a user name or password");
    }
    Ok(())
}

fn check_kinds(kinds: Option<&[String]>) -> Result<()> {
    let Some(kinds) = kinds else {
        return Ok(());
    };
    if kinds.is_empty() {
        return Err(Error::bad_input("event_types must not be empty")
            .with_hint("Leave it out to be told of every event."));
    }
    if kinds
        .iter()
        .any(|kind| !event::KINDS.contains(&kind.as_str()))
    {
        return Err(
            Error::bad_input("event_types names an event that does not exist")
                .with_hint(format!("The events are: {}.", event::KINDS.join(", "))),
        );
    }
    Ok(())
}
