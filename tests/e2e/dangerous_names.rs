//! Names that are dangerous elsewhere: each works or is refused, over SQL and over REST alike.

use pg_secrets_tests::{Proof, Session, TestApp, project};
use serde_json::json;
use std::fmt::Write;

const LONG: usize = 10 * 1024;

/// A text, and whether it can name a project, a secret or a subject.
fn texts() -> Vec<(String, bool)> {
    let mut texts: Vec<(String, bool)> = [
        ("it's", true),
        ("\"quoted\"", true),
        ("'; DROP TABLE control_plane.secrets; --", true),
        ("$1", true),
        ("$$", true),
        ("{}", true),
        ("%", true),
        ("%s%n", true),
        ("%2F", true),
        ("%00", true),
        ("_", true),
        ("*", true),
        ("/", true),
        ("a/../b", true),
        ("../../etc/passwd", true),
        ("...", true),
        ("a?b=c&d#e", true),
        ("a+b c", true),
        (" ", true),
        (" lead and trail ", true),
        ("\\", true),
        ("\\n", true),
        ("NULL", true),
        ("null", true),
        ("<script>alert(1)</script>", true),
        ("\u{202e}gnp.exe", true),
        ("\u{200f}\u{200b}", true),
        ("\u{feff}", true),
        ("e\u{301}", true),
        ("\u{1f511}", true),
        ("\u{10ffff}", true),
        (".", false),
        ("..", false),
        ("", false),
        ("line\nbreak", false),
        ("carriage\rreturn", false),
        ("tab\t", false),
        ("\u{1b}[31m", false),
        ("\u{7f}", false),
        ("\u{85}", false),
        ("\u{2028}", false),
        ("nul\0", false),
    ]
    .into_iter()
    .map(|(text, works)| (text.to_owned(), works))
    .collect();
    texts.push(("x".repeat(255), true));
    texts.push(("\u{10ffff}".repeat(255), true));
    texts.push(("x".repeat(256), false));
    texts.push(("x".repeat(LONG), false));
    texts
}

fn encoded(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        write!(path, "%{byte:02X}").expect("a String takes everything");
    }
    path
}

/// Whether a statement with these texts as parameters is carried out; where not, it is the input that is
/// refused.
async fn works(sql: &Session, statement: &str, texts: &[&str]) -> bool {
    let arguments: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = texts
        .iter()
        .map(|text| text as &(dyn tokio_postgres::types::ToSql + Sync))
        .collect();
    match sql.rows(statement, &arguments).await {
        Ok(_) => true,
        Err(error) => {
            // 22021: a NUL byte, which no text of Postgres holds.
            let input = ["PT400", "22021"].contains(&error.state.as_str());
            assert!(input, "{statement}: {error:?}");
            false
        }
    }
}

fn accepted(status: u16, what: &str) -> bool {
    assert!([200, 201, 204, 400].contains(&status), "{what}: {status}");
    status != 400
}

