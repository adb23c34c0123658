//! How long a superseded version stays readable, as a flag says it.

use jiff::{Span, SpanRelativeTo, Unit};
use serde::Serialize;
use std::str::FromStr;

/// A grace, in seconds; days and weeks count as 24 hours and seven of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Grace(u64);

impl FromStr for Grace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse::<u32>() {
            return Ok(Self(seconds.into()));
        }
        let seconds = text.parse::<Span>().ok().and_then(|span| {
            let days = SpanRelativeTo::days_are_24_hours();
            span.total((Unit::Second, days)).ok()
        });
        match seconds {
            Some(seconds) if seconds >= 0.0 && seconds.fract() == 0.0 => Ok(Self(seconds as u64)),
            _ => Err("not whole seconds, nor a duration such as 90m, 7d or PT90M".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_several_forms() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90m", 5400),
            ("1h 30m", 5400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("P1DT1H", 90_000),
        ] {
            assert_eq!(text.parse::<Grace>(), Ok(Grace(seconds)), "{text}");
        }
        for text in ["", "-1", "-1h", "1mo", "P1Y", "soon", "1.5s", "P"] {
            assert!(text.parse::<Grace>().is_err(), "{text}");
        }
    }
}
