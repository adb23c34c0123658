//! Heads of the audit's chain: what the last link is, signed with the server's OpenPGP key. Whoever keeps
//! one elsewhere can tell later whether the audit up to there is still what it was.

use crate::access::identity::Caller;
use crate::access::rights::Rights;
use crate::audit::chain::{self, Position};
use crate::backend::answer::Answer;
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Session, Statement};
use crate::backend::timestamp;
use crate::error::{Error, Result};
use crate::keys::keyring;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What a signed position says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The last link at its time.
    Head,
    /// The last link that retention has removed.
    Checkpoint,
}

impl Kind {
    /// Its name in control_plane.audit_heads.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Head => "head",
            Kind::Checkpoint => "checkpoint",
        }
    }

    /// The kind with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Kind::Head, Kind::Checkpoint]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    fn title(self) -> String {
        format!("pg_secrets audit {}", self.name())
    }
}

/// export_audit_head: the last link, signed.
pub(crate) fn export_audit_head<'s>(
    session: &'s Session,
    caller: &Caller,
    _arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    Rights::require_audit_of_everything(session, caller)?;
    let position = chain::last(session)?;
    if position == Position::BEGINNING {
        return Err(Error::not_found("nothing is chained yet")
            .with_hint("The chain begins with the first record of the audit, within a second."));
    }
    let signed = sign(session, Kind::Head, position)?;
    Ok(Answer::Text(Zeroizing::new(signed)))
}

/// Signs a position, as a cleartext signed message (RFC 9580, section 7).
pub(super) fn sign(session: &Session, kind: Kind, position: Position) -> Result<String> {
    sign_as_of(kind, position, &timestamp::now(session)?)
}

/// The same for a position that was the last one at the time `at`.
pub(super) fn sign_as_of(kind: Kind, position: Position, at: &str) -> Result<String> {
    let text = format!(
        "{}\nsegment: {}\nseq: {}\nhash: {}\nat: {}\n",
        kind.title(),
        position.segment,
        position.seq,
        hex(&position.hash),
        at,
    );
    let held = keyring::require()?;
    held.keyring().sign_text(&text).map_err(|error| {
        Error::unavailable(format!("the head of the audit cannot be signed: {error}")).with_hint(
            "A key that signs is needed: pg-secrets keygen makes one; it can stand behind the primary one in pg_secrets.key_file.",
        )
    })
}

/// Reads a position that this server has signed, or one that had the same keys.
///
/// # Errors
/// Where it is not what [`sign`] made, or not signed by one of the server's keys.
pub(super) fn read(kind: Kind, signed: &str) -> Result<Position> {
    Ok(read_signed(kind, signed)?.position)
}

/// What was signed, and by whom.
pub(super) struct Signed {
    pub(super) position: Position,
    /// When the position was the last one.
    pub(super) at: String,
    /// The fingerprint of the certificate that signed it.
    pub(super) signer: String,
}

/// The same, with all that it says.
///
/// # Errors
/// As [`read`].
pub(super) fn read_signed(kind: Kind, signed: &str) -> Result<Signed> {
    let held = keyring::require()?;
    let refused = |why: String| {
        Error::unprocessable(format!("this is no {} of the audit: {why}", kind.name())).with_hint(
            "Give the whole text that control_plane.export_audit_head() answered, from -----BEGIN to -----END, or what stands behind 'signed' in the server's log.",
        )
    };
    let verified = held
        .keyring()
        .verify_text(signed)
        .map_err(|error| refused(error.to_string()))?;
    let (position, at) =
        parse(kind, &verified.text).ok_or_else(|| refused("it says something else".to_owned()))?;
    Ok(Signed {
        position,
        at,
        signer: verified.fingerprint,
    })
}

/// Reads a head as somebody kept it: as it was exported, in the JSON that REST answers, or in base64 on one
/// line, as the log has it.
///
/// # Errors
/// As [`read`].
pub(super) fn read_kept(kept: &str) -> Result<Position> {
    let kept = kept.trim();
    // What `GET /api/audit/head` answers.
    if let Ok(answer) = serde_json::from_str::<serde_json::Value>(kept)
        && let Some(head) = answer["head"].as_str()
    {
        return read(Kind::Head, head);
    }
    let decoded = STANDARD
        .decode(kept)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    read(Kind::Head, decoded.as_deref().unwrap_or(kept))
}

fn parse(kind: Kind, text: &str) -> Option<(Position, String)> {
    let mut lines = text.lines();
    if lines.next()? != kind.title() {
        return None;
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(": ");
    let position = Position {
        segment: Uuid::parse_str(field("segment")?).ok()?,
        seq: field("seq")?.parse().ok()?,
        hash: from_hex(field("hash")?)?,
    };
    Some((position, field("at")?.to_owned()))
}

static KEEP: Statement = Statement::new(
    c"INSERT INTO control_plane.audit_heads (segment, seq, kind, hash, signed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (segment, seq, kind) DO NOTHING",
);

/// Keeps a signed position in the database.
pub(super) fn keep(session: &Session, kind: Kind, position: Position, signed: &str) -> Result<()> {
    session.run(
        &KEEP,
        &[
            Param::Uuid(Some(position.segment)),
            Param::Bigint(position.seq),
            Param::Text(Some(kind.name())),
            Param::Bytes(&position.hash),
            Param::Text(Some(signed)),
        ],
    )?;
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