#[tokio::test]
async fn projects_and_names_are_the_same_everywhere() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let create = "SELECT control_plane.create_secret($1, $2, 'v')";
    for (text, expected) in texts() {
        let shown: String = text.chars().take(40).collect();
        let (by_sql, by_rest) = (project("sql"), project("rest"));
        assert_eq!(
            works(&sql, create, &[&by_sql, &text]).await,
            expected,
            "{shown:?}"
        );
        let made = api
            .post(
                "/api/secrets",
                json!({"project_id": by_rest, "name": text, "value": "v"}),
            )
            .await?;
        assert_eq!(
            accepted(made.status, &shown),
            expected,
            "{shown:?}: {}",
            made.body
        );
        let read = api
            .get(&format!(
                "/api/projects/{by_sql}/secrets/{}",
                encoded(&text)
            ))
            .await?;
        assert_eq!(read.status == 200, expected, "{shown:?}: {}", read.body);
        if expected {
            assert_eq!(read.text("name"), text);
            let found: Vec<String> = sql
                .all(
                    "SELECT name FROM control_plane.list_secrets($1)",
                    &[&by_rest],
                )
                .await?;
            assert_eq!(found, [text.as_str()]);
            let listed = api
                .get(&format!(
                    "/api/secrets?project_id={by_sql}&name={}",
                    encoded(&text)
                ))
                .await?
                .expect(200)?;
            assert_eq!(listed.body["secrets"][0]["name"], text);
        }
        // As a project, of a name that is that of no other test.
        let name = project("name");
        assert_eq!(
            works(&sql, create, &[&text, &name]).await,
            expected,
            "{shown:?}"
        );
        let other = project("name");
        let made = api
            .post(
                "/api/secrets",
                json!({"project_id": text, "name": other, "value": "v"}),
            )
            .await?;
        assert_eq!(
            accepted(made.status, &shown),
            expected,
            "{shown:?}: {}",
            made.body
        );
        if expected {
            api.get(&format!("/api/projects/{}/secrets/{name}", encoded(&text)))
                .await?
                .expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn subjects_services_and_prefixes_are_the_same_everywhere() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let own = project("grants");
    for (text, as_name) in texts() {
        let shown: String = text.chars().take(40).collect();
        let dots = [".", ".."].contains(&text.as_str());
        let short = text.chars().count() <= 50;
        for (what, expected, statement, body) in [
            (
                "subject",
                as_name,
                "SELECT control_plane.create_token($1)",
                ("/api/tokens", json!({"subject": text})),
            ),
            (
                "token's service",
                (as_name || dots) && short,
                "SELECT control_plane.create_token('dangerous', $1)",
                (
                    "/api/tokens",
                    json!({"subject": "dangerous", "service": text}),
                ),
            ),
            (
                "grantee",
                as_name,
                "SELECT control_plane.grant_project($1, 'list', 'dangerous', kind => 'subject')",
                (
                    "/api/grants",
                    json!({"grantee": text, "permission": "list", "project_id": "dangerous", "kind": "subject"}),
                ),
            ),
            (
                "granted project",
                as_name,
                "SELECT control_plane.grant_project('dangerous', 'list', $1, kind => 'subject')",
                (
                    "/api/grants",
                    json!({"grantee": "dangerous", "permission": "list", "project_id": text, "kind": "subject"}),
                ),
            ),
            (
                "granted service",
                (as_name || dots) && short,
                "SELECT control_plane.grant_project('dangerous', 'read', 'p', $1, kind => 'subject')",
                (
                    "/api/grants",
                    json!({"grantee": "dangerous", "permission": "read", "project_id": "p", "service": text, "kind": "subject"}),
                ),
            ),
            (
                "prefix",
                as_name || dots,
                "SELECT control_plane.grant_project('dangerous', 'read', 'p', name_prefix => $1, kind => 'subject')",
                (
                    "/api/grants",
                    json!({"grantee": "dangerous", "permission": "read", "project_id": "p", "name_prefix": text, "kind": "subject"}),
                ),
            ),
        ] {
            assert_eq!(
                works(&sql, statement, &[&text]).await,
                expected,
                "{what} {shown:?}"
            );
            let answer = api.post(body.0, body.1).await?;
            assert_eq!(
                accepted(answer.status, &shown),
                expected,
                "{what} {shown:?}: {}",
                answer.body
            );
        }
        if as_name && text.len() < 1000 {
            // A prefix is no pattern, and a grant for it is taken back by it alone.
            let prefixed = "SELECT control_plane.grant_project($1, 'list', $1, name_prefix => $2, kind => 'subject')";
            sql.rows(prefixed, &[&own, &text]).await?;
            let query =
                format!("/api/grants?grantee={own}&permission=list&project_id={own}&name_prefix=");
            api.delete(&format!(
                "{query}{}",
                encoded(&format!("{text}x").chars().take(255).collect::<String>())
            ))
            .await?
            .expect(if text.chars().count() == 255 {
                204
            } else {
                404
            })?;
            if text.chars().count() < 255 {
                api.delete(&format!("{query}{}", encoded(&text)))
                    .await?
                    .expect(204)?;
            }
        }
    }
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.project_grants($1) WHERE grantee = $1",
            &[&own],
        )
        .await?;
    assert_eq!(left, 0);
    Ok(())
}
