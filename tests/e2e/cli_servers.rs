//! The command line before a server that is no companion, or means ill.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use pg_secrets_tests::{Cli, Proof, Sink, Terminal, TestApp, project};
use serde_json::json;
use std::process::Stdio;
use tokio::net::TcpListener;

/// A server that gives everybody the same answer.
async fn server(status: u16, headers: &'static [(&str, &str)], body: String) -> Proof<String> {
    let status = StatusCode::from_u16(status).expect("a status");
    let mut named = HeaderMap::new();
    for (name, value) in headers {
        named.insert(*name, value.parse().expect("a header"));
    }
    let answer = move || async move { (status, named, body).into_response() };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    Ok(url)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirection_is_followed() -> Proof {
    let elsewhere = Sink::start().await;
    for status in [301, 302, 303, 307, 308] {
        let to: &'static str = Box::leak(elsewhere.url("/stolen").into_boxed_str());
        let headers: &'static [(&str, &str)] = Box::leak(Box::new([("location", to)]));
        let url = server(status, headers, String::new()).await?;
        let cli = Cli::with(&url, Some("pgs_token"));
        let refused = cli.run(&["list", "--project", "p"]).expect(1);
        assert!(refused.err.contains("elsewhere"), "{}", refused.err);
        let _ = cli
            .run_with(&["set", "a", "--project", "p"], "value")
            .expect(1);
    }
    assert!(elsewhere.received().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_is_asked() -> Proof {
    let app = TestApp::shared().await;
    let proxy = Sink::start().await;
    let cli = Cli::of(app);
    let mut command = cli.command(&["list", "--project", "p"]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, proxy.url(""));
    }
    let _ = pg_secrets_tests::ran(&mut command, b"").expect(0);
    assert!(proxy.received().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_of_something_in_between_is_not_taken_for_an_answer() -> Proof {
    for (status, code) in [
        (200, 1),
        (400, 1),
        (401, 5),
        (404, 4),
        (500, 1),
        (502, 3),
        (503, 3),
    ] {
        let page = "<html>hunter2 \u{1b}[2J</html>".to_owned();
        let url = server(status, &[("content-type", "text/html")], page).await?;
        let cli = Cli::with(&url, Some("pgs_token"));
        let said = cli.run(&["list", "--project", "p"]).expect(code);
        assert!(!said.err.contains("hunter2"), "{}", said.err);
        // Whoever answers 404 to everything does not know the token.
        let login = cli.run_with(&["login", &url], "pgs_token");
        let _ = login.expect(code);
        assert!(!cli.login_file().exists());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_words_cannot_act_upon_the_terminal_and_are_masked() -> Proof {
    let problem = json!({
        "type": "urn:pg-secrets:problem:conflict",
        "detail": "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e} pgs_Zq7Xk2Vb9Wm4Rt6Yp1Ls8Nd3Jf5Hg0Ca",
        "request_id": "\u{1b}[31m",
    });
    let url = server(500, &[], problem.to_string()).await?;
    let said = Cli::with(&url, Some("pgs_token"))
        .run(&["list", "--project", "p"])
        .expect(1);
    assert!(
        !said.err.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']),
        "{said:?}"
    );
    assert!(said.err.contains("pgs_****"), "{}", said.err);

    let evil = "\u{1b}[2J\u{9b}31m\u{202e}\r\n";
    let version = json!({
        "id": uuid::Uuid::nil(), "name": evil, "version": 1, "state": evil, "created_by": evil,
        "created_at": "2026-01-01T00:00:00Z", "rotation_reason": evil, "consumers": 0, "stragglers": 0,
        "service": evil, "verified": true, "last_state": evil, "straggler": true, "endpoints": 1,
        "value": "v", "last_version": 1,
    });
    let all = json!({
        "secrets": [version], "versions": [version], "consumers": [version], "next_cursor": null,
    });
    let url = server(200, &[], all.to_string()).await?;
    let cli = Cli::with(&url, Some("pgs_token"));
    let harmless = |text: &str| {
        let acts = text
            .chars()
            .any(|c| c != '\n' && (c.is_control() || c == '\u{202e}'));
        assert!(!acts, "{}", text.escape_debug());
    };
    for json in [&[][..], &["--json"]] {
        let list = cli
            .run(&[&["list", "--project", "p"], json].concat())
            .expect(0);
        harmless(&list.out);
    }
    let refused = cli.run(&["run", "--project", "p", "--", "true"]);
    harmless(&refused.err);
    // Another secret than the one asked for is not the one to show, or to change.
    let _ = cli.run(&["history", "name", "--project", "p"]).expect(4);
    let _ = cli
        .run_with(&["rotate", "name", "--project", "p"], "x")
        .expect(4);
    Ok(())
}

#[tokio::test]
async fn what_the_database_holds_cannot_act_upon_the_terminal() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let (project, name) = (project("servers"), "a\u{202e}b");
    let of = ["--project", project.as_str()];
    let evil = "\u{1b}[2J\u{7}\nforged line";
    let _ = cli
        .run_with(&[&["set", name], &of[..]].concat(), "1")
        .expect(0);
    let set = ["set", name, "--reason", evil];
    let _ = cli.run_with(&[&set, &of[..]].concat(), "2").expect(0);
    let plain = [("NO_COLOR", "1")];
    for arguments in [["list", "--project"], ["history", name]] {
        let arguments = match arguments[0] {
            "list" => vec!["list", "--project", project.as_str()],
            _ => [&arguments[..], &of].concat(),
        };
        let (code, seen) = Terminal::start(&cli, &arguments, &plain).end();
        assert_eq!(code, 0, "{seen}");
        assert!(
            !seen.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{}",
            seen.escape_debug()
        );
        assert!(!seen.contains("\nforged"), "{seen}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_several_pages_is_read_to_its_end() -> Proof {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let page = |uri: axum::http::Uri| async move {
        let query = uri.query().unwrap_or_default();
        let (name, next) = match query {
            query if query.contains("cursor=two") => ("second", json!(null)),
            _ => ("first", json!("two")),
        };
        axum::Json(json!({"secrets": [{"name": name}], "next_cursor": next}))
    };
    tokio::spawn(axum::serve(listener, Router::new().fallback(page)).into_future());
    let cli = Cli::with(&url, Some("pgs_token"));
    let list = cli
        .run(&["list", "--json", "--project", "p"])
        .expect(0)
        .json();
    assert_eq!(
        list["secrets"],
        json!([{"name": "first"}, {"name": "second"}])
    );
    Ok(())
}

/// The system's own list of authorities decides, and `SSL_CERT_FILE` in its place.
#[tokio::test]
async fn https_is_for_servers_whose_certificate_is_vouched_for() -> Proof {
    let folder = tempfile::tempdir()?;
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let make = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ])
    .status()?;
    assert!(make.success());
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let accept = format!("127.0.0.1:{port}");
    let mut server = openssl(&[
        "s_server", "-accept", &accept, "-key", "key.pem", "-cert", "cert.pem", "-www",
    ])
    .spawn()?;
    pg_secrets_tests::eventually("the server", || async {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;
    let cli = Cli::with(&format!("https://127.0.0.1:{port}"), Some("pgs_token"));
    let list = ["list", "--project", "p"];
    let refused = cli.run(&list).expect(3);
    assert!(refused.err.contains("certificate"), "{}", refused.err);
    let mut command = cli.command(&list);
    command.env("SSL_CERT_FILE", folder.path().join("cert.pem"));
    let known = pg_secrets_tests::ran(&mut command, b"");
    server.kill()?;
    server.wait()?;
    // It answers, and is no companion.
    assert_eq!(known.code, 1, "{known:?}");
    Ok(())
}
