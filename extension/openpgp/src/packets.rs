//! Which packets a message may have, looked at one by one while it is parsed: the parser would walk
//! through any number of them, and a compressed message of a few kilobytes can hold hundreds of
//! millions.

use sequoia_openpgp::packet::{Header, Packet};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::{Error, Result as PgpResult};

/// How many session keys a message may be encrypted with.
const MOST_SESSION_KEYS: usize = 16;

/// How many packets without any meaning (markers, padding) may stand in a message.
const MOST_FILLERS: usize = 4;

/// The longest message that is looked at, in bytes: one of the longest value that a server can be set
/// to take, and what stands around it and between its parts.
const LONGEST: usize = 17 << 20;

/// Whether `message` begins as a packet of the binary form, and is not too long for one. What does not
/// is searched for ASCII armor by the parser, at great expense and to no purpose here.
pub(crate) fn is_binary(message: &[u8]) -> bool {
    message.len() <= LONGEST
        && Header::from_bytes(message).is_ok_and(|header| header.valid(false).is_ok())
}

/// Counts the packets of one message.
#[derive(Default)]
pub(crate) struct Packets {
    session_keys: usize,
    fillers: usize,
    containers: usize,
    compressions: usize,
    literals: usize,
}

impl Packets {
    /// Takes the next packet, or refuses the message for it. `compressed` says whether one layer of
    /// compression is allowed.
    // The last packet of SEIPDv1 is deprecated, and still there.
    #[allow(deprecated)]
    pub(crate) fn take(&mut self, packet: &Packet, compressed: bool) -> PgpResult<()> {
        let (count, most) = match packet {
            Packet::PKESK(_) | Packet::SKESK(_) => (&mut self.session_keys, MOST_SESSION_KEYS),
            Packet::SEIP(_) => (&mut self.containers, 1),
            Packet::CompressedData(_) => (&mut self.compressions, usize::from(compressed)),
            Packet::Literal(_) => (&mut self.literals, 1),
            Packet::Marker(_) | Packet::Padding(_) | Packet::MDC(_) => {
                (&mut self.fillers, MOST_FILLERS)
            }
            _ => return refuse(),
        };
        *count += 1;
        if *count > most { refuse() } else { Ok(()) }
    }
}

fn refuse() -> PgpResult<()> {
    Err(Error::MalformedMessage("a packet that does not belong there".into()).into())
}
