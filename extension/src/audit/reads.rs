//! The record of reads, and of who uses which version.

use crate::access::identity::Caller;
use crate::access::rights::ReadingService;
use crate::audit::changes;
use crate::audit::record::{self, Record};
use crate::backend::session::{Param, Session, Statement};
use crate::error::Result;
use crate::lifecycle::version::Version;

static RECENT: Statement = Statement::new(
    c"SELECT FROM control_plane.secret_consumers AS c WHERE c.secret_id = $1 AND c.service = $2 AND CASE WHEN $3 = 1 THEN c.last_verified_at ELSE c.last_used_at END > pg_catalog.clock_timestamp() - interval '1 minute'",
);

static EXISTS: Statement =
    Statement::new(c"SELECT FROM control_plane.secrets AS s WHERE s.id = $1");

static USE: Statement = Statement::new(
    c"INSERT INTO control_plane.secret_consumers AS c (secret_id, service, last_used_at, last_verified_at) VALUES ($1, $2, pg_catalog.clock_timestamp(), CASE WHEN $3 = 1 THEN pg_catalog.clock_timestamp() END) ON CONFLICT (secret_id, service) DO UPDATE SET last_used_at = excluded.last_used_at, last_verified_at = coalesce(excluded.last_verified_at, c.last_verified_at)",
);

/// Records that `versions` are read, before their values leave: one record each, and the reading
/// service's last use, at most once a minute.
pub(crate) fn record(
    session: &Session,
    caller: &Caller,
    versions: &[&Version],
    service: &ReadingService,
    administrator: bool,
) -> Result<()> {
    for version in versions {
        let mut accessed = Record::new("secret.accessed");
        accessed.project_id = Some(version.project_id.clone());
        accessed.secret_id = Some(version.id);
        accessed.name = Some(version.name.clone());
        accessed.version = Some(version.number);
        accessed.service.clone_from(&service.name);
        record::write(session, caller, accessed.by_administrator(administrator))?;
        if let Some(name) = &service.name {
            let usage = [
                Param::Uuid(Some(version.id)),
                Param::Text(Some(name)),
                Param::Integer(Some(i32::from(service.verified))),
            ];
            // A version that is newer than the reader's snapshot can be read, and cannot be referred
            // to: its use goes unnoticed this once, rather than the read be refused.
            let id = [Param::Uuid(Some(version.id))];
            if session.run(&RECENT, &usage)?.first().is_none()
                && session.transaction_sees(&EXISTS, &id)?
            {
                let _recorded = changes::recorded_elsewhere();
                session.run(&USE, &usage)?;
            }
        }
    }
    Ok(())
}
