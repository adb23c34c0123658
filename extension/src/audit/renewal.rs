//! Signed positions of the chain that an older key has signed are signed anew by the one that signs now, as
//! long as the older one is there to check them: so that it can be taken away.

use crate::audit::chain::Position;
use crate::audit::head::{self, Kind};
use crate::audit::protection;
use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;

static SIGNED: Statement = Statement::new(
    c"SELECT h.seq, h.segment, h.hash, h.signed, h.kind FROM control_plane.audit_heads AS h ORDER BY h.kind, h.segment, h.seq",
);

static RENEW: Statement = Statement::new(
    c"UPDATE control_plane.audit_heads AS h SET signed = $4 WHERE h.segment = $1 AND h.seq = $2 AND h.kind = $3 AND h.signed = $5",
);

/// What is left to do, and what was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Renewed {
    pub(crate) renewed: i32,
    /// How many are still signed by an older key.
    pub(crate) left: i64,
}

/// Signs up to `most` positions anew. What none of the server's keys has signed, or what says something else
/// than its row, stays as it is: verify_audit tells of it.
pub(crate) fn renew(session: &Session, most: i32) -> Result<Renewed> {
    let held = keyring::require()?;
    let mut done = Renewed::default();
    let Some(signer) = held.keyring().signer_fingerprint() else {
        return Ok(done);
    };
    for row in session.run(&SIGNED, &[])?.iter() {
        let position = Position::read(&row)?;
        let old = row.text(3).unwrap_or_default();
        let kind = row.text(4).unwrap_or_default();
        let kind = Kind::named(&kind).ok_or_else(|| Error::internal("a kind of head"))?;
        let Ok(read) = head::read_signed(kind, &old) else {
            continue;
        };
        if read.position != position || read.signer == signer {
            continue;
        }
        if done.renewed >= most {
            done.left += 1;
            continue;
        }
        let new = head::sign_as_of(kind, position, &read.at)?;
        let _permitted = protection::permit();
        session.run(
            &RENEW,
            &[
                Param::Uuid(Some(position.segment)),
                Param::Bigint(position.seq),
                Param::Text(Some(kind.name())),
                Param::Text(Some(&new)),
                Param::Text(Some(&old)),
            ],
        )?;
        done.renewed += 1;
    }
    Ok(done)
}
