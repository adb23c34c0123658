//! Writing an event, in the transaction of the change that it tells of.

use crate::backend::session::{Param, Session, Statement};
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

static NOW: Statement = Statement::new(
    c"SELECT pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO control_plane.outbox (id, type, project_id, secret_id, name, body) VALUES ($1, $2, $3, $4, $5, $6)",
);

static FAN_OUT: Statement = Statement::new(
    c"INSERT INTO control_plane.deliveries (id, event_id, endpoint_id) SELECT pg_catalog.gen_random_uuid(), $1, e.id FROM control_plane.endpoints AS e WHERE e.project_id = $2 AND e.enabled AND (e.event_types IS NULL OR $3 = ANY (e.event_types)) AND (e.service IS NULL OR EXISTS (SELECT FROM control_plane.secrets AS s JOIN control_plane.secret_consumers AS c ON c.secret_id = s.id WHERE s.chain_id = $4 AND c.service = e.service))",
);

/// Writes the event and one delivery for each endpoint that is to be told: those of the whole
/// project, and those of the secret's consumers.
pub(crate) fn emit(session: &Session, event: &Event<'_>) -> Result<()> {
    let event_id = id::new()?;
    let mut data = json!({
        "secret_id": event.secret_id,
        "name": event.name,
        "project_id": event.project_id,
    });
    if let (Some(all), Some(own)) = (data.as_object_mut(), event.data.as_object()) {
        all.extend(own.clone());
    }
    let timestamp = session.run(&NOW, &[])?.first().and_then(|row| row.text(0));
    let body = json!({"type": event.kind, "timestamp": timestamp, "data": data}).to_string();
    session.run(
        &INSERT,
        &[
            Param::Uuid(Some(event_id)),
            Param::Text(Some(event.kind)),
            Param::Text(Some(event.project_id)),
            Param::Uuid(Some(event.secret_id)),
            Param::Text(Some(event.name)),
            Param::Text(Some(&body)),
        ],
    )?;
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
    Ok(())
}
