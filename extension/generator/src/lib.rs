//! Random values: so many characters of an alphabet, each as likely as every other.

use std::collections::HashSet;
use std::fmt;
use zeroize::Zeroizing;

/// The most characters that a value can have.
pub const LONGEST: usize = 4096;

/// The most characters that an alphabet can have: what one random byte can choose between.
pub const LARGEST_ALPHABET: usize = 256;

/// Makes values.
#[derive(Debug, Clone)]
pub struct Generator {
    length: usize,
    alphabet: Vec<char>,
}

/// Why a generator cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No characters, or too many.
    Length,
    /// Less than two characters, or too many.
    AlphabetSize,
    /// A character stands more than once in the alphabet: it would be likelier than others.
    Repeated,
    /// A character that no password should have.
    Control,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(formatter, "length must be from 1 to {LONGEST}"),
            Self::AlphabetSize => write!(
                formatter,
                "alphabet must be alnum, hex, base64url, ascii, or 2 to {LARGEST_ALPHABET} characters"
            ),
            Self::Repeated => formatter.write_str("alphabet must not hold a character twice"),
            Self::Control => formatter.write_str("alphabet must not hold control characters"),
        }
    }
}

impl Generator {
    /// A generator of values of `length` characters. `alphabet` is the name of one, or else its
    /// characters.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn new(length: usize, alphabet: &str) -> Result<Self, Refused> {
        if !(1..=LONGEST).contains(&length) {
            return Err(Refused::Length);
        }
        let alphabet = match named(alphabet) {
            Some(alphabet) => alphabet,
            None => literal(alphabet)?,
        };
        Ok(Self { length, alphabet })
    }

    /// How many characters the alphabet has.
    #[must_use]
    pub fn alphabet_size(&self) -> usize {
        self.alphabet.len()
    }

    /// A new value, from the operating system's randomness.
    ///
    /// # Errors
    /// Where the operating system gives none.
    pub fn generate(&self) -> Result<Zeroizing<String>, getrandom::Error> {
        // Room for all of it at once: a text that grows leaves its old memory behind.
        let width = self.alphabet.iter().map(|c| c.len_utf8()).max();
        let mut value = Zeroizing::new(String::with_capacity(self.length * width.unwrap_or(1)));
        let size = self.alphabet.len();
        // The bytes up to here are the same number for each character. One beyond would make the first
        // characters likelier than the last, so it is drawn again.
        let fair = 256 - 256 % size;
        let mut random = Zeroizing::new([0_u8; 256]);
        let mut missing = self.length;
        while missing > 0 {
            getrandom::fill(random.as_mut_slice())?;
            let drawn = random.iter().map(|byte| usize::from(*byte));
            for drawn in drawn.filter(|drawn| *drawn < fair).take(missing) {
                value.push(self.alphabet[drawn % size]);
                missing -= 1;
            }
        }
        Ok(value)
    }
}

fn named(name: &str) -> Option<Vec<char>> {
    let alnum = || ('a'..='z').chain('A'..='Z').chain('0'..='9');
    match name {
        "alnum" => Some(alnum().collect()),
        "hex" => Some(('0'..='9').chain('a'..='f').collect()),
        "base64url" => Some(alnum().chain(['-', '_']).collect()),
        // What can be seen of it, without the space.
        "ascii" => Some(('!'..='~').collect()),
        _ => None,
    }
}

fn literal(text: &str) -> Result<Vec<char>, Refused> {
    let characters: Vec<char> = text.chars().take(LARGEST_ALPHABET + 1).collect();
    if !(2..=LARGEST_ALPHABET).contains(&characters.len()) {
        return Err(Refused::AlphabetSize);
    }
    if characters
        .iter()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        return Err(Refused::Control);
    }
    let mut seen = HashSet::new();
    if characters.iter().all(|c| seen.insert(*c)) {
        Ok(characters)
    } else {
        Err(Refused::Repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each character of the alphabet comes, and by how much that differs from what is due,
    /// as a chi-square statistic.
    fn chi_square(alphabet: &str) -> (f64, usize) {
        let generator = Generator::new(LONGEST, alphabet).unwrap();
        let size = generator.alphabet_size();
        let mut counts = vec![0_u32; size];
        let rounds = 50;
        for _ in 0..rounds {
            for c in generator.generate().unwrap().chars() {
                let place = generator.alphabet.iter().position(|one| *one == c);
                counts[place.expect("a character of the alphabet")] += 1;
            }
        }
        let due = f64::from(u32::try_from(rounds * LONGEST / size).unwrap());
        let total = counts
            .iter()
            .map(|count| (f64::from(*count) - due).powi(2) / due);
        (total.sum(), size)
    }

    #[test]
    fn every_character_is_as_likely_as_every_other() {
        let large: String = ('\u{100}'..).take(200).collect();
        for alphabet in [
            "alnum",
            "hex",
            "base64url",
            "ascii",
            "ab",
            "abc",
            "äöü€",
            &large,
        ] {
            let (statistic, size) = chi_square(alphabet);
            let freedom = f64::from(u32::try_from(size - 1).unwrap());
            // Seven standard deviations above what is expected.
            let limit = freedom + 7.0 * (2.0 * freedom).sqrt() + 30.0;
            assert!(statistic < limit, "{alphabet}: {statistic} of {size}");
        }
    }

    #[test]
    fn a_value_has_the_length_in_characters_and_is_never_the_same() {
        for (length, alphabet) in [
            (1, "ab"),
            (2, "ß€"),
            (32, "alnum"),
            (257, "hex"),
            (4096, "ascii"),
        ] {
            let value = Generator::new(length, alphabet)
                .unwrap()
                .generate()
                .unwrap();
            assert_eq!(value.chars().count(), length, "{alphabet}");
        }
        let generator = Generator::new(20, "alnum").unwrap();
        let values: HashSet<String> = (0..10_000)
            .map(|_| generator.generate().unwrap().to_string())
            .collect();
        assert_eq!(values.len(), 10_000);
    }

    #[test]
    fn a_value_never_outgrows_the_room_that_it_was_given() {
        for alphabet in ["hex", "a€", "𝄞x"] {
            let generator = Generator::new(1000, alphabet).unwrap();
            let width = generator.alphabet.iter().map(|c| c.len_utf8()).max();
            let value = generator.generate().unwrap();
            assert!(value.len() <= 1000 * width.unwrap());
        }
    }

    #[test]
    fn names_are_alphabets_and_other_texts_are_their_characters() {
        for (alphabet, size) in [
            ("alnum", 62),
            ("hex", 16),
            ("base64url", 64),
            ("ascii", 94),
            ("HEX", 3),
            ("01", 2),
        ] {
            let generator = Generator::new(1, alphabet).unwrap();
            assert_eq!(generator.alphabet_size(), size, "{alphabet}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_not_quoted() {
        let many: String = ('\u{100}'..).take(257).collect();
        for (length, alphabet, expected) in [
            (0, "hex", Refused::Length),
            (4097, "hex", Refused::Length),
            (1, "", Refused::AlphabetSize),
            (1, "x", Refused::AlphabetSize),
            (1, many.as_str(), Refused::AlphabetSize),
            (1, "hunter2hunter", Refused::Repeated),
            (1, "ab\n", Refused::Control),
            (1, "ab\u{2028}", Refused::Control),
        ] {
            let refused = Generator::new(length, alphabet).unwrap_err();
            assert_eq!(refused, expected);
            assert!(!refused.to_string().contains("hunter"));
        }
        let most: String = ('\u{100}'..).take(256).collect();
        assert!(Generator::new(1, &most).is_ok());
    }
}
