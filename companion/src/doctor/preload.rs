//! Whether the library is loaded as it must be, and the extension is where the server expects it.

use super::finding::Finding;
use super::session::Session;

const SUBJECT: &str = "preload";

pub(super) async fn look(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    match session
        .texts("SELECT pg_catalog.current_setting('shared_preload_libraries')")
        .await
    {
        Ok(listed) => findings.push(of_list(&listed.concat())),
        Err(refusal) => findings.push(Finding::not_checked(
            SUBJECT,
            refusal.explain("a member of pg_read_all_settings"),
        )),
    }
    findings.extend(of_sessions(session).await);
    findings.push(of_extension(session).await);
    findings
}

/// What sessions load by themselves comes behind everything that the server has loaded.
const OF_SESSIONS: &str = "SELECT s.name || ' = ' || s.setting FROM pg_catalog.pg_settings AS s WHERE s.name IN ('session_preload_libraries', 'local_preload_libraries') AND s.setting <> '' UNION SELECT coalesce(r.rolname::text || ': ', '') || coalesce(d.datname::text || ': ', '') || one FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN pg_catalog.unnest(s.setconfig) AS one LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase WHERE one ~ '^(session|local)_preload_libraries=.'";

async fn of_sessions(session: &Session) -> Option<Finding> {
    let loaded = match session.texts(OF_SESSIONS).await {
        Ok(loaded) => loaded,
        Err(refusal) => {
            let why = refusal.explain("a member of pg_read_all_settings");
            return Some(Finding::not_checked(SUBJECT, why));
        }
    };
    (!loaded.is_empty()).then(|| {
        Finding::wrong(
            SUBJECT,
            format!(
                "sessions load libraries that see statements before they are masked: {}",
                loaded.join(", ")
            ),
            "Load them by shared_preload_libraries, before pg_secrets.",
        )
    })
}

fn of_list(listed: &str) -> Finding {
    let names: Vec<&str> = listed
        .split(',')
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .collect();
    let is_ours = |name: &&str| {
        name.rsplit('/')
            .next()
            .is_some_and(|file| file.trim_end_matches(".so") == "pg_secrets")
    };
    match names.iter().position(is_ours) {
        None => Finding::wrong(
            SUBJECT,
            "shared_preload_libraries does not list pg_secrets: nothing works",
            "Put pg_secrets last into shared_preload_libraries in postgresql.conf, and restart the server.",
        ),
        Some(at) if at + 1 == names.len() => Finding::fine(
            SUBJECT,
            "pg_secrets is the last of shared_preload_libraries",
        ),
        Some(at) => Finding::wrong(
            SUBJECT,
            format!(
                "{} behind pg_secrets in shared_preload_libraries: what is there sees log records before they are masked",
                names[at + 1..].join(", ")
            ),
            "Put pg_secrets last, and restart the server.",
        ),
    }
}

async fn of_extension(session: &Session) -> Finding {
    let subject = "extension";
    let asked = session
        .rows(
            "SELECT e.extversion, pg_catalog.current_database()::text, pg_catalog.current_setting('pg_secrets.database', true) FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_extension AS e ON e.extname = 'pg_secrets'",
            &[],
        )
        .await;
    let rows = match asked {
        Ok(rows) => rows,
        Err(refusal) => return Finding::not_checked(subject, refusal.explain("a superuser")),
    };
    let column = |at: usize| -> Option<String> { rows.first()?.try_get(at).ok()? };
    let (version, database, expected) = (column(0), column(1), column(2));
    let database = database.unwrap_or_default();
    match (version, expected) {
        (None, expected) => Finding::wrong(
            subject,
            format!("the database {database} does not hold the extension pg_secrets"),
            match expected {
                Some(expected) if expected != database => format!(
                    "pg_secrets.database is {expected}: connect there, or change it and restart the server."
                ),
                _ => "As a superuser, in this database: CREATE EXTENSION pg_secrets.".to_owned(),
            },
        )
        .ending_it(),
        (Some(_), Some(expected)) if expected != database => Finding::wrong(
            subject,
            format!("it is in the database {database}, and pg_secrets.database is {expected}: its workers do not run here"),
            format!("Set pg_secrets.database = '{database}', and restart the server."),
        ),
        (Some(version), _) => Finding::fine(subject, format!("version {version} in the database {database}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn it_must_be_the_last() {
        for (listed, verdict) in [
            ("pg_secrets", Verdict::Fine),
            ("auto_explain, \"pg_secrets\"", Verdict::Fine),
            ("$libdir/pg_secrets.so", Verdict::Fine),
            ("pg_secrets, auto_explain", Verdict::Wrong),
            ("", Verdict::Wrong),
            ("my_pg_secrets", Verdict::Wrong),
        ] {
            assert_eq!(of_list(listed).verdict, verdict, "{listed}");
        }
    }
}
