//! Which packets a message may have, looked at one by one while it is parsed: the parser would walk
//! through any number of them, and a compressed message of a few kilobytes can hold hundreds of
//! millions.

use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::{Error, Result as PgpResult};

/// How many session keys a message may be encrypted with.
const MOST_SESSION_KEYS: usize = 16;

/// How many packets without any meaning (markers, padding) may stand in a message.
const MOST_FILLERS: usize = 4;

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
