//! 304 for a reader who has already what it asks for. The database decides that, and records it as
//! durably as a read, without opening the value.

use crate::answer;
use crate::auth::Caller;
use crate::condition::IfNoneMatch;
use crate::error::Error;
use crate::state::AppState;
use axum::response::Response;
use uuid::Uuid;

pub(super) const STATEMENT: &str = "
SELECT
    v.*,
    CASE WHEN v.state OPERATOR(pg_catalog.=) 'grace' THEN control_plane.secret_id(v.project_id, v.name) END AS current_id
FROM control_plane.authenticate($1, $2) AS caller(subject),
LATERAL control_plane.check_secret(
    CASE WHEN caller.subject IS NOT NULL THEN $3::uuid END, $4::text, $5::text, $6::integer, $7::uuid[], $8::text
) AS v";

/// What is read.
#[derive(Default)]
pub(super) struct Wanted<'w> {
    pub(super) id: Option<Uuid>,
    pub(super) name: Option<(&'w str, &'w str)>,
    pub(super) version: Option<i32>,
    pub(super) service: Option<&'w str>,
}

/// The answer 304 where the reader has what it wants; `None` where the value is to be read.
///
/// # Errors
/// As the read itself.
pub(super) async fn answer(
    caller: &Caller,
    state: &AppState,
    condition: &IfNoneMatch,
    wanted: &Wanted<'_>,
) -> Result<Option<Response>, Error> {
    let Some(known) = condition.known() else {
        return Ok(None);
    };
    let (project, name) = wanted.name.unzip();
    let rows = state
        .database
        .call(
            caller,
            STATEMENT,
            &[
                &wanted.id,
                &project,
                &name,
                &wanted.version,
                &known,
                &wanted.service,
            ],
        )
        .await?;
    rows.first().map(answer::unchanged).transpose()
}
