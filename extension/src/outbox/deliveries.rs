//! list_deliveries: what an endpoint was told, and how that went.

use crate::access::identity::Caller;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::endpoints::Endpoint;
use uuid::Uuid;

/// The most that a page has: each delivery brings its tries, and each try a kilobyte.
const LARGEST_PAGE: i32 = 200;

static PAGE: Statement = Statement::new(
    c"SELECT d.id, d.endpoint_id, d.event_id, 'evt_' || pg_catalog.replace(d.event_id::text, '-', ''), o.type, o.secret_id, o.name, d.status, d.attempts, CASE WHEN d.status = 'pending' THEN d.next_attempt_at END, d.last_status, d.last_error, d.created_at, d.finished_at, coalesce(tries.made, '[]'::jsonb) FROM control_plane.deliveries AS d JOIN control_plane.outbox AS o ON o.id = d.event_id CROSS JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object('attempt', a.attempt, 'at', a.at, 'duration_ms', a.duration_ms, 'status', a.status, 'error', a.error, 'answer', a.answer) ORDER BY a.attempt) AS made FROM control_plane.delivery_attempts AS a WHERE a.delivery_id = d.id) AS tries WHERE (d.endpoint_id, d.event_id) < ($1, $2) AND d.endpoint_id >= $1 AND ($3 IS NULL OR d.status = $3) ORDER BY d.endpoint_id DESC, d.event_id DESC LIMIT $4",
);

/// list_deliveries: the deliveries of an endpoint with their tries, the newest event first. `before` is
/// the event of the last delivery of the page before.
pub(crate) fn list_deliveries<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let endpoint = arguments.required_uuid(0, "endpoint_id")?;
    let status = arguments.text(1)?;
    if let Some(status) = &status
        && !matches!(status.as_str(), "pending" | "delivered" | "failed")
    {
        return Err(
            Error::bad_input("status is not known").with_hint("One of pending, delivered, failed.")
        );
    }
    let limit = arguments.integer(3).ok_or_else(|| Error::null("limit"))?;
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Error::bad_input("limit must be 1 to 200"));
    }
    let endpoint = Endpoint::permitted(session, caller, endpoint)?;
    let rows = session.run(
        &PAGE,
        &[
            Param::Uuid(Some(endpoint.id)),
            Param::Uuid(Some(arguments.uuid(2).unwrap_or(Uuid::max()))),
            Param::Text(status.as_deref()),
            Param::Integer(Some(limit)),
        ],
    )?;
    Ok(Answer::Rows(rows))
}
