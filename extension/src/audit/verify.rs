//! verify_audit: whether the audit is what was chained, and what its signed heads say.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::chain::{self, Position};
use crate::audit::head;
use crate::audit::signed::{self, Checkpoints};
use crate::audit::walk::{self, Link};
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use uuid::Uuid;

/// What is wrong, first of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) problem: &'static str,
    pub(super) seq: Option<i64>,
    record_id: Option<Uuid>,
    pub(super) explanation: String,
}

impl Finding {
    pub(super) fn of_record(problem: &'static str, link: &Link, explanation: &str) -> Self {
        Self {
            problem,
            seq: Some(link.position.seq),
            record_id: Some(link.record_id),
            explanation: explanation.to_owned(),
        }
    }

    pub(super) fn of_link(problem: &'static str, seq: i64, explanation: impl Into<String>) -> Self {
        Self {
            problem,
            seq: Some(seq),
            record_id: None,
            explanation: explanation.into(),
        }
    }

    fn of_stranger(problem: &'static str, record_id: Option<Uuid>, explanation: &str) -> Self {
        Self {
            problem,
            seq: None,
            record_id,
            explanation: explanation.to_owned(),
        }
    }
}

/// Which part of the chain is looked at, as it was asked for and as it is.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: Option<i64>,
    to: Option<i64>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Covered {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    /// The smallest and the largest id among the records.
    pub(super) ids: Option<(Uuid, Uuid)>,
}

/// verify_audit: walks the chain, looks for records outside of it, and compares with signed heads.
pub(crate) fn verify_audit<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    let range = Range {
        from: arguments.bigint(0),
        to: arguments.bigint(1),
    };
    let given = arguments.text(2)?;
    if range.from.is_some_and(|from| from < 1) || range.to.is_some_and(|to| to < 1) {
        return Err(Error::bad_input(
            "the links of the chain are numbered from 1",
        ));
    }
    if let (Some(from), Some(to)) = (range.from, range.to)
        && from > to
    {
        return Err(Error::bad_input("from_seq is behind to_seq"));
    }
    Rights::require_audit_of_everything(session, caller)?;
    let given = given.map(|text| head::read_kept(&text)).transpose()?;
    loop {
        let checkpoints = Checkpoints::read(session)?;
        let mut covered = Covered::default();
        let finding = find(session, range, given, &checkpoints, &mut covered)?;
        // Retention may have removed what was about to be looked at: then that is looked at anew.
        if finding.is_none() || Checkpoints::read(session)? == checkpoints {
            return answer(session, &covered, finding);
        }
    }
}

fn find(
    session: &Session,
    range: Range,
    given: Option<Position>,
    checkpoints: &Checkpoints,
    covered: &mut Covered,
) -> Result<Option<Finding>> {
    if let Some(finding) = &checkpoints.finding {
        return Ok(Some(finding.clone()));
    }
    let segments = segments(session)?;
    for segment in &segments {
        let start = match beginning(session, range, segment, &segments, checkpoints)? {
            Beginning::At(start) => start,
            Beginning::Outside => continue,
            Beginning::Wrong(finding) => return Ok(Some(finding)),
        };
        let to = range.to.unwrap_or(i64::MAX);
        if let Some(finding) = walk::walk(session, segment.id, start, to, covered)? {
            return Ok(Some(finding));
        }
    }
    let last = segments.iter().map(|segment| segment.last).max();
    let last = last.max(checkpoints.last()).unwrap_or(0);
    // Nothing is said of links that are not there; one further on is where somebody goes on later.
    if range.to.is_some_and(|to| to > last) || range.from.is_some_and(|from| from > last + 1) {
        let explanation = format!("the chain ends at {last}");
        return Ok(Some(Finding::of_link("cut", last + 1, explanation)));
    }
    if let Some(finding) = stranger(session, range, covered)? {
        return Ok(Some(finding));
    }
    if let Some(given) = given
        && let Some(finding) = signed::compare(session, given, checkpoints)?
    {
        return Ok(Some(signed::narrowed(session, finding, checkpoints)?));
    }
    signed::contradicted(session, checkpoints)
}

/// A segment of the chain, with the numbers of its first and last link.
struct Segment {
    id: Uuid,
    first: i64,
    last: i64,
}

static SEGMENTS: Statement = Statement::new(
    c"SELECT c.segment, pg_catalog.min(c.seq), pg_catalog.max(c.seq) FROM control_plane.audit_chain AS c GROUP BY c.segment ORDER BY 2, 3",
);

fn segments(session: &Session) -> Result<Vec<Segment>> {
    let read = |row: Row<'_>| {
        Some(Segment {
            id: row.uuid(0)?,
            first: row.bigint(1)?,
            last: row.bigint(2)?,
        })
    };
    let rows = session.run(&SEGMENTS, &[])?;
    rows.iter()
        .map(|row| read(row).ok_or_else(|| Error::internal("a segment of the audit's chain")))
        .collect()
}

/// Where the walk through a segment begins.
enum Beginning {
    /// Behind this link.
    At(Position),
    /// Nothing of it was asked for.
    Outside,
    Wrong(Finding),
}

