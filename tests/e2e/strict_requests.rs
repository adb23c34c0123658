//! Requests that no client of good will sends: each is refused as problem+json, and finds no route but
//! its own.

use pg_secrets_tests::{Proof, TestApp, project};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends bytes, and gives status and body of the answer.
fn raw(app: &TestApp, head: &str, body: &[u8]) -> Proof<(u16, Value)> {
    let address = app.companion.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let head = format!(
        "{head}\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        app.token,
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // It may answer, and close, before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8(answer)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status: u16 = status.unwrap_or_default();
    if status >= 400 && !body.is_empty() {
        let lower = head.to_lowercase();
        assert!(
            lower.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert!(lower.contains("x-request-id: "), "{head}");
    }
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

#[tokio::test]
async fn a_trick_with_a_path_finds_no_other_route() -> Proof {
    let app = TestApp::shared().await;
    let project = project("tricks");
    let body = json!({"project_id": project, "name": "name", "value": "canary value"});
    let made = app.api().post("/api/secrets", body).await?.expect(201)?;
    let (id, p) = (made.id(), project.as_str());
    for (path, expected) in [
        (format!("/api/secrets/{id}"), 200),
        (format!("/api/../api/secrets/{id}"), 404),
        (format!("/api/./secrets/{id}"), 404),
        (format!("/x/%2e%2e/api/secrets/{id}"), 404),
        (format!("/healthz/../api/secrets/{id}"), 404),
        (format!("//api/secrets/{id}"), 404),
        (format!("/api//secrets/{id}"), 404),
        (format!("/api/secrets//{id}"), 404),
        (format!("/api/secrets/{id}/"), 404),
        (format!("/api/secrets/{id}%2f"), 404),
        (format!("/api/secrets%2f{id}"), 404),
        (format!("/api%2fsecrets/{id}"), 404),
        (format!("/API/secrets/{id}"), 404),
        (format!("/api/secrets/{id}%00"), 404),
        (format!("/api/secrets/{id}%20"), 404),
        (format!("/api/secrets/{id};a=b"), 404),
        (format!("/api/secrets/{id}.json"), 404),
        (format!("/api/secrets/x%2f..%2f{id}"), 404),
        (format!("/api/secrets/{id}/versions/1%2f"), 404),
        (format!("/api/secrets/{id}/versions/01x"), 404),
        (format!("/api/projects/{p}/secrets/name"), 200),
        (format!("/api/projects/{p}/secrets/name%00"), 400),
        (format!("/api/projects/{p}/secrets/..%2fname"), 404),
        (format!("/api/projects/{p}/secrets/%2e%2e"), 404),
        (
            format!("/api/projects/{p}%2fsecrets%2fname/secrets/name"),
            404,
        ),
        (format!("/api/projects/x/../{p}/secrets/name"), 404),
        (format!("/api/projects/{p}/secrets/%ff"), 400),
        (format!("/api/projects/{p}/secrets/%c0%ae"), 400),
        (format!("/api/projects/{p}/secrets/name?version=%00"), 400),
        (format!("/api/secrets?project_id={p}%00"), 400),
        ("/api/secrets?project_id=%ff".to_owned(), 400),
    ] {
        let (status, body) = raw(app, &format!("GET {path} HTTP/1.1"), b"")?;
        assert_eq!(status, expected, "{path}: {body}");
        let shows = body.to_string().contains("canary value");
        assert_eq!(shows, expected == 200, "{path}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn every_refusal_is_a_problem() -> Proof {
    let app = TestApp::shared().await;
    let huge = "9".repeat(400);
    let deep = "[".repeat(200_000);
    let deep_object = r#"{"a":"#.repeat(5_000);
    let long = format!(r#"{{"value":"{}"}}"#, "x".repeat(1_100_000));
    let json = "Content-Type: application/json";
    for (head, body, expected) in [
        ("GET /nothing HTTP/1.1", &b""[..], 404),
        ("PATCH /api/secrets HTTP/1.1", b"", 405),
        ("TRACE /api/secrets HTTP/1.1", b"", 405),
        ("HUNTER2 /api/secrets HTTP/1.1", b"", 405),
        ("POST /api/secrets HTTP/1.1", b"{}", 415),
        (
            "POST /api/secrets HTTP/1.1\r\nContent-Type: text/plain",
            b"{}",
            415,
        ),
        (&format!("POST /api/secrets HTTP/1.1\r\n{json}"), b"", 400),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            b"null",
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            b"{\"name\":\"\xff\"}",
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            b"{\"name\":\"\\ud800\"}",
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            huge.as_bytes(),
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            deep.as_bytes(),
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            deep_object.as_bytes(),
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            long.as_bytes(),
            413,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}\r\nIdempotency-Key: k"),
            long.as_bytes(),
            413,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            br#"{"project_id":"p","name":"n","value":"v","valeu":"w"}"#,
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            br#"{"project_id":"p","name":"n","value":"v","value":"w"}"#,
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            br#"{"project_id":"p","name":"n","value":"v"} {}"#,
            400,
        ),
        (
            &format!("POST /api/secrets HTTP/1.1\r\n{json}"),
            br#"{"project_id":"p","name":"n\u0000","value":"v"}"#,
            400,
        ),
        (
            &format!("POST /api/secrets?x=1 HTTP/1.1\r\n{json}"),
            br#"{"project_id":"p","name":"n","value":"v"}"#,
            400,
        ),
    ] {
        let (status, problem) = raw(app, head, body)?;
        assert_eq!(status, expected, "{head}: {problem}");
        assert_eq!(problem["status"], expected, "{head}");
        let kind = problem["type"].as_str().unwrap_or_default();
        assert!(kind.starts_with("urn:pg-secrets:problem:"), "{problem}");
        assert!(!problem.to_string().to_lowercase().contains("hunter2"));
    }
    Ok(())
}

#[tokio::test]
async fn a_value_may_have_64_kilobytes() -> Proof {
    let app = TestApp::shared().await;
    let (api, project) = (app.api(), project("64kB"));
    let new = |name: &str, size: usize| json!({"project_id": project, "name": name, "value": "\u{1}".repeat(size)});
    // Each character takes six bytes in the body.
    let made = api
        .post("/api/secrets", new("fits", 65_536))
        .await?
        .expect(201)?;
    let read = api
        .get(&format!("/api/secrets/{}", made.id()))
        .await?
        .expect(200)?;
    assert_eq!(read.text("value").len(), 65_536);
    api.post("/api/secrets", new("does not", 65_537))
        .await?
        .expect(413)?;
    Ok(())
}

#[tokio::test]
async fn a_requests_id_goes_in_and_out_and_into_the_audit() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("request-id");
    let body = json!({"project_id": project, "name": "n", "value": "v"}).to_string();
    let given = format!("{project}/7f3e");
    let headers = [("x-request-id", given.as_str())];
    let made = api
        .send("POST", "/api/secrets", Some(&body), &headers)
        .await?;
    let made = made.expect(201)?;
    assert_eq!(made.header("x-request-id"), given);
    let path = format!("/api/secrets/{}", made.id());
    api.send("GET", &path, None, &headers).await?.expect(200)?;
    let own = api.get(&path).await?.expect(200)?;
    let own = own.header("x-request-id");
    assert_eq!(own.len(), 36);
    let long = "x".repeat(129);
    let bad = [("x-request-id", long.as_str())];
    let replaced = api.send("GET", &path, None, &bad).await?.expect(200)?;
    let replaced = replaced.header("x-request-id");
    assert_eq!(replaced.len(), 36);
    let recorded: Vec<String> = sql
        .all(
            "SELECT request_id FROM control_plane.audit_logs WHERE project_id = $1 ORDER BY id",
            &[&project],
        )
        .await?;
    assert_eq!(recorded, [given.as_str(), &given, own, replaced]);
    Ok(())
}
