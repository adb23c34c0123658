//! Reading the audit log: whoever holds `audit` on a project sees the records of that project, for
//! names that begin with something those of such names, and whoever holds it on every project sees all
//! of them, those of no project too.
//!
//! A log grows without end, so a page must cost what the page holds and not what the log holds.
//! Which index gives the records in the order of the answer depends on what is asked for; there is
//! one statement for each, and what else is asked for is looked at while it reads.

use crate::access::identity::Caller;
use crate::access::rights::{Permission, Reach, Rights};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::id;
use crate::lifecycle::version::{self, Version};
use uuid::Uuid;

/// How far an id's time may be from its record's `at`, in microseconds: the two are taken one after
/// the other.
const SLACK: i64 = 1_000_000;

const DAY: i64 = 86_400_000_000;

const LARGEST_PAGE: i32 = 1000;

// The parameters of all of them: $1 and $2 bound the ids, $3 and $4 the times, $5 is the action,
// $6 the outcome, $7 the project, $8 the actor, $9 the versions of the secret, $10 the limit, $11 what
// the names begin with.
//
// The pairs in WHERE and ORDER BY leave one index that gives the order. With `actor = $8` the primary
// key would too: where the statistics know one actor only it is chosen, and read from end to end
// for any other. That no statement reads all and sorts it, is said beside the function, in sql/.

static OF_ANYTHING: Statement = Statement::new(
    c"SELECT a.* FROM control_plane.audit_logs AS a WHERE a.id >= $1 AND a.id < $2 AND a.at >= $3 AND a.at < $4 AND ($11::text[] IS NULL OR EXISTS (SELECT FROM unnest($11) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) AND ($5 IS NULL OR a.action = $5) AND ($6 IS NULL OR a.outcome = $6) ORDER BY a.id DESC LIMIT $10",
);

static OF_PROJECT: Statement = Statement::new(
    c"SELECT a.* FROM control_plane.audit_logs AS a WHERE (a.project_id, a.id) >= ($7, $1) AND (a.project_id, a.id) < ($7, $2) AND a.at >= $3 AND a.at < $4 AND ($11::text[] IS NULL OR EXISTS (SELECT FROM unnest($11) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) AND ($5 IS NULL OR a.action = $5) AND ($6 IS NULL OR a.outcome = $6) ORDER BY a.project_id DESC, a.id DESC LIMIT $10",
);

static OF_ACTOR: Statement = Statement::new(
    c"SELECT a.* FROM control_plane.audit_logs AS a WHERE (a.actor, a.id) >= ($8, $1) AND (a.actor, a.id) < ($8, $2) AND a.at >= $3 AND a.at < $4 AND ($11::text[] IS NULL OR EXISTS (SELECT FROM unnest($11) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) AND ($5 IS NULL OR a.action = $5) AND ($6 IS NULL OR a.outcome = $6) AND ($7 IS NULL OR a.project_id = $7) ORDER BY a.actor DESC, a.id DESC LIMIT $10",
);

// A page of each version, and the newest of those.
static OF_SECRET: Statement = Statement::new(
    c"SELECT r.* FROM unnest($9) AS v (id) CROSS JOIN LATERAL (SELECT a.* FROM control_plane.audit_logs AS a WHERE (a.secret_id, a.id) >= (v.id, $1) AND (a.secret_id, a.id) < (v.id, $2) AND a.at >= $3 AND a.at < $4 AND ($11::text[] IS NULL OR EXISTS (SELECT FROM unnest($11) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) AND ($5 IS NULL OR a.action = $5) AND ($6 IS NULL OR a.outcome = $6) AND ($7 IS NULL OR a.project_id = $7) AND ($8 IS NULL OR a.actor = $8) ORDER BY a.secret_id DESC, a.id DESC LIMIT $10) AS r ORDER BY r.id DESC LIMIT $10",
);