fn beginning(
    session: &Session,
    range: Range,
    segment: &Segment,
    all: &[Segment],
    checkpoints: &Checkpoints,
) -> Result<Beginning> {
    let from = range.from.unwrap_or(0);
    if segment.last < from || range.to.is_some_and(|to| to < segment.first) {
        return Ok(Beginning::Outside);
    }
    if from > segment.first {
        return Ok(match chain::at(session, segment.id, from - 1)? {
            Some(position) => Beginning::At(position),
            None => Beginning::Wrong(Finding::of_link("removed", from - 1, LINK_GONE)),
        });
    }
    if let Some(checkpoint) = checkpoints.of(segment.id) {
        return Ok(if checkpoint.seq + 1 == segment.first {
            Beginning::At(checkpoint)
        } else {
            Beginning::Wrong(Finding::of_link("removed", checkpoint.seq + 1, LINK_GONE))
        });
    }
    if segment.first == 1 {
        return Ok(Beginning::At(Position::BEGINNING));
    }
    // It goes on behind the last link of another one.
    let before = segment.first - 1;
    let mut fork = false;
    for other in all.iter().filter(|other| other.id != segment.id) {
        if let Some(position) = chain::at(session, other.id, before)? {
            if other.last == before {
                return Ok(Beginning::At(position));
            }
            fork = true;
        }
    }
    let removed = checkpoints.positions.iter().find(|p| p.seq == before);
    if let Some(position) = removed {
        if !all.iter().any(|other| other.id == position.segment) {
            return Ok(Beginning::At(*position));
        }
        fork = true;
    }
    if !fork {
        return Ok(Beginning::Wrong(Finding::of_link(
            "removed", before, LINK_GONE,
        )));
    }
    let explanation = "a segment begins here in the middle of another one, as no server writes it";
    let first = walk::page(session, segment.id, before, segment.first)?;
    Ok(Beginning::Wrong(match first.first() {
        Some(link) => Finding::of_record("inserted", link, explanation),
        None => Finding::of_link("inserted", segment.first, explanation),
    }))
}

/// What is said of a link that is not there.
pub(super) const LINK_GONE: &str = "the link with this number is gone, and its record perhaps too";

static INSERTED: Statement = Statement::new(
    c"SELECT a.id FROM control_plane.audit_logs AS a WHERE (a.arrival IS NULL OR a.arrival <= (SELECT pg_catalog.min(p.arrival) FROM control_plane.audit_progress AS p WHERE p.purpose = 'chain')) AND ($1::uuid IS NULL OR a.id >= $1) AND ($2::uuid IS NULL OR a.id <= $2) AND NOT EXISTS (SELECT FROM control_plane.audit_chain AS c WHERE c.record_id = a.id) AND NOT EXISTS (SELECT FROM control_plane.audit_unchained AS u WHERE u.record_id = a.id) ORDER BY a.id LIMIT 1",
);

static VANISHED: Statement = Statement::new(
    c"SELECT u.record_id FROM control_plane.audit_unchained AS u WHERE NOT EXISTS (SELECT FROM control_plane.audit_logs AS a WHERE a.id = u.record_id) ORDER BY u.record_id LIMIT 1",
);

/// A record that no link covers and that is too old for that, or one that was to be chained and is gone.
fn stranger(session: &Session, range: Range, covered: &Covered) -> Result<Option<Finding>> {
    let least = covered.ids.map(|(least, _)| least);
    let most = covered.ids.map(|(_, most)| most);
    let inserted = session
        .run(
            &INSERTED,
            &[
                Param::Uuid(range.from.and(least)),
                Param::Uuid(range.to.and(most)),
            ],
        )?
        .first();
    if let Some(row) = inserted {
        let explanation = "this record is in the audit and in no link of the chain";
        return Ok(Some(Finding::of_stranger(
            "inserted",
            row.uuid(0),
            explanation,
        )));
    }
    let vanished = session.run(&VANISHED, &[])?.first();
    Ok(vanished.map(|row| {
        let explanation = "this record was written, and is gone before it was chained";
        Finding::of_stranger("removed", row.uuid(0), explanation)
    }))
}

static UNCHAINED: Statement = Statement::new(
    c"SELECT (SELECT pg_catalog.count(*) FROM control_plane.audit_unchained) + (SELECT pg_catalog.count(*) FROM control_plane.audit_logs AS a WHERE a.arrival > coalesce((SELECT pg_catalog.min(p.arrival) FROM control_plane.audit_progress AS p WHERE p.purpose = 'chain'), 0))",
);

static ANSWER: Statement = Statement::new(
    c"SELECT $1 = 1, $2::bigint, $3::bigint, $4::bigint, $5::text, $6::bigint, $7::uuid, $8::text",
);

fn answer<'s>(
    session: &'s Session,
    covered: &Covered,
    finding: Option<Finding>,
) -> Result<Answer<'s>> {
    let unchained = session.run(&UNCHAINED, &[])?.first();
    let unchained = unchained.and_then(|row| row.bigint(0));
    let (problem, explanation) = match &finding {
        Some(finding) => (Some(finding.problem), Some(finding.explanation.as_str())),
        None => (None, None),
    };
    let row = session
        .run(
            &ANSWER,
            &[
                Param::Integer(Some(i32::from(finding.is_none()))),
                Param::OptionalBigint(covered.from),
                Param::OptionalBigint(covered.to),
                Param::OptionalBigint(unchained),
                Param::Text(problem),
                Param::OptionalBigint(finding.as_ref().and_then(|finding| finding.seq)),
                Param::Uuid(finding.as_ref().and_then(|finding| finding.record_id)),
                Param::Text(explanation),
            ],
        )?
        .first()
        .ok_or_else(|| Error::internal("no verdict"))?;
    Ok(Answer::One(Composite { row, secret: None }))
}
