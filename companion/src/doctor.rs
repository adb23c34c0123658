//! `pg-secrets doctor`: looks at a running installation, and says what is wrong in words that somebody can act
//! on.
//!
//! Best run as a superuser of the database: what the login may not look at is reported as not checked.
//! The exit code is for monitoring, and so is the first line, which sums up: 0 where all is well, 1 where
//! something could not be checked, 2 where something is wrong, 3 where nothing could be asked at all.

mod audit;
mod canary;
mod finding;
mod keys;
mod logs;
mod permissions;
mod preload;
mod redaction;
mod session;
mod workers;

use crate::config::DoctorArguments;
use anyhow::Context;
use finding::{Finding, Verdict};
use session::Session;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where nothing could be asked: the arguments make no sense, or the database cannot be reached.
pub const NOT_ASKED: u8 = 3;

/// Looks at everything, and prints what it found.
///
/// # Errors
/// Where a setting makes no sense.
pub fn run(arguments: DoctorArguments) -> anyhow::Result<ExitCode> {
    let target = arguments.database.target()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(async {
        let (own, other) = match (Session::open(&target).await, Session::open(&target).await) {
            (Ok(own), Ok(other)) => (own, other),
            (Err(error), _) | (_, Err(error)) => {
                show(&[Finding::wrong(
                    "connection",
                    format!("the database cannot be reached: {error}"),
                    "Look at DATABASE_URL and PGPASSWORD, at whether the server runs, and into its log.",
                )]);
                return Ok(ExitCode::from(NOT_ASKED));
            }
        };
        let findings = look(&own, &other, &arguments.log_file).await;
        show(&findings);
        Ok(ExitCode::from(code(&findings)))
    })
}

async fn look(own: &Session, other: &Session, logs: &[PathBuf]) -> Vec<Finding> {
    let mut findings = preload::look(own).await;
    // Without the extension there is nothing else to look at.
    if findings.iter().any(|finding| finding.ends_it) {
        return findings;
    }
    findings.extend(permissions::look(own).await);
    findings.extend(redaction::look(own).await);
    if own.standby {
        findings.push(Finding::not_checked(
            "standby",
            "this server follows another, which alone stores and reads: ask that one for keys, workers, audit and canary",
        ));
        return findings;
    }
    findings.extend(keys::look(own).await);
    findings.extend(workers::look(own).await);
    findings.extend(audit::look(own).await);
    findings.extend(canary::look(own, other, logs).await);
    findings
}

fn code(findings: &[Finding]) -> u8 {
    let has = |verdict: Verdict| findings.iter().any(|finding| finding.verdict == verdict);
    match (has(Verdict::Wrong), has(Verdict::NotChecked)) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    }
}

/// Whoever reads the first line and goes, as `head -1` does, has seen what it wanted.
fn show(findings: &[Finding]) {
    let mut out = std::io::stdout().lock();
    let lines = findings.iter().map(Finding::to_string);
    let _ = std::iter::once(finding::summary(findings))
        .chain(lines)
        .try_for_each(|line| writeln!(out, "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_worst_finding() {
        let fine = || Finding::fine("a", "b");
        let unknown = || Finding::not_checked("a", "b");
        let wrong = || Finding::wrong("a", "b", "c");
        assert_eq!(code(&[fine(), fine()]), 0);
        assert_eq!(code(&[fine(), unknown()]), 1);
        assert_eq!(code(&[wrong(), unknown(), fine()]), 2);
        assert_eq!(code(&[]), 0);
    }
}
