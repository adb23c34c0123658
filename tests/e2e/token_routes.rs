//! Tokens and grants over REST and from the command line.

use pg_secrets_tests::{COMPANION_LOGIN, Proof, TestApp, postgres_binary, project};
use serde_json::{Value, json};
use std::process::{Command, Output};
use uuid::Uuid;

fn program(app: &TestApp, login: &str, token: Option<&str>, arguments: &[&str]) -> Output {
    let host = app
        .cluster
        .sockets()
        .display()
        .to_string()
        .replace('/', "%2F");
    let mut command = Command::new(postgres_binary("pg-secrets"));
    command.arg("token").args(arguments).env_clear().env(
        "DATABASE_URL",
        format!("postgresql://{login}@{host}/postgres"),
    );
    if let Some(token) = token {
        command.env("PG_SECRETS_TOKEN", token);
    }
    command.output().expect("pg-secrets runs")
}

#[tokio::test]
async fn an_administrator_makes_lists_and_revokes_tokens() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let subject = project("subject");
    let made = api
        .post(
            "/api/tokens",
            json!({"subject": subject, "service": "billing", "expires_at": "2999-01-01T00:00:00Z"}),
        )
        .await?
        .expect(201)?;
    let token = made.text("token").to_owned();
    assert!(token.starts_with("pgs_"), "{}", made.body);
    assert_eq!(
        made.header("location"),
        format!("/api/tokens/{}", made.id())
    );
    let own = app.api_as(&token);
    own.get("/api/secrets?project_id=nothing")
        .await?
        .expect(403)?;
    let path = format!("/api/tokens?subject={subject}");
    let listed = api.get(&path).await?.expect(200)?;
    let tokens = listed.body["tokens"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0]["id"], made.body["id"]);
    assert_eq!(tokens[0]["service"], "billing");
    assert!(!listed.body.to_string().contains(&token[4..]));
    assert!(tokens[0].get("token_sha256").is_none(), "{}", tokens[0]);

    // Who is no administrator learns nothing of tokens, nor which there are.
    own.get("/api/tokens").await?.expect(403)?;
    own.post("/api/tokens", json!({"subject": "admin@local"}))
        .await?
        .expect(403)?;
    let there = own
        .delete(&format!("/api/tokens/{}", made.id()))
        .await?
        .expect(404)?;
    let absent = own
        .delete(&format!("/api/tokens/{}", Uuid::new_v4()))
        .await?
        .expect(404)?;
    assert_eq!(there.text("detail"), absent.text("detail"));

    api.delete(&format!("/api/tokens/{}", made.id()))
        .await?
        .expect(204)?;
    own.get("/api/secrets?project_id=nothing")
        .await?
        .expect(401)?;
    api.delete(&format!("/api/tokens/{}", made.id()))
        .await?
        .expect(404)?;
    for body in [
        json!({"subject": ""}),
        json!({"subject": "s", "expires_at": "2001-01-01T00:00:00Z"}),
        json!({"subject": "s", "expires_at": "soon"}),
        json!({"subject": "s", "token": "mine"}),
    ] {
        api.post("/api/tokens", body).await?.expect(400)?;
    }
    Ok(())
}

#[tokio::test]
async fn grants_are_given_listed_and_taken_back_over_rest() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    let project = project("granted");
    let token = app.token_for(&project, &[], &project, None).await?;
    let own = app.api_as(&token);
    let list = format!("/api/secrets?project_id={project}");
    own.get(&list).await?.expect(403)?;
    let given = json!({
        "grantee": project, "permission": "list", "project_id": project,
        "kind": "subject", "name_prefix": "a/b", "expires_at": "2999-01-01T00:00:00Z",
    });
    let made = api.post("/api/grants", given).await?.expect(201)?;
    assert_eq!(made.text("name_prefix"), "a/b");
    assert_eq!(made.text("expires_at"), "2999-01-01T00:00:00Z");
    own.get(&list).await?.expect(200)?;
    let listed = api
        .get(&format!("/api/grants?project_id={project}"))
        .await?
        .expect(200)?;
    let grants: Vec<Value> = listed.body["grants"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(grants.contains(&made.body), "{}", listed.body);
    own.get(&format!("/api/grants?project_id={project}"))
        .await?
        .expect(403)?;
    own.post(
        "/api/grants",
        json!({"grantee": project, "permission": "read", "project_id": project}),
    )
    .await?
    .expect(403)?;
    let named = format!("/api/grants?grantee={project}&permission=list&project_id={project}");
    own.delete(&named).await?.expect(403)?;
    // It is another grant without its prefix.
    api.delete(&named).await?.expect(404)?;
    api.delete(&format!("{named}&name_prefix=a%2Fb&kind=subject"))
        .await?
        .expect(204)?;
    own.get(&list).await?.expect(403)?;
    api.post(
        "/api/grants",
        json!({"grantee": "x", "permission": "everything", "project_id": project}),
    )
    .await?
    .expect(400)?;
    Ok(())
}

#[tokio::test]
async fn the_command_makes_lists_and_revokes_tokens() -> Proof {
    let app = TestApp::shared().await;
    let subject = project("cli");
    // A login with rights of its own, and one that acts for the token in its environment.
    for (login, token) in [
        ("postgres", None),
        ("postgres", Some(app.token.as_str())),
        (COMPANION_LOGIN, Some(app.token.as_str())),
    ] {
        let made = program(
            app,
            login,
            token,
            &["create", &subject, "--service", "billing"],
        );
        assert!(made.status.success(), "{made:?}");
        let text = String::from_utf8(made.stdout)?;
        let own = text.strip_suffix('\n').unwrap_or_default();
        assert!(own.starts_with("pgs_") && !own.contains('\n'), "{text:?}");
        assert!(!String::from_utf8_lossy(&made.stderr).contains(own));
        app.api_as(own)
            .get("/api/secrets?project_id=p")
            .await?
            .expect(403)?;
        let listed = program(app, login, token, &["list", "--subject", &subject]);
        assert!(listed.status.success(), "{listed:?}");
        let lines = String::from_utf8(listed.stdout)?;
        let line = lines
            .lines()
            .find(|line| line.ends_with("without end"))
            .unwrap_or_default();
        let id = line.split('\t').next().unwrap_or_default();
        assert!(
            line.contains(&subject) && line.contains("billing"),
            "{lines}"
        );
        let revoked = program(app, login, token, &["revoke", id]);
        assert!(revoked.status.success(), "{revoked:?}");
        app.api_as(own)
            .get("/api/secrets?project_id=p")
            .await?
            .expect(401)?;
        assert!(!program(app, login, token, &["revoke", id]).status.success());
    }
    let nobody = program(app, COMPANION_LOGIN, None, &["list"]);
    assert!(!nobody.status.success());
    assert!(
        String::from_utf8_lossy(&nobody.stderr).contains("PG_SECRETS_TOKEN"),
        "{nobody:?}"
    );
    Ok(())
}
