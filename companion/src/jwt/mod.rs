//! JWTs (RFC 7519) of somebody else's issuer as bearer tokens. The companion verifies one, and tells the
//! database whose it is (`control_plane.authenticate_subject`), which decides what that subject may do.
//!
//! Every rule that RFC 8725 gives is kept: which algorithm is used follows from the key, never from the
//! token; an end and an audience are required; nothing in a token's header chooses where a key comes from.

mod key;
mod key_set;
mod published;
mod settings;
mod signature;
mod verifier;

pub(crate) use settings::{JwtArguments, JwtSettings};
pub(crate) use verifier::Verifier;
