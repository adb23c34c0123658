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

/// How many bytes of the value are a leak.
const PIECE: usize = 8;

/// How often, and how long apart, the log is looked into for a line that must come.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn look(own: &Session, other: &Session, named: &[PathBuf]) -> Vec<Finding> {
    let value = random();
    let name = format!("canary-{}", Uuid::new_v4().simple());
    let files = logs::open(other, named).await;
    let read = match store_and_read(own, &name, &value).await {
        Ok(read) => read,
        Err(refusal) => {
            return vec![match refusal {
                Refusal::Forbidden => {
                    Finding::not_checked(SUBJECT, refusal.explain("an administrator"))
                }
                Refusal::Failed(_) => Finding::wrong(
                    SUBJECT,
                    format!(
                        "a value could not be stored and read: {}",
                        refusal.explain("an administrator")
                    ),
                    "The other findings, and the server's log, say more.",
                ),
            }];
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
    remove(own, &name).await;
    findings
}

/// Random letters and digits, of which no piece stands anywhere by chance.
fn random() -> String {
    Uuid::new_v4().simple().to_string()
}

async fn store_and_read(own: &Session, name: &str, value: &str) -> Result<String, Refusal> {
    own.rows(
        "SELECT control_plane.create_secret($1, $2, $3)",
        &[&PROJECT, &name, &value],
    )
    .await?;
    let rows = own
        .rows(
            "SELECT value FROM control_plane.get_secret_by_name($1, $2)",
            &[&PROJECT, &name],
        )
        .await?;
    let read = rows.first().and_then(|row| row.try_get(0).ok());
    Ok(read.unwrap_or_default())
}

/// What goes wrong for people, with the value in the statement: each fails, or changes nothing.
async fn mistype(own: &Session, value: &str) {
    for text in [
        format!("SELECT control_plane.get_secretz('{value}')"),
        format!("SELECT control_plane.get_secret('{value}')"),
        format!("SELECT control_plane.create_secret('{PROJECT}', '', '{value}')"),
        format!("SELECT control_plane.create_secret('{PROJECT}', 'x', '{value}'"),
        format!("DO $$ BEGIN PERFORM control_plane.get_secret_by_name('{PROJECT}', '..', service => '{value}'); END $$"),
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
        // A view that is not installed, or not to be seen, holds nothing for this login.
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

async fn remove(own: &Session, name: &str) {
    let id = "SELECT control_plane.secret_id($1, $2)::text";
    let Ok(rows) = own.rows(id, &[&PROJECT, &name]).await else {
        return;
    };
    let Some(id) = rows
        .first()
        .and_then(|row| row.try_get::<_, String>(0).ok())
    else {
        return;
    };
    for statement in [
        "SELECT control_plane.delete_secret($1::text::uuid, 'pg-secrets doctor')",
        "SELECT control_plane.purge_secret($1::text::uuid, 'pg-secrets doctor')",
    ] {
        // What is left of it is a name in the doctor's own project.
        let _ = own.rows(statement, &[&id]).await;
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
