//! Settings that decide what of a value could get into the log.

use super::finding::Finding;
use super::session::Session;

const SUBJECT: &str = "redaction";

const UNKNOWN: &str = include_str!("../../../sql/doctor/redact_also_unknown.sql");

pub(super) async fn look(session: &Session) -> Vec<Finding> {
    let level = session
        .texts("SELECT pg_catalog.current_setting('log_min_messages')")
        .await;
    let unknown = session.texts(UNKNOWN).await;
    let (level, unknown) = match (level, unknown) {
        (Ok(level), Ok(unknown)) => (level.concat(), unknown),
        (Err(refusal), _) | (_, Err(refusal)) => {
            let why = refusal.explain("a member of pg_read_all_settings");
            return vec![Finding::not_checked(SUBJECT, why)];
        }
    };
    let mut findings = Vec::new();
    if matches!(level.as_str(), "fatal" | "panic") {
        findings.push(Finding::wrong(
            SUBJECT,
            format!("log_min_messages is {level}: an error that the log does not get reaches its client unmasked, and nobody else learns of it"),
            "Set log_min_messages to its default, warning, and reload the server.",
        ));
    }
    if !unknown.is_empty() {
        findings.push(Finding::not_checked(
            SUBJECT,
            format!(
                "pg_secrets.redact_also names what this database does not have: {}; it protects nothing unless it is another database's",
                unknown.join(", ")
            ),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::fine(
            SUBJECT,
            "log_min_messages and pg_secrets.redact_also are as they should be",
        ));
    }
    findings
}
