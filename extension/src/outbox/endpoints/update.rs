//! update_endpoint.

use crate::access::identity::Caller;
use crate::audit::changes;
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::endpoints::{self, Endpoint, checks};
use crate::workers::wake;
use serde_json::json;

// A new address, or a new beginning, has not failed yet.
static UPDATE: Statement = Statement::new(
    c"UPDATE control_plane.endpoints AS e SET url = coalesce($2, e.url), event_types = CASE WHEN $3 IS NULL THEN e.event_types WHEN pg_catalog.cardinality($3) = 0 THEN NULL ELSE $3 END, enabled = coalesce($4, e.enabled), disabled_reason = CASE WHEN $4 IS NULL THEN e.disabled_reason END, not_before = CASE WHEN $5 THEN NULL ELSE e.not_before END, slow_downs = CASE WHEN $5 THEN 0 ELSE e.slow_downs END, answering = $5 OR e.answering, failing_since = CASE WHEN $5 THEN NULL ELSE e.failing_since END, generation = CASE WHEN $5 THEN e.generation + 1 ELSE e.generation END WHERE e.id = $1",
);

// What waits for a try by the schedule of the old address, which may be a day away.
static BRING_FORWARD: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET attempts_before = d.attempts, next_attempt_at = pg_catalog.clock_timestamp() WHERE d.id IN (SELECT w.id FROM control_plane.deliveries AS w WHERE w.endpoint_id = $1 AND w.status = 'pending' AND w.attempts > w.attempts_before AND (w.leased_until IS NULL OR w.leased_until <= pg_catalog.clock_timestamp()) FOR NO KEY UPDATE SKIP LOCKED)",
);

/// update_endpoint: another URL, other events (an empty list is all of them), enabled or not. What is
/// NULL stays as it is.
pub(crate) fn update_endpoint<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let id = arguments.required_uuid(0, "endpoint_id")?;
    let url = arguments.text(1)?;
    if let Some(url) = &url {
        checks::url(url)?;
    }
    let kinds = arguments.texts(2, "an element of event_types")?;
    checks::kinds(kinds.as_deref().filter(|kinds| !kinds.is_empty()))?;
    let enabled = arguments.boolean(3);
    let changed: Vec<&str> = [
        ("url", url.is_some()),
        ("event_types", kinds.is_some()),
        ("enabled", enabled.is_some()),
    ]
    .into_iter()
    .filter_map(|(column, given)| given.then_some(column))
    .collect();
    let endpoint = Endpoint::locked(session, caller, id)?;
    if changed.is_empty() {
        return Err(Error::bad_input("there is nothing to change")
            .with_hint("Give a url, event_types or enabled."));
    }

    let mut record = endpoint.record("endpoint.updated");
    record.add_detail("changed", json!(changed));
    if let Some(enabled) = enabled {
        record.add_detail("enabled", json!(enabled));
    }
    let anew = url.is_some() || enabled == Some(true) && !endpoint.enabled;
    {
        let _declared = changes::declare(caller, record);
        session.run(
            &UPDATE,
            &[
                Param::Uuid(Some(id)),
                Param::Text(url.as_deref()),
                Param::Texts(kinds.as_deref()),
                Param::OptionalBoolean(enabled),
                Param::Boolean(anew),
            ],
        )?;
    }
    if anew {
        session.run(&BRING_FORWARD, &[Param::Uuid(Some(id))])?;
        wake::at_commit();
    }
    endpoints::answer(session, id, None)
}
