//! Writing an event, in the transaction of the change that it tells of.

use crate::backend::session::{Param, Session, Statement};
use crate::backend::timestamp;
use crate::error::Result;
use crate::id;
use crate::workers::wake;
use serde_json::{Value, json};
use uuid::Uuid;

/// The kinds that an endpoint can choose from.
pub(crate) const KINDS: [&str; 13] = [
    "secret.created",
    "secret.rotated",
    "secret.expiring",
    "secret.destroyed",
    "secret.deleted",
    "secret.restored",
    "secret.purged",
    "secret.grace_held",
    "secret.rotation_due",
    "endpoint.disabled",
    "endpoint.ping",
    "audit.head",
    "audit.denied",
];

/// What happened to which secret. `data` holds the fields beyond those that every event has; never
/// a value.
pub(crate) struct Event<'e> {
    pub(crate) kind: &'static str,
    pub(crate) project_id: &'e str,
    pub(crate) secret_id: Uuid,
    pub(crate) name: &'e str,
    pub(crate) chain_id: Uuid,
    pub(crate) data: Value,
}

// For what is not about one secret: those who watch over the project, and those who asked for it.
static FAN_OUT_NOTICE: Statement = Statement::new(
    c"INSERT INTO control_plane.deliveries (id, event_id, endpoint_id) SELECT pg_catalog.gen_random_uuid(), $1, e.id FROM control_plane.endpoints AS e WHERE e.project_id = $2 AND e.enabled AND (e.event_types IS NULL AND e.service IS NULL OR $3 = ANY (e.event_types))",
);

/// Writes an event that is not about one secret, and its deliveries.
pub(crate) fn emit_notice(
    session: &Session,
    kind: &'static str,
    project_id: &str,
    mut data: Value,
) -> Result<()> {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("project_id".to_owned(), json!(project_id));
    }
    let event_id = write(session, kind, project_id, None, data)?;
    let params = [
        Param::Uuid(Some(event_id)),
        Param::Text(Some(project_id)),
        Param::Text(Some(kind)),
    ];
    if session.run(&FAN_OUT_NOTICE, &params)?.affected() > 0 {
        wake::at_commit();
    }
    Ok(())
}

static FOR_ONE: Statement = Statement::new(
    c"INSERT INTO control_plane.deliveries (id, event_id, endpoint_id) VALUES ($1, $2, $3)",
);

/// Writes the event endpoint.ping, for this endpoint alone; answers the delivery's id.
pub(super) fn emit_ping(session: &Session, project_id: &str, endpoint_id: Uuid) -> Result<Uuid> {
    let data = json!({"project_id": project_id, "endpoint_id": endpoint_id});
    let event_id = write(session, "endpoint.ping", project_id, None, data)?;
    let delivery_id = id::new()?;
    let params = [delivery_id, event_id, endpoint_id].map(|id| Param::Uuid(Some(id)));
    session.run(&FOR_ONE, &params)?;
    wake::at_commit();
    Ok(delivery_id)
}

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.outbox (id, type, project_id, secret_id, name, body) VALUES ($1, $2, $3, $4, $5, $6)",
);

static FAN_OUT: Statement = Statement::new(
    c"INSERT INTO control_plane.deliveries (id, event_id, endpoint_id, chain_id) SELECT pg_catalog.gen_random_uuid(), $1, e.id, $4 FROM control_plane.endpoints AS e WHERE e.project_id = $2 AND e.enabled AND (e.event_types IS NULL OR $3 = ANY (e.event_types)) AND (e.service IS NULL OR EXISTS (SELECT FROM control_plane.secrets AS s JOIN control_plane.secret_consumers AS c ON c.secret_id = s.id WHERE s.chain_id = $4 AND c.service = e.service))",
);

/// Writes the event and one delivery for each endpoint that is to be told: those of the whole
/// project, and those of the secret's consumers.
pub(crate) fn emit(session: &Session, event: &Event<'_>) -> Result<()> {
    let mut data = json!({
        "secret_id": event.secret_id,
        "name": event.name,
        "project_id": event.project_id,
    });
    if let (Some(all), Some(own)) = (data.as_object_mut(), event.data.as_object()) {
        all.extend(own.clone());
    }
    let subject = Some((event.secret_id, event.name));
    let event_id = write(session, event.kind, event.project_id, subject, data)?;
    let deliveries = session
        .run(
            &FAN_OUT,
            &[
                Param::Uuid(Some(event_id)),
                Param::Text(Some(event.project_id)),
                Param::Text(Some(event.kind)),
                Param::Uuid(Some(event.chain_id)),
            ],
        )?
        .affected();
    if deliveries > 0 {
        wake::at_commit();
    }
    // Whatever has an event may be due for another one.
    wake::changed();
    Ok(())
}

/// Writes the event itself. `subject` is the version that it is about, and its secret's name.
fn write(
    session: &Session,
    kind: &'static str,
    project_id: &str,
    subject: Option<(Uuid, &str)>,
    data: Value,
) -> Result<Uuid> {
    let event_id = id::new()?;
    let timestamp = timestamp::now(session)?;
    let body = json!({"type": kind, "timestamp": timestamp, "data": data}).to_string();
    session.run(
        &INSERT,
        &[
            Param::Uuid(Some(event_id)),
            Param::Text(Some(kind)),
            Param::Text(Some(project_id)),
            Param::Uuid(subject.map(|(secret_id, _)| secret_id)),
            Param::Text(subject.map(|(_, name)| name)),
            Param::Text(Some(&body)),
        ],
    )?;
    Ok(event_id)
}
