//! JWTs that are signed with a shared secret, as those of a Supabase project.

use pg_secrets_tests::{Answer, Api, Companion, Issuer, Proof, TestApp, eventually, project};
use serde_json::{Value, json};

/// A companion that accepts the issuer's JWTs, beside the shared one.
pub(crate) fn accepting(
    app: &TestApp,
    name: &str,
    further: &[(&'static str, String)],
) -> Companion {
    let mut environment = vec![
        ("PG_SECRETS_JWT_AUDIENCE", "secrets".to_owned()),
        (
            "PG_SECRETS_JWT_ISSUER",
            "https://issuer.example/".to_owned(),
        ),
    ];
    environment.extend_from_slice(further);
    Companion::start_with(&app.cluster, name, &environment)
}

/// A project whose secrets the subject may list and read, and one secret of it.
pub(crate) async fn granted(app: &TestApp, subject: &str) -> Proof<(String, String)> {
    let project = project("jwt");
    app.token_for(subject, &["list", "read"], &project, None)
        .await?;
    let body = json!({"project_id": project, "name": "key", "value": "a value"});
    let made = app.api().post("/api/secrets", body).await?.expect(201)?;
    Ok((project, made.id().to_owned()))
}

/// Status and body of an answer, but for what differs from request to request.
pub(crate) fn seen(answer: Answer) -> (u16, Value) {
    let mut body = answer.body;
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
    }
    (answer.status, body)
}

/// Asks with each of the tokens, and holds the answers against that to a wrong token of the database's.
pub(crate) async fn assert_refused(url: &str, project: &str, tokens: &[(String, String)]) -> Proof {
    let path = format!("/api/secrets?project_id={project}");
    let api = Api::new(url, Some("pgs_wrong"));
    let wrong = seen(api.get(&path).await?);
    assert_eq!(wrong.0, 401);
    let mut others = Vec::new();
    for (what, token) in tokens {
        let answer = seen(api.with_token(token).get(&path).await?);
        if answer != wrong {
            others.push((what, answer));
        }
    }
    assert!(
        others.is_empty(),
        "not refused as a wrong token: {others:#?}"
    );
    Ok(())
}

/// Valid claims with some of them replaced; by null, left out.
fn with(subject: &str, changes: Value) -> Value {
    let mut claims = Issuer::claims(subject);
    for (name, value) in changes.as_object().cloned().unwrap_or_default() {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims
}

#[tokio::test]
async fn a_valid_token_acts_for_its_sub_byte_for_byte() -> Proof {
    let app = TestApp::shared().await;
    let issuer = Issuer::new();
    let companion = accepting(
        app,
        "jwt-valid",
        &[("PG_SECRETS_JWT_SECRET", issuer.secret.clone())],
    );
    let sql = app.sql().await?;
    for subject in [
        "alice",
        "Alice ",
        "ünï\u{202e}'\"\\/%_*",
        "A\u{30a}",
        "\u{c5}",
    ] {
        let subject = &format!("{subject}{}", project(""));
        let (project, id) = granted(app, subject).await?;
        let api = Api::new(
            &companion.url(),
            Some(&issuer.hs256(&Issuer::claims(subject))),
        );
        let read = api.get(&format!("/api/secrets/{id}")).await?.expect(200)?;
        assert_eq!(read.text("value"), "a value", "{subject}");
        let actors: Vec<String> = sql
            .all(
                "SELECT actor || '/' || login FROM control_plane.audit_logs
                 WHERE action = 'secret.accessed' AND secret_id = $1::text::uuid",
                &[&id],
            )
            .await?;
        assert_eq!(actors, [format!("{subject}/secrets_companion")]);
        // Another subject is somebody else, however near.
        for other in [
            subject.to_uppercase(),
            format!("{subject} "),
            subject.replace(' ', ""),
        ] {
            if &other != subject {
                let token = issuer.hs256(&Issuer::claims(&other));
                let other = api.with_token(&token);
                let path = format!("/api/secrets?project_id={project}");
                other.get(&path).await?.expect(403)?;
            }
        }
    }
    // A companion that was not told of the issuer knows none of his tokens.
    let (project, _) = granted(app, "alice of the issuer").await?;
    let token = issuer.hs256(&Issuer::claims("alice of the issuer"));
    let path = format!("/api/secrets?project_id={project}");
    app.api_as(&token).get(&path).await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn claims_that_are_not_for_us_and_for_now_are_refused() -> Proof {
    let app = TestApp::shared().await;
    let issuer = Issuer::new();
    let companion = accepting(
        app,
        "jwt-claims",
        &[("PG_SECRETS_JWT_SECRET", issuer.secret.clone())],
    );
    let subject = &project("claims");
    let (project, _) = granted(app, subject).await?;
    let path = format!("/api/secrets?project_id={project}");
    let api = Api::new(&companion.url(), None);
    for changes in [
        json!({}),
        json!({"aud": ["secrets"]}),
        json!({"aud": ["other", "secrets"]}),
        json!({"nbf": Issuer::time(-5), "iat": null}),
        // Clocks differ a little.
        json!({"exp": Issuer::time(-5)}),
        json!({"nbf": Issuer::time(5), "iat": Issuer::time(5)}),
        json!({"role": "anon", "email": "a@b"}),
    ] {
        let token = issuer.hs256(&with(subject, changes.clone()));
        let answer = api.with_token(&token).get(&path).await?;
        assert_eq!(answer.status, 200, "{changes}: {}", answer.body);
    }
    let mut refused = Vec::new();
    for changes in [
        json!({"exp": null}),
        json!({"exp": Issuer::time(-120)}),
        json!({"exp": Issuer::time(600).to_string()}),
        json!({"exp": -1}),
        json!({"exp": 1e300}),
        json!({"nbf": Issuer::time(120)}),
        json!({"nbf": "now"}),
        json!({"iat": Issuer::time(120)}),
        json!({"iat": "now"}),
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": "other"}),
        json!({"aud": "Secrets"}),
        json!({"aud": "secrets "}),
        json!({"aud": []}),
        json!({"aud": ["other"]}),
        json!({"aud": [["secrets"]]}),
        json!({"aud": {"secrets": true}}),
        json!({"iss": null}),
        json!({"iss": "https://issuer.example"}),
        json!({"iss": ["https://issuer.example/"]}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": ".."}),
        json!({"sub": "a\nb"}),
        json!({"sub": "a".repeat(256)}),
        json!({"sub": 5}),
        json!({"sub": [subject]}),
    ] {
        let token = issuer.hs256(&with(subject, changes.clone()));
        refused.push((changes.to_string(), token));
    }
    // Two values of one claim: which of them was meant, nobody knows.
    let valid = Issuer::claims(subject).to_string();
    for (name, value) in [
        ("sub", "\"admin@local\"".to_owned()),
        ("aud", "\"secrets\"".to_owned()),
        ("iss", "\"https://issuer.example/\"".to_owned()),
        ("exp", Issuer::time(900).to_string()),
        ("iat", Issuer::time(-1).to_string()),
    ] {
        let twice = format!("{},\"{name}\":{value}}}", valid.trim_end_matches('}'));
        let token = Issuer::mac(r#"{"alg":"HS256"}"#, &twice, issuer.secret.as_bytes());
        refused.push((twice, token));
    }
    assert_refused(&companion.url(), &project, &refused).await
}

#[tokio::test]
async fn a_token_that_the_issuer_did_not_sign_as_agreed_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let issuer = Issuer::new();
    let companion = accepting(
        app,
        "jwt-forged",
        &[("PG_SECRETS_JWT_SECRET", issuer.secret.clone())],
    );
    let subject = &project("forged");
    let (project, _) = granted(app, subject).await?;
    let payload = Issuer::claims(subject).to_string();
    let secret = issuer.secret.as_bytes();
    let good = issuer.hs256(&Issuer::claims(subject));
    let path = format!("/api/secrets?project_id={project}");
    Api::new(&companion.url(), Some(&good))
        .get(&path)
        .await?
        .expect(200)?;
    let mut parts = good.split('.');
    let (header, signature) = (parts.next().unwrap_or(""), parts.next_back().unwrap_or(""));
    let other = Issuer::unsigned("{}", &Issuer::claims("admin@local").to_string());
    let other = other.split('.').nth(1).unwrap_or("").to_owned();

    let mut refused = vec![
        (
            "another payload".to_owned(),
            format!("{header}.{other}.{signature}"),
        ),
        (
            "no signature".to_owned(),
            good.trim_end_matches(signature).to_owned(),
        ),
        (
            "no third part".to_owned(),
            good[..good.len() - signature.len() - 1].to_owned(),
        ),
        ("a fourth part".to_owned(), format!("{good}.{signature}")),
        ("a longer signature".to_owned(), format!("{good}AAAA")),
        (
            "a shorter signature".to_owned(),
            good[..good.len() - 4].to_owned(),
        ),
        ("padding".to_owned(), format!("{good}=")),
        (
            "another secret".to_owned(),
            Issuer::new().hs256(&Issuer::claims(subject)),
        ),
        (
            "SHA-512".to_owned(),
            Issuer::mac_512(r#"{"alg":"HS512"}"#, &payload, secret),
        ),
        (
            "SHA-512 as HS256".to_owned(),
            Issuer::mac_512(r#"{"alg":"HS256"}"#, &payload, secret),
        ),
        ("no JWT".to_owned(), "eyJ".to_owned()),
        (
            "no JSON".to_owned(),
            Issuer::mac("alg: HS256", "sub: admin", secret),
        ),
    ];
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":""}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":["HS256"]}"#,
    ] {
        refused.push((header.to_owned(), Issuer::mac(header, &payload, secret)));
        let unsigned = Issuer::unsigned(header, &payload);
        refused.push((format!("{header}, unsigned"), format!("{unsigned}.")));
    }
    let mut huge = Issuer::claims(subject);
    huge["padding"] = "x".repeat(13_000).into();
    let too_long = Api::new(&companion.url(), Some(&issuer.hs256(&huge)));
    too_long.get(&path).await?.expect(401)?;
    assert_refused(&companion.url(), &project, &refused).await?;
    huge["padding"] = "x".repeat(5_000).into();
    Api::new(&companion.url(), Some(&issuer.hs256(&huge)))
        .get(&path)
        .await?
        .expect(200)?;

    let log = companion.log();
    for (what, token) in &refused {
        let end = token.rsplit('.').next().unwrap_or("");
        assert!(end.len() < 8 || !log.contains(end), "{what} is in the log");
    }
    assert!(!log.contains(&issuer.secret) && !log.contains(signature));
    Ok(())
}

#[tokio::test]
async fn tokens_of_the_database_work_beside_and_wrong_jwts_are_counted_with_wrong_tokens() -> Proof
{
    let app = TestApp::start("fsync = off\npg_secrets.maintenance_interval = '1s'").await;
    let issuer = Issuer::new();
    let companion = accepting(
        &app,
        "jwt-beside",
        &[("PG_SECRETS_JWT_SECRET", issuer.secret.clone())],
    );
    let project = project("beside");
    let path = format!("/api/secrets?project_id={project}");
    Api::new(&companion.url(), Some(&app.token))
        .get(&path)
        .await?
        .expect(200)?;
    let expired = issuer.hs256(&with("x", json!({"exp": 1})));
    let wrong = Api::new(&companion.url(), Some(&expired));
    for _ in 0..7 {
        wrong.get(&path).await?.expect(401)?;
    }
    let sql = app.sql().await?;
    let counted = eventually("the record", || async {
        let rows = sql
            .rows(
                "SELECT sum((detail->>'attempts')::bigint)::bigint, count(*), min(login)
                 FROM control_plane.audit_logs WHERE action = 'token.rejected' AND client_address IS NOT NULL",
                &[],
            )
            .await
            .ok()?;
        let row = rows.first()?;
        let attempts: Option<i64> = row.get(0);
        (attempts? >= 7).then(|| (attempts, row.get::<_, i64>(1), row.get::<_, String>(2)))
    })
    .await;
    assert_eq!(counted.0, Some(7));
    assert!(counted.1 <= 7, "{counted:?}");
    assert_eq!(counted.2, "secrets_companion");
    Ok(())
}
