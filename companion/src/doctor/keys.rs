//! Whether there is a key to seal with, and one for everything that is sealed.

use super::finding::Finding;
use super::session::{Refusal, Session};

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
    let mut findings = Vec::new();
    for row in &rows {
        let fingerprint: String = row.try_get(0).unwrap_or_default();
        let primary = row.try_get(1).unwrap_or(false);
        let available = row.try_get(2).unwrap_or(false);
        let needed: i64 = row.try_get(3).unwrap_or(0);
        if primary && available {
            let what = format!("{fingerprint} seals, and {needed} values need it");
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