static DENIED: Statement = Statement::new(
    c"SELECT a.* FROM control_plane.audit_logs AS a WHERE a.outcome = 'denied' AND a.id >= $1 AND a.id < $2 AND a.at >= $3 AND a.at < $4 AND ($11::text[] IS NULL OR EXISTS (SELECT FROM unnest($11) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) AND ($5 IS NULL OR a.action = $5) AND ($7 IS NULL OR a.project_id = $7) AND ($9 IS NULL OR a.secret_id = ANY ($9)) ORDER BY a.id DESC LIMIT $10",
);

static DENIED_TO_ACTOR: Statement = Statement::new(
    c"SELECT a.* FROM control_plane.audit_logs AS a WHERE a.outcome = 'denied' AND (a.actor, a.id) >= ($8, $1) AND (a.actor, a.id) < ($8, $2) AND a.at >= $3 AND a.at < $4 AND ($11::text[] IS NULL OR EXISTS (SELECT FROM unnest($11) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) AND ($5 IS NULL OR a.action = $5) AND ($7 IS NULL OR a.project_id = $7) AND ($9 IS NULL OR a.secret_id = ANY ($9)) ORDER BY a.actor DESC, a.id DESC LIMIT $10",
);

/// list_audit: records, newest first.
pub(crate) fn list_audit<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.text(0)?;
    let secret = arguments.uuid(1);
    let actor = arguments.text(2)?;
    let action = arguments.text(3)?;
    let outcome = arguments.text(4)?;
    let (since, until) = (arguments.timestamp(5), arguments.timestamp(6));
    let before = arguments.uuid(7);
    let limit = arguments.integer(8).ok_or_else(|| Error::null("limit"))?;

    let scope = Scope::of(session, caller, project, secret)?;
    let window = Window::of(since, until, before)?;
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(
            Error::bad_input(format!("limit must be between 1 and {LARGEST_PAGE}"))
                .with_hint("The id of a page's last record, given as before (over REST: as cursor), gets the next page."),
        );
    }
    let denied = outcome.as_deref() == Some("denied");
    let statement = match (&scope.versions, &actor, &scope.project) {
        (_, Some(_), _) if denied => &DENIED_TO_ACTOR,
        (_, None, _) if denied => &DENIED,
        (Some(_), _, _) => &OF_SECRET,
        (None, Some(_), _) => &OF_ACTOR,
        (None, None, Some(_)) => &OF_PROJECT,
        (None, None, None) => &OF_ANYTHING,
    };
    let rows = session.run(
        statement,
        &[
            Param::Uuid(Some(window.from)),
            Param::Uuid(Some(window.to)),
            Param::Timestamp(Some(window.since)),
            Param::Timestamp(Some(window.until)),
            Param::Text(action.as_deref()),
            Param::Text(outcome.as_deref()),
            Param::Text(scope.project.as_deref()),
            Param::Text(actor.as_deref()),
            Param::Uuids(scope.versions.as_deref()),
            Param::Integer(Some(limit)),
            Param::Texts(scope.reach.prefixes()),
        ],
    )?;
    Ok(Answer::Rows(rows))
}

// A record may stand for several attempts.
static BY_ACTOR: Statement = Statement::new(
    c"SELECT a.actor, sum(CASE WHEN a.detail->>'attempts' ~ '^[0-9]{1,9}$' THEN (a.detail->>'attempts')::bigint ELSE 1 END)::bigint, max(a.at) FROM control_plane.audit_logs AS a WHERE a.outcome = 'denied' AND a.action IN ('secret.access_denied', 'token.rejected') AND a.id >= $1 AND a.at >= $2 AND ($3 IS NULL OR a.project_id = $3) AND ($4::text[] IS NULL OR EXISTS (SELECT FROM unnest($4) AS p (prefix) WHERE pg_catalog.starts_with(a.name, p.prefix))) GROUP BY a.actor ORDER BY 2 DESC, 3 DESC, 1 LIMIT 1000",
);

