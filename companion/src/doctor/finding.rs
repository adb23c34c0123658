//! What was found, as a line for a person.

use crate::visible::visible;
use std::borrow::Cow;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// The login may not look, or there is no way to.
    NotChecked,
    Wrong,
}

/// The outcome of one check.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// What was looked at.
    subject: &'static str,
    what: Cow<'static, str>,
    /// What to do about it.
    advice: Cow<'static, str>,
    /// Whether nothing else can be looked at.
    pub(super) ends_it: bool,
}

impl Finding {
    pub(super) fn fine(subject: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Verdict::Fine, subject, what.into(), Cow::Borrowed(""))
    }

    /// `why` also says what would have to be so that it could be.
    pub(super) fn not_checked(subject: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Verdict::NotChecked, subject, why.into(), Cow::Borrowed(""))
    }

    pub(super) fn wrong(
        subject: &'static str,
        what: impl Into<Cow<'static, str>>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Verdict::Wrong, subject, what.into(), advice.into())
    }

    fn new(
        verdict: Verdict,
        subject: &'static str,
        what: Cow<'static, str>,
        advice: Cow<'static, str>,
    ) -> Self {
        Self {
            verdict,
            subject,
            what,
            advice,
            ends_it: false,
        }
    }

    /// The same, after which nothing else can be looked at.
    pub(super) fn ending_it(mut self) -> Self {
        self.ends_it = true;
        self
    }
}

/// The worst of it in one line: how many of how many, and of what.
pub(super) fn summary(findings: &[Finding]) -> String {
    for (verdict, word) in [
        (Verdict::Wrong, "WRONG"),
        (Verdict::NotChecked, "not checked"),
    ] {
        let mut subjects: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .map(|finding| finding.subject)
            .collect();
        let count = subjects.len();
        subjects.dedup();
        if count > 0 {
            return format!(
                "{word}: {count} of {}: {}",
                findings.len(),
                subjects.join(", ")
            );
        }
    }
    format!("ok: all of {}", findings.len())
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::NotChecked => "not checked",
            Verdict::Wrong => "WRONG",
        };
        let what = visible(&self.what);
        write!(formatter, "{verdict:<12} {}: {what}", self.subject)?;
        if !self.advice.is_empty() {
            write!(formatter, "\n{:<13}-> {}", "", visible(&self.advice))?;
        }
        Ok(())
    }
}
