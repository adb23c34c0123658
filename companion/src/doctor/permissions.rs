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
        broken_by: "SELECT p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc AS p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a WHERE p.pronamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee = 0 UNION ALL SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee = 0 UNION ALL SELECT n.nspname::text FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS a WHERE n.nspname = 'control_plane' AND a.grantee = 0",
        wrong: "PUBLIC, which is everybody, may use",
        advice: "REVOKE ALL on it FROM PUBLIC; grant_project() gives each role what it needs.",
    },
    Rule {
        broken_by: "SELECT DISTINCT a.grantee::pg_catalog.regrole::text || ' on ' || c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace AND a.grantee NOT IN (0, c.relowner)",
        wrong: "a role has rights on a table of pg_secrets, past every check and record",
        advice: "REVOKE them: no client needs any, the functions are the way in.",
    },
    Rule {
        broken_by: "SELECT DISTINCT a.grantee::pg_catalog.regrole::text || ' on ' || p.proname::text FROM pg_catalog.pg_proc AS p, pg_catalog.aclexplode(p.proacl) AS a WHERE p.pronamespace = 'control_plane'::pg_catalog.regnamespace AND p.proname IN ('set_execute', 'store_usage', 'audit_change', 'protect_audit') AND a.grantee NOT IN (0, p.proowner)",
        wrong: "a role may execute what only pg_secrets itself calls",
        advice: "REVOKE EXECUTE on it, as README.md says where the companion's login is made.",
    },
    Rule {
        broken_by: "SELECT r.rolname::text FROM pg_catalog.regexp_split_to_table(pg_catalog.current_setting('pg_secrets.trusted_logins', true), ',') AS l(name) JOIN pg_catalog.pg_roles AS r ON r.rolname = pg_catalog.btrim(l.name, ' \"') WHERE r.rolsuper OR r.rolcreaterole OR r.rolbypassrls OR pg_catalog.pg_has_role(r.oid, (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'control_plane'), 'MEMBER')",
        wrong: "a login of pg_secrets.trusted_logins has rights of its own, beside those of the subjects it acts for",
        advice: "Give the companion a login without SUPERUSER, CREATEROLE and BYPASSRLS that is a member of nothing.",
    },
    Rule {
        broken_by: "SELECT pg_catalog.btrim(l.name, ' \"') FROM pg_catalog.regexp_split_to_table(pg_catalog.current_setting('pg_secrets.trusted_logins', true), ',') AS l(name) WHERE pg_catalog.btrim(l.name, ' \"') <> '' AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = pg_catalog.btrim(l.name, ' \"'))",
        wrong: "pg_secrets.trusted_logins names a login that does not exist, and that somebody may make",
        advice: "Take it out of the list, and reload the server.",
    },
    Rule {
        broken_by: "SELECT pg_catalog.format('%s on %s', t.tgname, t.tgrelid::pg_catalog.regclass) FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid WHERE c.relnamespace = 'control_plane'::pg_catalog.regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'",
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