/// denied_reads: who was refused, and how often.
pub(crate) fn denied_reads<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.text(0)?;
    let since = arguments.timestamp(1).unwrap_or_else(|| id::now() - DAY);
    let scope = Scope::of(session, caller, project, None)?;
    let window = Window::of(Some(since), None, None)?;
    let rows = session.run(
        &BY_ACTOR,
        &[
            Param::Uuid(Some(window.from)),
            Param::Timestamp(Some(window.since)),
            Param::Text(scope.project.as_deref()),
            Param::Texts(scope.reach.prefixes()),
        ],
    )?;
    Ok(Answer::Rows(rows))
}

/// The records that a caller asks for and may see.
struct Scope {
    /// The one project whose records are seen; `None` is all.
    project: Option<String>,
    /// The names in it whose records are seen.
    reach: Reach,
    /// The versions of the secret that was asked for.
    versions: Option<Vec<Uuid>>,
}

impl Scope {
    /// What `caller` may see of a project, of a secret, of a secret within a project, or of
    /// everything. Where a project is named, a secret of another one, a purged one and one that
    /// never was are told apart by nothing: none has records there that the caller may not see.
    fn of(
        session: &Session,
        caller: &Caller,
        project: Option<String>,
        secret: Option<Uuid>,
    ) -> Result<Self> {
        caller.require_known()?;
        let found = match secret {
            Some(id) => version::by_id(session, id)?,
            None => None,
        };
        let found = found.as_ref().map(Version::read).transpose()?;
        let (project, reach) = match (project, secret, &found) {
            (Some(project), _, _) => {
                let rights = Rights::within(session, caller, &project)?;
                let reach = rights.reach(Permission::Audit)?;
                (Some(project), reach)
            }
            (None, _, Some(found)) => {
                let rights = Rights::on(session, caller, &found.project_id, &found.name)?;
                rights.require_on_secret(Permission::Audit)?;
                // All versions of a secret have its name.
                (Some(found.project_id.clone()), Reach::Everything)
            }
            (None, Some(_), None) => {
                if !Rights::of(session, caller, None)?.may(Permission::Audit) {
                    return Err(Error::no_such_secret());
                }
                (None, Reach::Everything)
            }
            (None, None, None) => {
                Rights::of(session, caller, None)?
                    .require(Permission::Audit)
                    .map_err(|error| {
                        error.with_hint("It is needed on every project, since no project_id is given: name a project, or ask an administrator.")
                    })?;
                (None, Reach::Everything)
            }
        };
        let versions = match (secret, found) {
            (None, _) => None,
            (Some(id), None) => Some(vec![id]),
            (Some(_), Some(found)) => Some(versions_of(session, found.chain_id)?),
        };
        Ok(Self {
            project,
            reach,
            versions,
        })
    }
}

static VERSIONS: Statement =
    Statement::new(c"SELECT s.id FROM control_plane.secrets AS s WHERE s.chain_id = $1");

/// The ids of all versions of a secret.
fn versions_of(session: &Session, chain_id: Uuid) -> Result<Vec<Uuid>> {
    let rows = session.run(&VERSIONS, &[Param::Uuid(Some(chain_id))])?;
    Ok(rows.iter().filter_map(|row| row.uuid(0)).collect())
}

/// When the records were made, as bounds on their times and on their ids, which the indexes know.
struct Window {
    since: i64,
    until: i64,
    from: Uuid,
    to: Uuid,
}

impl Window {
    fn of(since: Option<i64>, until: Option<i64>, before: Option<Uuid>) -> Result<Self> {
        // What Postgres calls -infinity and infinity.
        let (since, until) = (since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
        if until < since {
            return Err(Error::bad_input("until must not be before since"));
        }
        let newest = id::least_at(until.saturating_add(SLACK));
        Ok(Self {
            since,
            until,
            from: id::least_at(since.saturating_sub(SLACK)),
            to: before.map_or(newest, |before| before.min(newest)),
        })
    }
}
