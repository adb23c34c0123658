//! Who wrote a part of the audit's chain: which server, in which database, on which timeline.
#![allow(unsafe_code)]

use crate::access::identity;
use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The segment that is written here and now: what was written by another server, or before a failover or
/// a restore, is told apart. A uuid of version 8 (RFC 9562, section 5.8).
pub(super) fn current() -> Uuid {
    // SAFETY: reads the server's own state; not on a standby, where nothing is chained.
    let (database, timeline) = unsafe {
        (
            pg_sys::MyDatabaseId.to_u32(),
            pg_sys::GetWALInsertionTimeLine(),
        )
    };
    let named = Sha256::new()
        .chain_update(b"pg_secrets audit segment")
        .chain_update(identity::cluster().to_be_bytes())
        .chain_update(database.to_be_bytes())
        .chain_update(timeline.to_be_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&named[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
