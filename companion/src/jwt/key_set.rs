//! The issuer's public keys (a JWK set, RFC 7517) by their names.

use crate::jwt::key::Key;
use anyhow::{Context, ensure};
use jsonwebtoken::jwk::JwkSet;

/// The longest set that is read, in bytes.
pub(super) const LONGEST_SET: usize = 256 << 10;

/// The keys of a set that can verify JWTs.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<(Option<String>, Key)>);

impl KeySet {
    /// Reads a set as JSON.
    ///
    /// # Errors
    /// Where it is none, where two of its keys have one name, and where none can verify anything. The text
    /// quotes nothing of it: somebody may have named the wrong file.
    pub(super) fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let set: JwkSet = serde_json::from_slice(json)
            .ok()
            .context("not a JWK set (RFC 7517)")?;
        let mut keys: Vec<(Option<String>, Key)> = Vec::new();
        for jwk in &set.keys {
            let name = &jwk.common.key_id;
            if let Some(key) = Key::public(jwk)? {
                ensure!(
                    !keys.iter().any(|(other, _)| other == name),
                    "two keys have one kid, or two have none"
                );
                keys.push((name.clone(), key));
            }
        }
        ensure!(!keys.is_empty(), "no key for RS256 or ES256");
        Ok(Self(keys))
    }

    /// The key of this name. A token that names none can mean only one: where there are more, it is not
    /// tried with each of them.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&Key> {
        match (name, self.0.as_slice()) {
            (None, [(_, only)]) => Some(only),
            (None, _) => None,
            (Some(name), keys) => keys
                .iter()
                .find(|(other, _)| other.as_deref() == Some(name))
                .map(|(_, key)| key),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
