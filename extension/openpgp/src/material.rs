//! Key material as operators hand it in: ASCII armor, base64 of the binary form, or the binary form.

use crate::keyring::KeyError;
use sequoia_openpgp::cert::{Cert, CertParser};
use sequoia_openpgp::parse::Parse;
use zeroize::Zeroizing;

/// Every certificate in `material`, in the order in which they stand there. One that stands there
/// twice, as after two exports, is one.
pub(crate) fn parse(material: &[u8]) -> Result<Vec<Cert>, KeyError> {
    let blocks = match std::str::from_utf8(material) {
        Ok(text) if text.contains("-----BEGIN PGP") => armor_blocks(text),
        Ok(text) => vec![decode_base64(text).ok_or(KeyError::Unreadable)?],
        Err(_) => vec![Zeroizing::new(material.to_vec())],
    };
    let mut certs: Vec<Cert> = Vec::new();
    for block in blocks {
        let parser = CertParser::from_bytes(block.as_slice()).map_err(|_| KeyError::Unreadable)?;
        for cert in parser {
            let cert = cert.map_err(|_| KeyError::Unreadable)?;
            let same = certs
                .iter()
                .position(|known| known.fingerprint() == cert.fingerprint());
            match same {
                Some(at) => {
                    let known = certs.remove(at);
                    let merged = known
                        .merge_public_and_secret(cert)
                        .map_err(|_| KeyError::Unreadable)?;
                    certs.insert(at, merged);
                }
                None => certs.push(cert),
            }
        }
    }
    if certs.is_empty() {
        return Err(KeyError::Unreadable);
    }
    Ok(certs)
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
