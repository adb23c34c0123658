//! JWTs that are signed with keys which their issuer publishes.

use crate::jwt::{accepting, assert_refused, granted, seen};
use pg_secrets_tests::{Api, Issuer, Proof, TestApp, companion_binary, eventually, project};
use serde_json::{Value, json};
use std::process::Command;

/// A file with a set of keys.
fn file_of(set: &Value) -> Proof<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), set.to_string())?;
    Ok(file)
}

fn path_of(file: &tempfile::NamedTempFile) -> (&'static str, String) {
    ("PG_SECRETS_JWKS", file.path().display().to_string())
}

#[tokio::test]
async fn a_published_key_verifies_by_its_own_algorithm_and_no_other() -> Proof {
    let app = TestApp::shared().await;
    let issuer = Issuer::new();
    let keys = file_of(&issuer.key_set())?;
    let companion = accepting(app, "jwks-file", &[path_of(&keys)]);
    let subject = &project("published");
    let (project, _) = granted(app, subject).await?;
    let claims = Issuer::claims(subject);
    let path = format!("/api/secrets?project_id={project}");
    for token in [
        issuer.rs256(
            &json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}),
            &claims,
        ),
        issuer.es256(&json!({"alg": "ES256", "kid": "ec"}), &claims),
    ] {
        let api = Api::new(&companion.url(), Some(&token));
        api.get(&path).await?.expect(200)?;
    }

    let stranger = Issuer::new();
    let own_key = stranger.key_set()["keys"][0].clone();
    let mut refused: Vec<(String, String)> = Vec::new();
    for header in [
        json!({"alg": "RS256"}),
        json!({"alg": "RS256", "kid": "nobody's"}),
        json!({"alg": "RS256", "kid": "RSA"}),
        json!({"alg": "RS256", "kid": "ec"}),
        json!({"alg": "RS256", "kid": "for encryption"}),
        json!({"alg": "RS256", "kid": "for PS256"}),
        json!({"alg": "RS384", "kid": "rsa"}),
        json!({"alg": "PS256", "kid": "rsa"}),
        json!({"alg": "ES256", "kid": "rsa"}),
        json!({"alg": "none", "kid": "rsa"}),
    ] {
        refused.push((header.to_string(), issuer.rs256(&header, &claims)));
    }
    for header in [
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "kid": "rsa"}),
        json!({"alg": "RS256", "kid": "ec"}),
        json!({"alg": "ES384", "kid": "ec"}),
    ] {
        refused.push((header.to_string(), issuer.es256(&header, &claims)));
    }
    let der = issuer.es256_der(&json!({"alg": "ES256", "kid": "ec"}), &claims);
    refused.push(("a signature in DER".to_owned(), der));
    // Somebody else's keys, also where the token itself says where they are.
    for header in [
        json!({"alg": "RS256", "kid": "rsa"}),
        json!({"alg": "RS256", "kid": "rsa", "jwk": own_key}),
        json!({"alg": "RS256", "kid": "rsa", "jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/"}),
    ] {
        refused.push((header.to_string(), stranger.rs256(&header, &claims)));
    }
    let header = json!({"alg": "ES256", "kid": "ec"});
    refused.push((
        "another EC key".to_owned(),
        stranger.es256(&header, &claims),
    ));
    // What is public is no secret, whatever the header says that it is.
    for kid in ["rsa", "oct", "nobody's"] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        let keys = issuer.public_texts().into_iter();
        for key in keys.chain([issuer.secret.clone().into_bytes()]) {
            let token = Issuer::mac(&header, &claims.to_string(), &key);
            refused.push((header.clone(), token));
        }
    }
    assert_refused(&companion.url(), &project, &refused).await
}

#[tokio::test]
async fn a_shared_secret_and_published_keys_are_never_taken_for_each_other() -> Proof {
    let app = TestApp::shared().await;
    let issuer = Issuer::new();
    let keys = file_of(&issuer.key_set())?;
    let secret = tempfile::NamedTempFile::new()?;
    std::fs::write(secret.path(), format!("{}\n", issuer.secret))?;
    let secret_file = secret.path().display().to_string();
    let companion = accepting(
        app,
        "jwks-both",
        &[path_of(&keys), ("PG_SECRETS_JWT_SECRET_FILE", secret_file)],
    );
    let subject = &project("both");
    let (project, _) = granted(app, subject).await?;
    let claims = Issuer::claims(subject);
    let path = format!("/api/secrets?project_id={project}");
    let named = json!({"alg": "HS256", "kid": "an old one"}).to_string();
    for token in [
        issuer.hs256(&claims),
        Issuer::mac(&named, &claims.to_string(), issuer.secret.as_bytes()),
        issuer.rs256(&json!({"alg": "RS256", "kid": "rsa"}), &claims),
        issuer.es256(&json!({"alg": "ES256", "kid": "ec"}), &claims),
    ] {
        let api = Api::new(&companion.url(), Some(&token));
        api.get(&path).await?.expect(200)?;
    }
    // The same where a token without a name could mean the one published key.
    let only = json!({"keys": [issuer.key_set()["keys"][1]]});
    let only = file_of(&only)?;
    let secret = ("PG_SECRETS_JWT_SECRET", issuer.secret.clone());
    let with_one = accepting(app, "jwks-one", &[path_of(&only), secret]);
    for token in [
        issuer.hs256(&claims),
        issuer.es256(&json!({"alg": "ES256"}), &claims),
    ] {
        let api = Api::new(&with_one.url(), Some(&token));
        api.get(&path).await?.expect(200)?;
    }
    let mut refused = Vec::new();
    for header in [
        json!({"alg": "HS256", "kid": "rsa"}),
        json!({"alg": "RS256", "kid": "rsa"}),
        json!({"alg": "RS256"}),
        json!({"alg": "HS256"}),
    ] {
        let header = header.to_string();
        for key in issuer.public_texts() {
            let token = Issuer::mac(&header, &claims.to_string(), &key);
            refused.push((header.clone(), token));
        }
    }
    // The secret itself does not do for a published key either.
    let header = json!({"alg": "HS256", "kid": "rsa"}).to_string();
    let token = Issuer::mac(&header, &claims.to_string(), issuer.secret.as_bytes());
    refused.push((header, token));
    assert_refused(&companion.url(), &project, &refused).await
}

