//! Whether there is a key to seal with, and one for everything that is sealed.

use super::finding::Finding;
use super::session::{Refusal, Session};
use std::os::unix::fs::PermissionsExt;

const SUBJECT: &str = "key";

const KEYS: &str = "SELECT fingerprint, \"primary\", available, versions + endpoints AS needed FROM control_plane.pgp_keys()";

pub(super) async fn look(session: &Session) -> Vec<Finding> {
    let rows = match session.rows(KEYS, &[]).await {
        Ok(rows) => rows,
        Err(Refusal::Forbidden) => {
            let why = Refusal::Forbidden.explain("an administrator");
            return vec![Finding::not_checked(SUBJECT, why)];
        }
        Err(Refusal::Failed(why)) => {
            return vec![Finding::wrong(
                SUBJECT,
                why,
                "docs/keys.md says where the server takes its keys from; its log says why it took none.",
            )];
        }
    };
    let mut findings = Vec::from_iter(of_file(session).await);
    for row in &rows {
        let fingerprint: String = row.try_get(0).unwrap_or_default();
        let primary = row.try_get(1).unwrap_or(false);
        let available = row.try_get(2).unwrap_or(false);
        let needed: i64 = row.try_get(3).unwrap_or(0);
        if primary && available {
            let what = format!(
                "{fingerprint} seals, and {needed} values need it (is there a copy of it elsewhere?)"
            );
            findings.insert(0, Finding::fine(SUBJECT, what));
        } else if !available && needed > 0 {
            findings.push(Finding::wrong(
                SUBJECT,
                format!("{fingerprint} is not on this server, and {needed} values cannot be read without it"),
                "Append that key to the file of pg_secrets.key_file and reload, then run pg-secrets reencrypt; docs/recovery.md says what to do where it is lost.",
            ));
        }
    }
    let has_primary = rows.iter().any(|row| row.try_get(1).unwrap_or(false));
    if !has_primary {
        findings.push(Finding::wrong(
            SUBJECT,
            "the server has no key: nothing can be stored or read",
            "docs/keys.md says where the server takes its keys from; its log says why it took none.",
        ));
    }
    findings
}

/// Whether the file is still there that the server takes its keys from with its next start, and whose it is.
/// A server with keys of its environment has none.
async fn of_file(session: &Session) -> Option<Finding> {
    let path = "SELECT pg_catalog.current_setting('pg_secrets.key_file', true)";
    let path = session.texts(path).await.unwrap_or_default().concat();
    if path.is_empty() {
        return None;
    }
    let there = "SELECT (pg_catalog.pg_stat_file($1, true)).size";
    match session.rows(there, &[&path]).await {
        Ok(rows) => {
            let size: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok()?);
            if size.is_none() {
                return Some(Finding::wrong(
                    SUBJECT,
                    format!(
                        "the file of pg_secrets.key_file is gone ({path}): the server lives on the keys that it read before, and has none after its next start"
                    ),
                    "Put the file back, now, from where its copy is kept, and reload the server.",
                ));
            }
        }
        Err(refusal) => {
            let why = format!("{path}: {}", refusal.explain("a superuser"));
            return Some(Finding::not_checked(SUBJECT, why));
        }
    }
    // Where the server runs on this machine.
    let mode = std::fs::metadata(&path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        Finding::wrong(
            SUBJECT,
            format!(
                "every account of the machine may read the file of pg_secrets.key_file ({path}, mode {:o})",
                mode & 0o777
            ),
            "chmod 600 it.",
        )
    })
}
