//! Walking along a segment of the audit's chain: each link must follow from the one before it and from
//! its record as it is now.

use crate::audit::chain::Position;
use crate::audit::verify::{Covered, Finding, LINK_GONE};
use crate::backend::planner;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use uuid::Uuid;

/// A link, and what its record hashes to now.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) position: Position,
    pub(super) record_id: Uuid,
    digest: Option<Vec<u8>>,
}

// OFFSET keeps it a lookup by index, whatever the planner thinks of the size of the tables.
static PAGE: Statement = Statement::new(
    c"SELECT c.seq, c.segment, c.hash, c.record_id, d.digest FROM (SELECT c.seq, c.segment, c.hash, c.record_id FROM control_plane.audit_chain AS c WHERE c.segment = $1 AND c.seq > $2 AND c.seq <= $3 ORDER BY c.seq LIMIT 2000) AS c LEFT JOIN LATERAL (SELECT d.digest FROM control_plane.audit_digests AS d WHERE d.id = c.record_id OFFSET 0) AS d ON true ORDER BY c.seq",
);

/// Walks from behind `start` up to the link `to`, or the segment's end.
pub(super) fn walk(
    session: &Session,
    segment: Uuid,
    start: Position,
    to: i64,
    covered: &mut Covered,
) -> Result<Option<Finding>> {
    let _planned = planner::row_by_row();
    let mut position = start;
    let mut before = start;
    loop {
        let page = session.nested(|session| page(session, segment, position.seq, to))?;
        if page.is_empty() {
            return Ok(None);
        }
        for (at, link) in page.iter().enumerate() {
            if let Some(finding) = look_at(&page, at, position, before) {
                return Ok(Some(finding));
            }
            covered.add(link);
            before = std::mem::replace(&mut position, link.position);
        }
    }
}

/// Links from behind `after` up to `to`, or as many as are looked at in one go.
pub(super) fn page(session: &Session, segment: Uuid, after: i64, to: i64) -> Result<Vec<Link>> {
    let params = [
        Param::Uuid(Some(segment)),
        Param::Bigint(after),
        Param::Bigint(to),
    ];
    let read = |row: Row<'_>| {
        Ok(Link {
            position: Position::read(&row)?,
            record_id: row
                .uuid(3)
                .ok_or_else(|| Error::internal("a link without record"))?,
            digest: row.bytes(4),
        })
    };
    session.run(&PAGE, &params)?.iter().map(read).collect()
}

/// What is wrong with the link at this place of the page, behind `before`, which itself is behind `earlier`.
fn look_at(page: &[Link], at: usize, before: Position, earlier: Position) -> Option<Finding> {
    let link = &page[at];
    if link.position.seq != before.seq + 1 {
        return Some(Finding::of_link("removed", before.seq + 1, LINK_GONE));
    }
    let Some(digest) = &link.digest else {
        return Some(Finding::of_record("removed", link, "this record is gone"));
    };
    if before.next_hash(link.position.segment, digest) == link.position.hash {
        return None;
    }
    // Whoever puts one in can work out its hash, and not those of what was chained behind it.
    if at > 0 && earlier.next_hash(link.position.segment, digest) == link.position.hash {
        return Some(Finding::of_record("inserted", &page[at - 1], INSERTED));
    }
    Some(why(page, at, before))
}

const INSERTED: &str = "a link was put in between here";

/// A link that does not follow: perhaps what belongs there stands somewhere else.
fn why(page: &[Link], at: usize, before: Position) -> Finding {
    let link = &page[at];
    let segment = link.position.segment;
    let fits = |other: &&Link, behind: Position| {
        let hash = other
            .digest
            .as_ref()
            .map(|digest| behind.next_hash(segment, digest));
        hash.filter(|hash| page.iter().any(|any| any.position.hash == *hash))
    };
    let displaced = page
        .iter()
        .filter(|other| other.record_id != link.record_id)
        .find_map(|other| Some((other, fits(&other, before)?)));
    let Some((other, hash)) = displaced else {
        return Finding::of_record(
            "changed",
            link,
            "this record, or its link, is not what was chained",
        );
    };
    let behind = Position {
        seq: before.seq + 1,
        segment,
        hash,
    };
    // Where the next one too stands one further on, something was put before them.
    let next = page.get(at + 2);
    let shifted = page
        .get(at + 1)
        .is_some_and(|n| n.record_id == other.record_id)
        && fits(&link, behind).is_none()
        && next.is_none_or(|next| fits(&next, behind).is_some());
    if shifted {
        Finding::of_record("inserted", link, INSERTED)
    } else {
        Finding::of_record(
            "reordered",
            link,
            "another record was chained at this place, and is now elsewhere",
        )
    }
}

impl Covered {
    fn add(&mut self, link: &Link) {
        let (seq, id) = (link.position.seq, link.record_id);
        self.from = Some(self.from.map_or(seq, |from| from.min(seq)));
        self.to = Some(self.to.map_or(seq, |to| to.max(seq)));
        let ids = self
            .ids
            .map_or((id, id), |(least, most)| (least.min(id), most.max(id)));
        self.ids = Some(ids);
    }
}
