//! How the service is, in numbers: for `/readyz` and `/metrics`. Nothing in it names anything.

use crate::access::identity::Caller;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;
use crate::outbox::claim;
use crate::{gucs, id};

/// How far back refused reads are counted, in microseconds.
const HOUR: i64 = 60 * 60 * 1_000_000;

/// How far a record's id may be from its time, in microseconds.
const SLACK: i64 = 1_000_000;

// Every count ends at 20000 and goes by an index that holds what is counted and nothing else. What is read
// of the audit behind its chain is what was written within the last second, unless the chain stands still.
static FIGURES: Statement = Statement::new(
    c"SELECT $1::boolean, w.auditor, w.bookkeeper, w.notifier, w.maintenance, d.count, pg_catalog.extract('epoch', pg_catalog.clock_timestamp() - d.oldest)::double precision, u.count + r.count, pg_catalog.extract('epoch', pg_catalog.clock_timestamp() - least(u.oldest, r.oldest))::double precision, n.count, g.count, s.count
FROM (SELECT CASE WHEN seen.all_types THEN seen.auditor END, CASE WHEN seen.all_types THEN seen.bookkeeper END, CASE WHEN seen.all_types THEN seen.notifier OR NOT $2 END, CASE WHEN seen.all_types THEN seen.maintenance OR NOT $2 END FROM (SELECT coalesce(pg_catalog.bool_or(a.backend_type = 'checkpointer'), false), coalesce(pg_catalog.bool_or(a.backend_type = 'pg_secrets auditor'), false), coalesce(pg_catalog.bool_or(a.backend_type = 'pg_secrets bookkeeper'), false), coalesce(pg_catalog.bool_or(a.backend_type = 'pg_secrets notifier'), false), coalesce(pg_catalog.bool_or(a.backend_type = 'pg_secrets maintenance'), false) FROM pg_catalog.pg_stat_activity AS a) AS seen (all_types, auditor, bookkeeper, notifier, maintenance)) AS w (auditor, bookkeeper, notifier, maintenance)
CROSS JOIN (SELECT pg_catalog.count(*), pg_catalog.min(x.created_at) FROM (SELECT p.created_at FROM control_plane.deliveries AS p WHERE p.status = 'pending' LIMIT 20000) AS x) AS d (count, oldest)
CROSS JOIN (SELECT pg_catalog.count(*), (SELECT a.at FROM control_plane.audit_logs AS a WHERE a.id = (SELECT o.record_id FROM control_plane.audit_unchained AS o ORDER BY o.record_id LIMIT 1)) FROM (SELECT FROM control_plane.audit_unchained LIMIT 20000) AS x) AS u (count, oldest)
CROSS JOIN (SELECT pg_catalog.count(*), pg_catalog.min(x.at) FROM (SELECT a.at FROM control_plane.audit_logs AS a WHERE a.arrival > coalesce((SELECT pg_catalog.max(p.arrival) FROM control_plane.audit_progress AS p WHERE p.purpose = 'chain'), 0) ORDER BY a.arrival LIMIT 20000) AS x) AS r (count, oldest)
CROSS JOIN (SELECT pg_catalog.count(*) FROM (SELECT FROM control_plane.audit_logs AS a WHERE a.outcome = 'denied' AND a.id >= $3 AND a.action = 'secret.access_denied' LIMIT 20000) AS x) AS n (count)
CROSS JOIN (SELECT pg_catalog.count(*) FROM (SELECT FROM control_plane.secrets AS v WHERE v.destroyed_at IS NULL AND v.expires_at > pg_catalog.clock_timestamp() AND v.deleted_at IS NULL LIMIT 20000) AS x) AS g (count)
CROSS JOIN (SELECT pg_catalog.count(*) FROM (SELECT DISTINCT x.chain_id, x.service FROM (SELECT v.chain_id, v.project_id, v.name, c.service FROM (SELECT v.id, v.chain_id, v.project_id, v.name FROM control_plane.secrets AS v WHERE v.destroyed_at IS NULL AND v.expires_at > pg_catalog.clock_timestamp() AND v.deleted_at IS NULL LIMIT 20000) AS v JOIN control_plane.secret_consumers AS c ON c.secret_id = v.id WHERE c.last_used_at IS NOT NULL LIMIT 20000) AS x WHERE NOT EXISTS (SELECT FROM control_plane.secrets AS now JOIN control_plane.secret_consumers AS moved ON moved.secret_id = now.id WHERE now.project_id = x.project_id AND now.name = x.name AND now.active AND now.deleted_at IS NULL AND moved.service = x.service AND moved.last_used_at IS NOT NULL)) AS x) AS s (count)",
);

/// service_figures: for the companion's login, while it acts for nobody, and for administrators.
pub(crate) fn service_figures<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    claim::require_relay(session, caller)?;
    let params = [
        Param::Boolean(keyring::require().is_ok()),
        Param::Boolean(gucs::workers()),
        Param::Uuid(Some(id::least_at(id::now() - HOUR - SLACK))),
    ];
    let row = session.run(&FIGURES, &params)?.first();
    let row = row.ok_or_else(|| Error::internal("no figures"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}
