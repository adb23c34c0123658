//! Session keys of messages that were opened lately, so that opening one again does not repeat the
//! public-key step, which takes most of the time.

use crate::binding::Place;
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::types::SymmetricAlgorithm;
use std::collections::HashMap;
use uuid::Uuid;

/// A bounded store; the one that was not used for the longest time makes room. The session keys
/// erase themselves when they are dropped. It belongs to one keyring, and is dropped with it.
#[derive(Default)]
pub struct SessionKeys {
    capacity: usize,
    clock: u64,
    known: HashMap<Uuid, Known>,
}

/// What a public-key step gave.
pub(crate) struct Known {
    /// The packet that it was made from, byte for byte: another message of the same row has another.
    pub(crate) packet: PKESK,
    pub(crate) algorithm: Option<SymmetricAlgorithm>,
    pub(crate) session_key: SessionKey,
    /// Which key of the keyring opened it.
    pub(crate) key: usize,
    used: u64,
}

impl Known {
    pub(crate) fn new(
        packet: PKESK,
        algorithm: Option<SymmetricAlgorithm>,
        session_key: SessionKey,
        key: usize,
    ) -> Self {
        Self {
            packet,
            algorithm,
            session_key,
            key,
            used: 0,
        }
    }
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKeys({})", self.known.len())
    }
}

impl SessionKeys {
    /// How many one backend of the server keeps: what an application reads over and over, some
    /// hundred bytes each.
    pub const PER_BACKEND: usize = 1024;

    /// A store of at most `capacity` session keys.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn find(&mut self, place: Place) -> Option<&Known> {
        self.clock += 1;
        let known = self.known.get_mut(&place.id)?;
        known.used = self.clock;
        Some(known)
    }

    pub(crate) fn keep(&mut self, place: Place, mut known: Known) {
        if self.capacity == 0 {
            return;
        }
        if self.known.len() >= self.capacity && !self.known.contains_key(&place.id) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(oldest) = oldest.map(|(row, _)| *row) {
                self.known.remove(&oldest);
            }
        }
        self.clock += 1;
        known.used = self.clock;
        self.known.insert(place.id, known);
    }
}
