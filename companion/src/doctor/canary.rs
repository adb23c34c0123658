//! A random value that is stored, read and mistyped as people do, and then looked for wherever the settings
//! of this server might have put it.

use super::finding::Finding;
use super::logs::{self, LogFile};
use super::session::{Refusal, Session};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

const SUBJECT: &str = "canary";
const PROJECT: &str = "pg-secrets-doctor";
const NAME: &str = "canary";

/// How many bytes of the value are a leak.
const PIECE: usize = 8;

/// How often, and how long apart, the log is looked into for a line that must come.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn look(own: &Session, other: &Session, named: &[PathBuf]) -> Vec<Finding> {
    // What a doctor left who was interrupted.
    remove(own).await;
    let findings = watch(own, other, named).await;
    remove(own).await;
    findings
}

async fn watch(own: &Session, other: &Session, named: &[PathBuf]) -> Vec<Finding> {
    let value = random();
    let files = match logs::open(other, named).await {
        Ok(files) => files,
        Err(finding) => return vec![finding],
    };
    let read = match store_and_read(own, &value).await {
        Ok(read) => read,
        Err(Refusal::Forbidden) => {
            let why = Refusal::Forbidden.explain("an administrator");
            return vec![Finding::not_checked(SUBJECT, why)];
        }
        Err(Refusal::Failed(why)) => {
            return vec![Finding::wrong(
                SUBJECT,
                format!("a value could not be stored and read: {why}"),
                "The other findings, and the server's log, say more.",
            )];
        }
    };
    let mut findings = vec![if read == value {
        Finding::fine(SUBJECT, "a value was stored, and read as it was")
    } else {
        Finding::wrong(
            SUBJECT,
            "another value was read than was stored",
            "Keep the server as it is, and report this.",
        )
    }];
    mistype(own, &value).await;
    let marker = format!("pg-secrets-doctor-{}", random());
    findings.extend(look_at_views(own, other, &value).await);
    // A plain mistake, that every server logs at its default settings.
    own.say(&format!("SELECT '{marker}'::integer")).await;
    findings.push(look_at_logs(other, &files, &value, &marker).await);
    findings
}

/// Random letters and digits, of which no piece stands anywhere by chance, and which are no id.
fn random() -> String {
    format!("v{}", Uuid::new_v4().simple())
}

async fn store_and_read(own: &Session, value: &str) -> Result<String, Refusal> {
    own.rows(
        "SELECT control_plane.create_secret($1, $2, $3)",
        &[&PROJECT, &NAME, &value],
    )
    .await?;
    let rows = own
        .rows(
            "SELECT value FROM control_plane.get_secret_by_name($1, $2)",
            &[&PROJECT, &NAME],
        )
        .await?;
    let read = rows.first().and_then(|row| row.try_get(0).ok());
    Ok(read.unwrap_or_default())
}

/// What goes wrong for people, with the value in the statement: each fails, and none is a read that is
/// refused, of which too many raise an alarm.
async fn mistype(own: &Session, value: &str) {
    for text in [
        format!("SELECT control_plane.get_secretz('{value}')"),
        format!("SELECT control_plane.get_secret('{value}')"),
        format!("SELECT control_plane.create_secret('{PROJECT}', '', '{value}')"),
        format!("SELECT control_plane.create_secret('{PROJECT}', 'x', '{value}'"),
        format!("DO $$ DECLARE v text := '{value}'; BEGIN PERFORM control_plane.create_secret('{PROJECT}', '', v); END $$"),
        "PREPARE pg_secrets_doctor(text) AS SELECT control_plane.create_secret('pg-secrets-doctor', '', $1)".to_owned(),
        format!("EXECUTE pg_secrets_doctor('{value}')"),
    ] {
        own.say(&text).await;
    }
}

