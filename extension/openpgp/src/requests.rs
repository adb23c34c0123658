//! Keyed hashes by which a request is known again whose content must not be stored.

use crate::keyring::Keyring;

impl Keyring {
    /// The hash (HMAC-SHA-256, RFC 2104) of a request, keyed from the primary key.
    #[must_use]
    pub fn request_hash(&self, request: &[u8]) -> [u8; 32] {
        self.recipient.binding.of_request(request)
    }

    /// Whether `hash` is that of the request, keyed from any of the keys: the primary one may have
    /// changed meanwhile. The hash is no secret, so this need not take the same time for each.
    #[must_use]
    pub fn is_request(&self, request: &[u8], hash: &[u8]) -> bool {
        let mut keys = self.keys.iter();
        self.request_hash(request) == hash
            || keys.any(|key| key.binding.of_request(request) == hash)
    }
}
