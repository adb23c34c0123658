use super::*;
use serde_json::json;

fn raised<'a>(sqlstate: &'a str, message: &'a str) -> Raised<'a> {
    Raised {
        sqlstate,
        severity: "ERROR",
        routine: Some("ri_ReportViolation"),
        message,
        detail: None,
        hint: None,
    }
}

#[test]
fn every_sqlstate_has_its_status() {
    for (sqlstate, status, kind) in [
        ("PT400", 400, "bad-request"),
        ("PT401", 401, "unauthenticated"),
        ("PT403", 403, "forbidden"),
        ("PT404", 404, "not-found"),
        ("PT409", 409, "conflict"),
        ("PT410", 410, "gone"),
        ("PT413", 413, "too-large"),
        ("PT422", 422, "unprocessable"),
        ("PT503", 503, "unavailable"),
        ("PT200", 500, "internal"),
        ("PTxyz", 500, "internal"),
        ("40001", 409, "retry"),
        ("40P01", 409, "retry"),
        ("55P03", 409, "retry"),
        ("22P02", 400, "bad-request"),
        ("22021", 400, "bad-request"),
        ("22007", 400, "bad-request"),
        ("23505", 409, "conflict"),
        ("57P01", 503, "unavailable"),
        ("57P03", 503, "unavailable"),
        ("57014", 503, "unavailable"),
        ("25006", 503, "unavailable"),
        ("08006", 503, "unavailable"),
        ("53300", 503, "unavailable"),
        ("42501", 503, "unavailable"),
        ("XX000", 500, "internal"),
        ("", 500, "internal"),
    ] {
        let problem = Error::from(raised(sqlstate, "text")).problem();
        assert_eq!(
            (problem.status.as_u16(), problem.kind),
            (status, kind),
            "{sqlstate}"
        );
    }
}

#[test]
fn a_foreign_errors_text_is_neither_shown_nor_logged() {
    for sqlstate in ["22P02", "23505", "40P01", "42883", "57014", "XX000"] {
        let error = Error::from(Raised {
            detail: Some("hunter2 detail"),
            hint: Some("hunter2 hint"),
            ..raised(sqlstate, "invalid input: \"hunter2\"")
        });
        let seen = format!("{error} {error:?} {}", error.problem().to_json("r1"));
        assert!(!seen.contains("hunter2"), "{sqlstate}: {seen}");
    }
}

#[test]
fn our_own_errors_bring_message_hint_and_members() {
    let problem = Error::from(Raised {
        detail: Some(r#"{"current_id": "c"}"#),
        hint: Some("Rotate the current one."),
        ..raised("PT409", "not the current version")
    })
    .problem();
    assert_eq!(
        problem.detail,
        "not the current version. Rotate the current one."
    );
    assert_eq!(Value::Object(problem.members), json!({"current_id": "c"}));
}

#[test]
fn a_detail_that_is_no_json_object_is_left_out() {
    for detail in ["plain words", "[1]", "\"text\"", ""] {
        assert!(members(Some(detail)).is_empty(), "{detail}");
    }
}

#[test]
fn the_log_gets_code_severity_and_routine() {
    let error = Error::from(raised("XX000", "text"));
    assert_eq!(
        error.to_string(),
        "internal: the database failed the statement sqlstate=XX000 severity=ERROR routine=ri_ReportViolation"
    );
}
