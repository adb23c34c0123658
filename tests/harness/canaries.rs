//! Values that are looked for afterwards: whole, in pieces, and in every form that something might have
//! written them in.

use crate::search::files_below;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;

/// How many bytes of a value are a leak.
const PIECE: usize = 8;

/// How many bytes a value has.
const LENGTH: usize = 24;

/// Values that were given out, each with what was done with it.
#[derive(Debug, Default)]
pub struct Canaries {
    given: Mutex<Vec<(String, String)>>,
}

/// A piece of a value where none may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What was done with the value.
    pub how: String,
    /// Where it was found.
    pub place: String,
    /// In which form.
    pub form: &'static str,
}

impl Canaries {
    /// A value that stands nowhere by chance; `how` says what is done with it.
    ///
    /// # Panics
    /// Where another thread has.
    pub fn fresh(&self, how: &str) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        // A UUID's bytes 6 and 8 are not all random.
        let bytes = random.iter().flat_map(|id| {
            let bytes = id.as_bytes();
            [&bytes[..6], &bytes[9..]].concat()
        });
        let value: String = bytes
            .take(LENGTH)
            .enumerate()
            .map(|(at, byte)| {
                // A name may not begin with a digit.
                let letters = if at == 0 { &LETTERS[..52] } else { LETTERS };
                char::from(letters[usize::from(byte) % letters.len()])
            })
            .collect();
        let mut given = self.given.lock().expect("no panic");
        given.push((value.clone(), how.to_owned()));
        value
    }

    /// How many there are.
    ///
    /// # Panics
    /// As [`Self::fresh`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.given.lock().expect("no panic").len()
    }

    /// Something that finds them.
    ///
    /// # Panics
    /// As [`Self::fresh`].
    #[must_use]
    pub fn finder(&self) -> Finder {
        let given = self.given.lock().expect("no panic").clone();
        let mut finder = Finder {
            begins: HashMap::new(),
            filter: vec![0; 1 << 14],
            given,
        };
        for number in 0..finder.given.len() {
            let value = finder.given[number].0.clone();
            for (form, window) in windows(value.as_bytes()) {
                finder.add(form, window, number);
            }
        }
        finder
    }
}

/// A form of a piece of a value, behind its first bytes.
#[derive(Debug)]
struct Window {
    rest: Vec<u8>,
    form: &'static str,
    /// Of which value.
    number: usize,
}

/// Finds pieces of values, by their first bytes.
#[derive(Debug)]
pub struct Finder {
    begins: HashMap<[u8; PIECE], Vec<Window>>,
    /// Which first bytes there may be.
    filter: Vec<u64>,
    given: Vec<(String, String)>,
}

impl Finder {
    fn add(&mut self, form: &'static str, window: Vec<u8>, number: usize) {
        let mut first = [0; PIECE];
        first.copy_from_slice(&window[..PIECE]);
        let (word, bit) = place(first);
        self.filter[word] |= bit;
        let known = self.begins.entry(first).or_default();
        known.push(Window {
            rest: window[PIECE..].to_vec(),
            form,
            number,
        });
    }

    /// What of them stands in there; `place` is what it is called in the findings.
    #[must_use]
    pub fn find(&self, place_name: &str, haystack: &[u8]) -> BTreeSet<Leak> {
        let mut found = BTreeSet::new();
        for at in 0..haystack.len().saturating_sub(PIECE - 1) {
            let mut first = [0; PIECE];
            first.copy_from_slice(&haystack[at..at + PIECE]);
            let (word, bit) = place(first);
            if self.filter[word] & bit == 0 {
                continue;
            }
            for window in self.begins.get(&first).into_iter().flatten() {
                if haystack[at + PIECE..].starts_with(&window.rest) {
                    found.insert(Leak {
                        how: self.given[window.number].1.clone(),
                        place: place_name.to_owned(),
                        form: window.form,
                    });
                }
            }
        }
        found
    }

    /// What of them stands in any file below a folder; places are paths below it.
    #[must_use]
    pub fn find_below(&self, folder: &Path) -> BTreeSet<Leak> {
        files_below(folder)
            .into_iter()
            .filter_map(|path| {
                // A file may vanish while one looks.
                let text = std::fs::read(&path).ok()?;
                let place = path.strip_prefix(folder).unwrap_or(&path);
                Some(self.find(&place.display().to_string(), &text))
            })
            .flatten()
            .collect()
    }
}

fn place(first: [u8; PIECE]) -> (usize, u64) {
    let hash = u64::from_ne_bytes(first).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    let word = usize::try_from(hash / 64).unwrap_or(0);
    (word, 1 << (hash % 64))
}

/// Every form of every piece of a value.
fn windows(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut windows = Vec::new();
    for piece in value.windows(PIECE) {
        let each = |write: &dyn Fn(&u8) -> String, between: &str| {
            let written: Vec<String> = piece.iter().map(write).collect();
            written.join(between).into_bytes()
        };
        windows.push(("plain", piece.to_vec()));
        windows.push(("hex", each(&|byte| format!("{byte:02x}"), "")));
        windows.push(("hex", each(&|byte| format!("{byte:02X}"), "")));
        windows.push(("decimal", each(&|byte| byte.to_string(), " ")));
        windows.push(("escaped", each(&|byte| format!("\\x{byte:02x}"), "")));
        windows.push(("escaped", each(&|byte| format!("\\{byte:03o}"), "")));
        windows.push(("escaped", each(&|byte| format!("\\u{byte:04x}"), "")));
        windows.push(("escaped", each(&|byte| format!("%{byte:02X}"), "")));
        for lead in 0..3 {
            let shifted = [&vec![0; lead], piece].concat();
            let encoded = STANDARD_NO_PAD.encode(&shifted);
            let from = (lead * 8).div_ceil(6);
            let to = shifted.len() * 8 / 6;
            windows.push(("base64", encoded.as_bytes()[from..to].to_vec()));
        }
    }
    windows
}
