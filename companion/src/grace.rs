//! How long something lasts, as a request spells it and as Postgres reads it: above all a grace.

use crate::error::{Error, Fault};
use jiff::fmt::temporal::SpanParser;
use serde_json::{Number, Value};

/// The grace of a rotation; see [`interval_of`].
///
/// # Errors
/// As there.
pub(crate) fn interval(grace: Option<&Value>) -> Result<Option<String>, Error> {
    interval_of("grace", grace)
}

/// The text that Postgres is to read as an interval: a JSON number counts seconds, a text must be
/// an ISO 8601 duration (section 4.4.3.2, `P1DT12H`); `None` where nothing was said. Whether the
/// length makes sense is the database's to say.
///
/// # Errors
/// 400 for anything else. Postgres' own spellings (`1 day`) are not part of the interface.
pub(crate) fn interval_of(member: &str, length: Option<&Value>) -> Result<Option<String>, Error> {
    match length {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(seconds)) => Ok(Some([&seconds.to_string(), " seconds"].concat())),
        Some(Value::String(duration)) if is_iso_8601(duration) => Ok(Some(duration.clone())),
        Some(_) => Err(Error::bad_request(
            [
                member,
                " must be a number of seconds, or an ISO 8601 duration such as \"P1D\" or \"PT90M\"",
            ]
            .concat(),
        )),
    }
}

/// Seconds as an answer shows them, from the text that Postgres writes.
///
/// # Errors
/// Where it is no number.
pub(crate) fn seconds(text: Option<&str>) -> Result<Option<Number>, Error> {
    text.map(str::parse).transpose().map_err(|_| {
        Error::Internal(Fault::new(
            "the database answered with a length of time that is none",
        ))
    })
}

/// Postgres is no judge of this: it takes `PT` for no time at all.
fn is_iso_8601(text: &str) -> bool {
    text.starts_with('P') && SpanParser::new().parse_span(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn seconds_and_durations_become_intervals() {
        for (given, expected) in [
            (json!(3600), "3600 seconds"),
            (json!(0), "0 seconds"),
            (json!(1.5), "1.5 seconds"),
            (json!(-1), "-1 seconds"),
            (json!("P1D"), "P1D"),
            (json!("PT90M"), "PT90M"),
            (json!("P2W"), "P2W"),
            (json!("P1Y2M3DT4H5M6.5S"), "P1Y2M3DT4H5M6.5S"),
        ] {
            let interval = interval(Some(&given)).unwrap();
            assert_eq!(interval.as_deref(), Some(expected), "{given}");
        }
        assert_eq!(interval(None).unwrap(), None);
        assert_eq!(interval(Some(&Value::Null)).unwrap(), None);
    }

    #[test]
    fn seconds_are_shown_as_they_are_written() {
        for text in ["3600", "0", "1.5"] {
            let shown = seconds(Some(text)).unwrap().map(|shown| shown.to_string());
            assert_eq!(shown.as_deref(), Some(text));
        }
        assert_eq!(seconds(None).unwrap(), None);
        assert!(seconds(Some("1 day")).is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        for given in [
            json!("1 day"),
            json!("3600"),
            json!("P"),
            json!("PT"),
            json!("P1"),
            json!("-P1D"),
            json!("P-1D"),
            json!("p1d"),
            json!("P1 day"),
            json!("P1D'"),
            json!(true),
            json!([1]),
            json!({"seconds": 1}),
        ] {
            assert!(interval(Some(&given)).is_err(), "{given}");
        }
    }
}
