//! Key material as operators hand it in: ASCII armor, base64 of the binary form, or the binary form.

use crate::keyring::KeyError;
use sequoia_openpgp::cert::{Cert, CertParser};
use sequoia_openpgp::parse::Parse;
use zeroize::Zeroizing;

/// Every certificate in `material`, in the order in which they stand there. One that stands there
/// twice, as after two exports, is one.
pub(crate) fn parse(material: &[u8]) -> Result<Vec<Cert>, KeyError> {
    let unreadable = |_| KeyError::Unreadable;
    let mut certs = Vec::new();
    match std::str::from_utf8(material) {
        Ok(text) if text.trim().is_empty() => return Err(KeyError::Empty),
        Ok(text) if text.contains("-----BEGIN PGP") => {
            for (number, block) in (1..).zip(armor_blocks(text)) {
                let damaged = |_| KeyError::DamagedBlock(number);
                add(&mut certs, &block).map_err(damaged)?;
            }
        }
        Ok(text) => {
            let decoded = decode_base64(text).ok_or(KeyError::Unreadable)?;
            add(&mut certs, &decoded).map_err(unreadable)?;
        }
        Err(_) => add(&mut certs, material).map_err(unreadable)?,
    }
    Ok(certs)
}

/// Adds the certificates in `block`, of which there must be one at least.
fn add(certs: &mut Vec<Cert>, block: &[u8]) -> sequoia_openpgp::Result<()> {
    let mut none = true;
    for cert in CertParser::from_bytes(block)? {
        let cert = cert?;
        none = false;
        let same = certs
            .iter()
            .position(|known| known.fingerprint() == cert.fingerprint());
        match same {
            Some(at) => {
                let known = certs.remove(at);
                certs.insert(at, known.merge_public_and_secret(cert)?);
            }
            None => certs.push(cert),
        }
    }
    if none {
        return Err(sequoia_openpgp::Error::InvalidArgument("no key".into()).into());
    }
    Ok(())
}

/// Each armored block of a text by itself: a parser stops at the end of the first one.
fn armor_blocks(text: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut starts: Vec<usize> = text
        .match_indices("-----BEGIN PGP")
        .map(|(at, _)| at)
        .collect();
    starts.push(text.len());
    starts
        .windows(2)
        .map(|pair| Zeroizing::new(text.as_bytes()[pair[0]..pair[1]].to_vec()))
        .collect()
}

fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    use base64::Engine;
    let compact: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    if compact.is_empty() {
        return None;
    }
    base64::engine::general_purpose::STANDARD
        .decode(compact.as_bytes())
        .ok()
        .map(Zeroizing::new)
}
