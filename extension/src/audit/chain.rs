//! The chain: records are put into one order once they are visible, each link hashed over the one
//! before it; sql/41_chain.sql gives the rule. One process writes it, so the order needs no lock.

use crate::audit::progress::{self, Purpose};
use crate::audit::protection;
use crate::audit::{ring, segment};
use crate::backend::session::{self, Param, Row, Session, Statement};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A hash of the chain.
pub(super) type Hash = [u8; 32];

/// How many records are chained in one transaction.
const BATCH: i64 = 2000;

/// A place in the chain: what the link with this number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) seq: i64,
    pub(super) segment: Uuid,
    pub(super) hash: Hash,
}

impl Position {
    /// Before the first link.
    pub(super) const BEGINNING: Self = Self {
        seq: 0,
        segment: Uuid::nil(),
        hash: [0; 32],
    };

    /// Reads seq, segment and hash.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        let read = || {
            Some(Self {
                seq: row.bigint(0)?,
                segment: row.uuid(1)?,
                hash: row.bytes(2)?.try_into().ok()?,
            })
        };
        read().ok_or_else(|| Error::internal("a link of the audit's chain cannot be read"))
    }

    /// The hash of the link behind it.
    pub(super) fn next_hash(&self, segment: Uuid, digest: &[u8]) -> Hash {
        Sha256::new()
            .chain_update(self.hash)
            .chain_update(segment.as_bytes())
            .chain_update((self.seq + 1).to_be_bytes())
            .chain_update(digest)
            .finalize()
            .into()
    }
}

static LAST_OF: Statement = Statement::new(
    c"SELECT c.seq, c.segment, c.hash FROM control_plane.audit_chain AS c WHERE c.segment = $1 ORDER BY c.seq DESC LIMIT 1",
);

static LAST_OF_ALL: Statement = Statement::new(
    c"SELECT p.seq, p.segment, p.hash FROM (SELECT c.seq, c.segment, c.hash FROM control_plane.audit_chain AS c UNION ALL SELECT h.seq, h.segment, h.hash FROM control_plane.audit_heads AS h WHERE h.kind = 'checkpoint') AS p ORDER BY p.seq DESC, p.segment LIMIT 1",
);

/// The last link, of the segment that is written here if there is one.
pub(super) fn last(session: &Session) -> Result<Position> {
    // A standby writes none.
    let own = match session::on_standby() {
        true => None,
        false => session
            .run(&LAST_OF, &[Param::Uuid(Some(segment::current()))])?
            .first(),
    };
    let found = match own {
        Some(own) => Some(own),
        None => session.run(&LAST_OF_ALL, &[])?.first(),
    };
    let found = found.as_ref().map(Position::read).transpose()?;
    Ok(found.unwrap_or(Position::BEGINNING))
}

static AT: Statement = Statement::new(
    c"SELECT c.seq, c.segment, c.hash FROM control_plane.audit_chain AS c WHERE c.segment = $1 AND c.seq = $2",
);

/// The link of a segment with this number.
pub(super) fn at(session: &Session, segment: Uuid, seq: i64) -> Result<Option<Position>> {
    let params = [Param::Uuid(Some(segment)), Param::Bigint(seq)];
    let found = session.run(&AT, &params)?.first();
    found.as_ref().map(Position::read).transpose()
}

static BEFORE: Statement = Statement::new(
    c"SELECT p.seq, p.segment, p.hash FROM (SELECT c.seq, c.segment, c.hash FROM control_plane.audit_chain AS c UNION ALL SELECT h.seq, h.segment, h.hash FROM control_plane.audit_heads AS h WHERE h.kind = 'checkpoint') AS p WHERE p.seq = $2 AND p.segment <> $1 LIMIT 1",
);

/// What the first link of a segment follows upon: the last one of another, or nothing.
pub(super) fn before(session: &Session, segment: Uuid, first: i64) -> Result<Position> {
    let params = [Param::Uuid(Some(segment)), Param::Bigint(first - 1)];
    let found = session.run(&BEFORE, &params)?.first();
    let found = found.as_ref().map(Position::read).transpose()?;
    Ok(found.unwrap_or(Position::BEGINNING))
}

/// What is not chained yet, within a batch in the order of its making: of reads what is settled, of changes what is
/// visible. Subqueries with OFFSET and LIMIT stay lookups by index, whatever the planner thinks of the size of
/// the tables.
static WAITING: Statement = Statement::new(
    c"SELECT w.id, w.digest, w.arrival FROM ((SELECT d.id, d.digest, d.arrival FROM control_plane.audit_digests AS d WHERE d.arrival > $1 AND d.arrival <= $2 AND (SELECT true FROM control_plane.audit_chain AS c WHERE c.record_id = d.id LIMIT 1) IS NULL ORDER BY d.arrival LIMIT $3) UNION ALL (SELECT d.id, d.digest, d.arrival FROM (SELECT u.record_id FROM control_plane.audit_unchained AS u ORDER BY u.record_id) AS u CROSS JOIN LATERAL (SELECT d.id, d.digest, d.arrival FROM control_plane.audit_digests AS d WHERE d.id = u.record_id OFFSET 0) AS d LIMIT $3)) AS w ORDER BY w.id",
);

static APPEND: Statement = Statement::new(
    c"INSERT INTO control_plane.audit_chain (seq, segment, record_id, hash) SELECT $1 + r.n, $2, r.id::uuid, pg_catalog.substring($4, (r.n * 32 - 31)::integer, 32) FROM unnest($3) WITH ORDINALITY AS r (id, n)",
);

static CHAINED: Statement = Statement::new(
    c"DELETE FROM control_plane.audit_unchained AS u WHERE u.record_id = ANY ($1::uuid[])",
);

/// Chains the next records; whether there may be more. In a transaction of the one process that does so.
pub(super) fn extend(session: &Session) -> Result<bool> {
    let from = progress::of(session, Purpose::Chain)?;
    let settled = ring::settled();
    let waiting = session.run(
        &WAITING,
        &[
            Param::Bigint(from),
            Param::Bigint(settled),
            Param::Bigint(BATCH),
        ],
    )?;
    let mut position = last(session)?;
    let first = position.seq;
    let segment = segment::current();
    let mut ids = Vec::new();
    let mut hashes = Vec::new();
    let mut arrival = from;
    for row in waiting.iter() {
        let (Some(id), Some(digest)) = (row.uuid(0), row.bytes(1)) else {
            return Err(Error::internal("a record of the audit cannot be read"));
        };
        position = Position {
            seq: position.seq + 1,
            segment,
            hash: position.next_hash(segment, &digest),
        };
        ids.push(id.to_string());
        hashes.extend_from_slice(&position.hash);
        arrival = arrival.max(row.bigint(2).unwrap_or(0));
    }
    if ids.is_empty() {
        // A restore may have brought records that are chained already: they were gone through now.
        if settled > from {
            progress::advance(session, Purpose::Chain, settled)?;
        }
        return Ok(false);
    }
    session.run(
        &APPEND,
        &[
            Param::Bigint(first),
            Param::Uuid(Some(segment)),
            Param::Texts(Some(&ids)),
            Param::Bytes(&hashes),
        ],
    )?;
    {
        let _permitted = protection::permit();
        session.run(&CHAINED, &[Param::Texts(Some(&ids))])?;
    }
    progress::advance(session, Purpose::Chain, arrival)?;
    Ok(i64::try_from(ids.len()).unwrap_or(0) >= BATCH)
}
