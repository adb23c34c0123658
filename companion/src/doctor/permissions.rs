//! Whether anybody has more than was meant, or has switched off what records.

use super::finding::Finding;
use super::session::Session;

const SUBJECT: &str = "permissions";

struct Rule {
    /// Answers one text for each that breaks it.
    broken_by: &'static str,
    wrong: &'static str,
    advice: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        broken_by: include_str!("../../../sql/doctor/rights_of_public.sql"),
        wrong: "PUBLIC, which is everybody, may use",
        advice: "REVOKE ALL on it FROM PUBLIC; grant_project() gives each role what it needs.",
    },
    Rule {
        broken_by: include_str!("../../../sql/doctor/rights_on_tables.sql"),
        wrong: "a role has rights on a table of pg_secrets, past every check and record",
        advice: "REVOKE them: no client needs any, the functions are the way in.",
    },
    Rule {
        broken_by: include_str!("../../../sql/doctor/rights_on_internal_functions.sql"),
        wrong: "a role may execute what only pg_secrets itself calls",
        advice: "REVOKE EXECUTE on it, as README.md says where the companion's login is made.",
    },
    Rule {
        broken_by: include_str!("../../../sql/doctor/trusted_logins_with_rights.sql"),
        wrong: "a login of pg_secrets.trusted_logins has rights of its own, beside those of the subjects it acts for",
        advice: "Give the companion a login without SUPERUSER, CREATEROLE and BYPASSRLS that is a member of nothing.",
    },
    Rule {
        broken_by: include_str!("../../../sql/doctor/trusted_logins_unknown.sql"),
        wrong: "pg_secrets.trusted_logins names a login that does not exist, and that somebody may make",
        advice: "Take it out of the list, and reload the server.",
    },
    Rule {
        broken_by: include_str!("../../../sql/doctor/row_security_switched_off.sql"),
        wrong: "somebody has switched row security off, so that roles see what they may not list",
        advice: "ALTER TABLE … ENABLE ROW LEVEL SECURITY, and find out who it was.",
    },
    Rule {
        broken_by: include_str!("../../../sql/doctor/triggers_switched_off.sql"),
        wrong: "somebody has switched a trigger off, so that changes can go unrecorded",
        advice: "ALTER TABLE … ENABLE ALWAYS TRIGGER, and find out who it was.",
    },
];

pub(super) async fn look(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        match session.texts(rule.broken_by).await {
            Ok(broken) if broken.is_empty() => {}
            Ok(broken) => findings.push(Finding::wrong(
                SUBJECT,
                format!("{}: {}", rule.wrong, broken.join(", ")),
                rule.advice,
            )),
            Err(refusal) => {
                findings.push(Finding::not_checked(
                    SUBJECT,
                    refusal.explain("a superuser"),
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine(
            SUBJECT,
            "nobody has more than was meant, and every change is recorded",
        ));
    }
    findings
}
