//! ASCII armor (RFC 9580, section 6) as pgcrypto's functions of these names make and read it: with a
//! checksum, which must be right.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

const BEGIN: &str = "-----BEGIN PGP ";
const END: &str = "-----END PGP ";
const DASHES: &str = "-----";

/// How many characters of base64 stand in a line.
const LINE: usize = 76;

/// Why a text cannot be armored, or an armored one not read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ArmorError {
    /// A header that would change the form of the text.
    #[error("a header of the armor must be one line of ASCII, and its key must not hold a colon")]
    Header,
    /// No armor, or a damaged one.
    #[error("the text is not ASCII armor, or it is damaged")]
    Malformed,
}

/// The armor of a message, with `headers` of key and value in their order.
///
/// # Errors
/// Where a header cannot stand in a line of its own.
pub fn armor(data: &[u8], headers: &[(String, String)]) -> Result<String, ArmorError> {
    let mut text = format!("{BEGIN}MESSAGE{DASHES}\n");
    for (key, value) in headers {
        let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if key.is_empty() || key.contains(':') || !plain(key) || !plain(value) {
            return Err(ArmorError::Header);
        }
        text.push_str(&format!("{key}: {value}\n"));
    }
    text.push('\n');
    let encoded = STANDARD.encode(data);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    let checksum = crc24(data).to_be_bytes();
    text.push_str(&format!("={}\n", STANDARD.encode(&checksum[1..])));
    text.push_str(&format!("{END}MESSAGE{DASHES}\n"));
    Ok(text)
}

/// What an armored text holds. Lines before the armor are passed over; a missing checksum is as
/// good as a right one (section 6.1).
///
/// # Errors
/// Where there is no armor in the text, or it is damaged.
pub fn dearmor(text: &str) -> Result<Vec<u8>, ArmorError> {
    let mut lines = text.lines().map(str::trim_end);
    let kind = lines
        .by_ref()
        .find_map(|line| line.strip_prefix(BEGIN)?.strip_suffix(DASHES))
        .ok_or(ArmorError::Malformed)?;
    // Headers end with an empty line.
    if !lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .all(|line| line.contains(':'))
    {
        return Err(ArmorError::Malformed);
    }
    let mut encoded = String::with_capacity(text.len());
    let mut checksum = None;
    for line in lines {
        if let Some(end) = line.strip_prefix(END) {
            if end.strip_suffix(DASHES) != Some(kind) {
                return Err(ArmorError::Malformed);
            }
            let data = STANDARD
                .decode(&encoded)
                .map_err(|_| ArmorError::Malformed)?;
            let right = crc24(&data);
            return match checksum {
                Some(stated) if stated != right => Err(ArmorError::Malformed),
                _ => Ok(data),
            };
        }
        if checksum.is_some() {
            return Err(ArmorError::Malformed);
        }
        match line.strip_prefix('=') {
            Some(stated) => checksum = Some(decode_checksum(stated)?),
            None => encoded.push_str(line),
        }
    }
    Err(ArmorError::Malformed)
}

fn decode_checksum(text: &str) -> Result<u32, ArmorError> {
    match STANDARD.decode(text).as_deref() {
        Ok([a, b, c]) => Ok(u32::from_be_bytes([0, *a, *b, *c])),
        _ => Err(ArmorError::Malformed),
    }
}

/// The checksum of section 6.1.1.
fn crc24(data: &[u8]) -> u32 {
    const INITIAL: u32 = 0x00b7_04ce;
    const GENERATOR: u32 = 0x0186_4cfb;
    let mut crc = INITIAL;
    for byte in data {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= GENERATOR;
            }
        }
    }
    crc & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_armored_comes_back() {
        let headers = [("Comment".to_owned(), "a: b".to_owned())];
        for length in [0, 1, 2, 3, 47, 48, 49, 1000] {
            let data: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let text = armor(&data, &headers).unwrap();
            assert!(text.lines().all(|line| line.len() <= 76), "{text}");
            assert_eq!(dearmor(&text), Ok(data.clone()));
            let crlf = format!("before\r\n{}", text.replace('\n', "\r\n"));
            assert_eq!(dearmor(&crlf), Ok(data));
        }
    }

    #[test]
    fn a_changed_character_of_the_body_is_noticed() {
        let text = armor(b"some data that is longer than one group", &[]).unwrap();
        let body = text.find("\n\n").unwrap() + 2..text.find("-----END").unwrap();
        for at in body {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The end of a line may go: the lines are joined anyway.
            if text.as_bytes()[at] != b'\n' {
                assert_eq!(dearmor(&changed), Err(ArmorError::Malformed), "{changed}");
            }
        }
    }

    #[test]
    fn what_is_no_armor_is_refused() {
        for text in [
            "",
            "hello",
            "-----BEGIN PGP MESSAGE-----",
            "-----BEGIN PGP MESSAGE-----\n\nAAAA\n",
            "-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----\n",
            "-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n",
            "-----BEGIN PGP MESSAGE-----\n\nAA=A\n-----END PGP MESSAGE-----\n",
            "-----BEGIN PGP MESSAGE-----\n\nAAAA\n=AAA\n-----END PGP MESSAGE-----\n",
        ] {
            assert_eq!(dearmor(text), Err(ArmorError::Malformed), "{text}");
        }
        let split = [("a".to_owned(), "b\nc: d".to_owned())];
        assert_eq!(armor(b"x", &split), Err(ArmorError::Header));
    }
}