#[tokio::test]
async fn keys_of_a_url_follow_the_issuer_and_no_redirection() -> Proof {
    let app = TestApp::shared().await;
    let (old, new) = (Issuer::new(), Issuer::new());
    let url = old.serve().await;
    old.publish(&old.key_set());
    let companion = accepting(app, "jwks-url", &[("PG_SECRETS_JWKS", url.clone())]);
    let moved = url.replace("/keys", "/moved");
    let astray = accepting(app, "jwks-moved", &[("PG_SECRETS_JWKS", moved)]);
    let subject = &project("followed");
    let (project, _) = granted(app, subject).await?;
    let claims = Issuer::claims(subject);
    let path = &format!("/api/secrets?project_id={project}");
    let header = json!({"alg": "RS256", "kid": "rsa"});
    let first = &Api::new(&companion.url(), Some(&old.rs256(&header, &claims)));
    eventually("the first keys", || async {
        (first.get(path).await.ok()?.status == 200).then_some(())
    })
    .await;

    let mut next = new.key_set();
    next["keys"][0]["kid"] = "next".into();
    old.publish(&next);
    let header = json!({"alg": "RS256", "kid": "next"});
    let second = &Api::new(&companion.url(), Some(&new.rs256(&header, &claims)));
    eventually("the next keys", || async {
        (second.get(path).await.ok()?.status == 200).then_some(())
    })
    .await;
    // Those that are published no more are gone.
    assert_eq!(seen(first.get(path).await?).0, 401);
    // An answer that is no set of keys changes nothing.
    old.publish(&json!({"keys": []}));
    let header = json!({"alg": "RS256", "kid": "yet another"});
    let third = Api::new(&companion.url(), Some(&new.rs256(&header, &claims)));
    assert_eq!(third.get(path).await?.status, 401);
    eventually("what the log says", || async {
        companion
            .log()
            .contains("the keys of JWTs cannot be read")
            .then_some(())
    })
    .await;
    assert_eq!(second.get(path).await?.status, 200);
    assert!(astray.log().contains("the server answers 307"));
    Ok(())
}

#[tokio::test]
async fn the_service_does_not_start_with_settings_that_check_nothing() -> Proof {
    let short = "hunter2".to_owned();
    let long = "a secret that is long enough: hunter2".to_owned();
    let no_keys = file_of(&json!({"keys": [{"kty": "oct", "kid": "a", "k": "aHVudGVyMg"}]}))?;
    let no_set = file_of(&json!(["hunter2"]))?;
    let twice = Issuer::new().key_set();
    let twice = file_of(&json!({"keys": [twice["keys"][0], twice["keys"][0]]}))?;
    let mut weak = Issuer::new().key_set();
    weak["keys"][0]["n"] = "AQAB".into();
    let weak = file_of(&weak)?;
    let audience = ("PG_SECRETS_JWT_AUDIENCE", "secrets".to_owned());
    for (what, environment) in [
        ("no key", vec![audience.clone()]),
        ("no audience", vec![("PG_SECRETS_JWT_SECRET", long.clone())]),
        (
            "a short secret",
            vec![audience.clone(), ("PG_SECRETS_JWT_SECRET", short)],
        ),
        (
            "no file",
            vec![
                audience.clone(),
                ("PG_SECRETS_JWT_SECRET_FILE", "/none".to_owned()),
            ],
        ),
        (
            "no keys",
            vec![audience.clone(), ("PG_SECRETS_JWKS", "/none".to_owned())],
        ),
        ("nothing usable", vec![audience.clone(), path_of(&no_keys)]),
        ("no set", vec![audience.clone(), path_of(&no_set)]),
        ("one name twice", vec![audience.clone(), path_of(&twice)]),
        ("a weak key", vec![audience.clone(), path_of(&weak)]),
        (
            "plain http",
            vec![
                audience.clone(),
                ("PG_SECRETS_JWKS", "http://192.0.2.1/keys".to_owned()),
            ],
        ),
    ] {
        let ran = Command::new("timeout")
            .arg("20")
            .arg(companion_binary())
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", "postgresql://nobody@%2Fnowhere/none")
            .env("PG_SECRETS_LISTEN", "127.0.0.1:0")
            .envs(environment)
            .output()?;
        assert!(!ran.status.success(), "{what} is no obstacle");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(
            said.contains("JWT") || said.contains("JWKS"),
            "{what}: {said}"
        );
        assert!(!said.contains("hunter2"), "{what}: {said}");
    }
    Ok(())
}
