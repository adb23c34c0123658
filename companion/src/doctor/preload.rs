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
const OF_SESSIONS: &str = include_str!("../../../sql/doctor/libraries_of_sessions.sql");

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
        .rows(include_str!("../../../sql/doctor/extension.sql"), &[])
        .await;
    let rows = match asked {
        Ok(rows) => rows,
        Err(refusal) => return Finding::not_checked(subject, refusal.explain("a superuser")),
    };
    let column = |at: usize| -> Option<String> { rows.first()?.try_get(at).ok()? };
    let (version, database, expected, installed) = (column(0), column(1), column(2), column(3));
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
        (Some(version), _) if Some(&version) != installed.as_ref() => Finding::wrong(
            subject,
            format!("it is of version {version}, and the library that is installed of {}", installed.unwrap_or_default()),
            "As a superuser, in this database: ALTER EXTENSION pg_secrets UPDATE; and restart the server where the library is newer than its start.",
        ),
        (Some(version), _) if version != env!("CARGO_PKG_VERSION") => Finding::wrong(
            subject,
            format!("it is of version {version}, and this program of {}", env!("CARGO_PKG_VERSION")),
            "Run the pg-secrets that was installed with the extension.",
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
