//! Metadata in pages, for clients that ask over a network.

use crate::access::identity::Caller;
use crate::access::rights::{Permission, Rights};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};

/// The most rows that one page may have.
const LONGEST_PAGE: i32 = 10_000;

// A name is never empty, so each is greater than ''. Said so, and not with OR, an index leads to the page.
// The page is cut from the table, in the order of its index: the view would be read to its end and sorted
// first. OFFSET has each row looked up in the view by its id.
static CURRENT: Statement = Statement::new(
    c"SELECT s.* FROM (SELECT s.id FROM control_plane.secrets AS s WHERE s.project_id = $1 AND s.active AND s.deleted_at IS NULL AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest($2) AS p (prefix) WHERE pg_catalog.starts_with(s.name, p.prefix))) AND ($3 IS NULL OR pg_catalog.starts_with(s.name, $3)) AND s.name > coalesce($4, '') ORDER BY s.name LIMIT $5) AS page CROSS JOIN LATERAL (SELECT s.* FROM control_plane.summaries AS s WHERE s.id = page.id OFFSET 0) AS s ORDER BY s.name",
);

static CURRENT_OF_NAME: Statement = Statement::new(
    c"SELECT s.* FROM control_plane.summaries AS s WHERE s.project_id = $1 AND s.name = $6 AND s.deleted_at IS NULL AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest($2) AS p (prefix) WHERE pg_catalog.starts_with(s.name, p.prefix))) AND ($3 IS NULL OR pg_catalog.starts_with(s.name, $3)) AND s.name > coalesce($4, '') LIMIT $5",
);

// What is past purge_at is gone, although its rows may still wait to be removed. Ids sort by time.
static RESTORABLE: Statement = Statement::new(
    c"SELECT s.* FROM (SELECT s.id FROM control_plane.secrets AS s WHERE s.project_id = $1 AND s.active AND s.purge_at > pg_catalog.clock_timestamp() AND ($2::text[] IS NULL OR EXISTS (SELECT FROM unnest($2) AS p (prefix) WHERE pg_catalog.starts_with(s.name, p.prefix))) AND ($3 IS NULL OR pg_catalog.starts_with(s.name, $3)) AND s.name >= coalesce($4, '') AND ($4 IS NULL OR s.name > $4 OR s.id < $6) AND ($7 IS NULL OR s.name = $7) ORDER BY s.name, s.id DESC LIMIT $5) AS page CROSS JOIN LATERAL (SELECT s.* FROM control_plane.summaries AS s WHERE s.id = page.id OFFSET 0) AS s ORDER BY s.name, s.id DESC",
);

/// list_secrets_page: the rows that follow the one named by after_name and after_id, at most `limit`.
pub(crate) fn list_secrets_page<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let project = arguments.required_text(0, "project_id")?;
    let state = arguments.text(1)?;
    let name = arguments.text(2)?;
    let prefix = arguments.text(3)?;
    let after_name = arguments.text(4)?;
    let after_id = arguments.uuid(5);
    let limit = arguments.integer(6).ok_or_else(|| Error::null("limit"))?;
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Error::bad_input(format!(
            "limit must be 1 to {LONGEST_PAGE}"
        )));
    }
    let deleted = match state.as_deref() {
        None | Some("active") => false,
        Some("deleted") => true,
        Some(_) => {
            return Err(Error::bad_input("state is not known").with_hint(
                "active (or nothing) lists what there is, deleted what can be restored.",
            ));
        }
    };
    if after_name.is_some() != after_id.is_some() {
        return Err(Error::bad_input(
            "after_name and after_id are given together or not at all",
        ));
    }
    let reach = Rights::within(session, caller, &project)?.reach(Permission::List)?;
    let mut params = vec![
        Param::Text(Some(&project)),
        Param::Texts(reach.prefixes()),
        Param::Text(prefix.as_deref()),
        Param::Text(after_name.as_deref()),
        Param::Integer(Some(limit)),
    ];
    let name = Param::Text(name.as_deref());
    let rows = match (deleted, name) {
        (true, name) => {
            params.extend([Param::Uuid(after_id), name]);
            session.run(&RESTORABLE, &params)?
        }
        (false, Param::Text(None)) => session.run(&CURRENT, &params)?,
        (false, name) => {
            params.push(name);
            session.run(&CURRENT_OF_NAME, &params)?
        }
    };
    Ok(Answer::Rows(rows))
}