async fn look_at_views(own: &Session, other: &Session, value: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, session, statement) in [
        (
            "pg_stat_activity",
            other,
            "SELECT coalesce(query, '') FROM pg_catalog.pg_stat_activity",
        ),
        (
            "pg_prepared_statements",
            own,
            "SELECT statement FROM pg_catalog.pg_prepared_statements",
        ),
        (
            "pg_stat_statements",
            other,
            "SELECT query FROM pg_stat_statements",
        ),
    ] {
        let there = "SELECT 'there' WHERE pg_catalog.to_regclass($1) IS NOT NULL";
        let there = session.rows(there, &[&name]).await;
        if there.is_ok_and(|rows| rows.is_empty()) {
            continue;
        }
        // A view that is not to be seen holds nothing for this login.
        let Ok(shown) = session.texts(statement).await else {
            continue;
        };
        if shown.iter().any(|text| holds(text.as_bytes(), value)) {
            findings.push(Finding::wrong(
                SUBJECT,
                format!("the value stands in {name}"),
                "Put pg_secrets last into shared_preload_libraries, and restart the server.",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine(SUBJECT, "it stands in no statistics view"));
    }
    findings
}

async fn look_at_logs(other: &Session, files: &[LogFile], value: &str, marker: &str) -> Finding {
    if files.is_empty() {
        return Finding::not_checked(
            SUBJECT,
            "the server's log cannot be reached from here; name it with --log-file, or ask as a superuser of a server with logging_collector = on",
        );
    }
    let mut marked = false;
    for _ in 0..TRIES {
        for file in files {
            let text = file.since(other).await.unwrap_or_default();
            if holds(&text, value) {
                return Finding::wrong(
                    SUBJECT,
                    format!("the value stands in the log {}", file.name),
                    "Put pg_secrets last into shared_preload_libraries, and restart the server; then remove that log, and rotate what was in it.",
                );
            }
            marked |= text
                .windows(marker.len())
                .any(|piece| piece == marker.as_bytes());
        }
        if marked {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            return Finding::fine(
                SUBJECT,
                format!("it does not stand in the log ({})", names.join(", ")),
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    Finding::not_checked(
        SUBJECT,
        "no line of this session came into the log that was looked at: it may be another's, or log nothing",
    )
}

/// Whether a piece of the value stands in a text, as it is or as the numbers of its bytes.
fn holds(text: &[u8], value: &str) -> bool {
    value.as_bytes().windows(PIECE).any(|piece| {
        let numbers: Vec<String> = piece.iter().map(u8::to_string).collect();
        let numbers = numbers.join(" ");
        contains(text, piece) || contains(text, numbers.as_bytes())
    })
}

fn contains(text: &[u8], piece: &[u8]) -> bool {
    text.windows(piece.len()).any(|window| window == piece)
}

/// Removes what was stored, if anything is. What is left is the name, in the doctor's own project, and the
/// records of the audit.
async fn remove(own: &Session) {
    let ids = "SELECT s.id::text FROM control_plane.list_secrets($1, $3) AS s WHERE s.name OPERATOR(pg_catalog.=) $2";
    for (state, statement) in [
        (
            None,
            "SELECT control_plane.delete_secret($1::text::uuid, 'pg-secrets doctor')",
        ),
        (
            Some("deleted"),
            "SELECT control_plane.purge_secret($1::text::uuid, 'pg-secrets doctor')",
        ),
    ] {
        let rows = own.rows(ids, &[&PROJECT, &NAME, &state]).await;
        for row in rows.unwrap_or_default() {
            if let Ok(id) = row.try_get::<_, String>(0) {
                // Where it fails, the next doctor tries again.
                let _ = own.rows(statement, &[&id]).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_the_value_is_found_in_either_form() {
        let value = "0123456789abcdef";
        assert!(holds(b"x 456789ab x", value));
        assert!(holds(b"[ 52 53 54 55 56 57 97 98 ]", value));
        assert!(!holds(b"x 0123456 x", value));
        assert!(!holds(b"", value));
    }
}
