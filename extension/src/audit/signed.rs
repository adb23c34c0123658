//! What was signed of the audit's chain, and what the chain is held against: checkpoints of retention, heads
//! that the database keeps, and one that somebody gives.

use crate::audit::chain::{self, Position};
use crate::audit::head::{self, Kind};
use crate::audit::verify::Finding;
use crate::backend::session::{Session, Statement};
use crate::error::Result;
use crate::keys::keyring;
use uuid::Uuid;

/// Signed checkpoints, the last of each segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checkpoints {
    pub(super) positions: Vec<Position>,
    /// What is wrong with one of them.
    pub(super) finding: Option<Finding>,
}

static CHECKPOINTS: Statement = Statement::new(
    c"SELECT DISTINCT ON (h.segment) h.seq, h.segment, h.hash, h.signed FROM control_plane.audit_heads AS h WHERE h.kind = 'checkpoint' ORDER BY h.segment, h.seq DESC",
);

impl Checkpoints {
    pub(super) fn read(session: &Session) -> Result<Self> {
        let mut read = Self {
            positions: Vec::new(),
            finding: None,
        };
        for row in session.run(&CHECKPOINTS, &[])?.iter() {
            let position = Position::read(&row)?;
            let signed = row.text(3).unwrap_or_default();
            // Without any key nothing is said of the audit, good or bad.
            keyring::require()?;
            let wrong = match head::read(Kind::Checkpoint, &signed) {
                Ok(said) if said == position => None,
                Ok(_) => Some("it says something else than its row".to_owned()),
                Err(error) => Some(error.message),
            };
            if let Some(wrong) = wrong {
                let explanation = format!(
                    "the checkpoint that retention left there cannot be checked: {wrong}. If that key is one of this server's that was taken out, put it back behind the primary one and run pg-secrets reencrypt"
                );
                read.finding = Some(Finding::of_link("unverifiable", position.seq, explanation));
            }
            read.positions.push(position);
        }
        Ok(read)
    }

    pub(super) fn of(&self, segment: Uuid) -> Option<Position> {
        let mut positions = self.positions.iter();
        positions.find(|p| p.segment == segment).copied()
    }

    pub(super) fn last(&self) -> Option<i64> {
        self.positions.iter().map(|position| position.seq).max()
    }
}

/// Compares the chain with a position that was signed.
pub(super) fn compare(
    session: &Session,
    signed: Position,
    checkpoints: &Checkpoints,
) -> Result<Option<Finding>> {
    if let Some(checkpoint) = checkpoints.of(signed.segment)
        && signed.seq <= checkpoint.seq
    {
        let finding = if signed.seq < checkpoint.seq {
            let explanation = format!(
                "retention has removed everything up to link {}; this head is older and says nothing of the rest",
                checkpoint.seq
            );
            Some(Finding::of_link("unverifiable", signed.seq, explanation))
        } else {
            (signed != checkpoint).then(|| Finding::of_link("rewritten", signed.seq, REWRITTEN))
        };
        return Ok(finding);
    }
    Ok(match chain::at(session, signed.segment, signed.seq)? {
        Some(position) if position == signed => None,
        Some(_) => Some(Finding::of_link("rewritten", signed.seq, REWRITTEN)),
        None => Some(Finding::of_link(
            "cut",
            signed.seq,
            format!(
                "link {} of segment {}, which was signed, is not there: the end of the chain was cut off, or it was lost with another server",
                signed.seq, signed.segment
            ),
        )),
    })
}

const REWRITTEN: &str = "this link is another one than was signed: the chain was written anew";

/// Says between which signed heads the chain stops being what it was.
pub(super) fn narrowed(
    session: &Session,
    mut finding: Finding,
    checkpoints: &Checkpoints,
) -> Result<Finding> {
    if finding.problem != "rewritten" {
        return Ok(finding);
    }
    let mut good = checkpoints.last().unwrap_or(0);
    for stored in stored_heads(session)? {
        if finding.seq.is_some_and(|seq| stored.position.seq < seq)
            && stored.compare(session, checkpoints)?.is_none()
        {
            good = good.max(stored.position.seq);
        }
    }
    finding.explanation = format!("{REWRITTEN}, from a record behind link {good} on");
    Ok(finding)
}

/// Which of the heads that the database keeps says otherwise than the chain.
pub(super) fn contradicted(
    session: &Session,
    checkpoints: &Checkpoints,
) -> Result<Option<Finding>> {
    for stored in stored_heads(session)? {
        if let Some(finding) = stored.compare(session, checkpoints)? {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

/// A head that the database keeps.
struct StoredHead {
    position: Position,
    signed: String,
}

static STORED_HEADS: Statement = Statement::new(
    c"SELECT h.seq, h.segment, h.hash, h.signed FROM control_plane.audit_heads AS h WHERE h.kind = 'head' ORDER BY h.seq, h.segment",
);

fn stored_heads(session: &Session) -> Result<Vec<StoredHead>> {
    let rows = session.run(&STORED_HEADS, &[])?;
    rows.iter()
        .map(|row| {
            Ok(StoredHead {
                position: Position::read(&row)?,
                signed: row.text(3).unwrap_or_default(),
            })
        })
        .collect()
}

impl StoredHead {
    /// One that was signed by a key that this server no longer has says nothing.
    fn compare(&self, session: &Session, checkpoints: &Checkpoints) -> Result<Option<Finding>> {
        keyring::require()?;
        let Ok(signed) = head::read(Kind::Head, &self.signed) else {
            return Ok(None);
        };
        if signed != self.position {
            return Ok(Some(Finding::of_link(
                "unverifiable",
                self.position.seq,
                "the head that is stored for this link is not what was signed",
            )));
        }
        match checkpoints.of(signed.segment) {
            Some(checkpoint) if signed.seq < checkpoint.seq => Ok(None),
            _ => compare(session, signed, checkpoints),
        }
    }
}
