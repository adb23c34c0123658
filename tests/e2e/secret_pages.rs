//! Lists in pages.

use pg_secrets_tests::{Answer, Api, Proof, Session, TestApp, project};
use serde_json::Value;
use uuid::Uuid;

async fn make(sql: &Session, project: &str, names: &[&str]) -> Proof {
    for name in names {
        sql.rows(
            "SELECT control_plane.create_secret($1, $2, 'v')",
            &[&project, name],
        )
        .await?;
    }
    Ok(())
}

fn names(answer: &Answer) -> Vec<String> {
    let secrets = answer.body["secrets"].as_array().cloned();
    let name = |secret: Value| secret["name"].as_str().unwrap_or_default().to_owned();
    secrets.unwrap_or_default().into_iter().map(name).collect()
}

/// The ids of all pages, and how many pages there were.
async fn walk(api: &Api, query: &str) -> Proof<(Vec<String>, usize)> {
    walk_from(api, query, String::new()).await
}

/// The same from a page on that `cursor` names, as it stands in the query.
async fn walk_from(api: &Api, query: &str, mut cursor: String) -> Proof<(Vec<String>, usize)> {
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let page = api
            .get(&format!("/api/secrets?{query}{cursor}"))
            .await?
            .expect(200)?;
        pages += 1;
        let secrets = page.body["secrets"].as_array().cloned().unwrap_or_default();
        ids.extend(
            secrets
                .iter()
                .map(|s| s["id"].as_str().unwrap_or_default().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok((ids, pages)),
        }
    }
}

#[tokio::test]
async fn pages_hold_every_secret_once_and_in_order() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let project = project("pages");
    let some = ["a", "a/b", "B", "b c?&=+", "ä", "z", "\u{1f511}"];
    make(&sql, &project, &some).await?;
    let all: Vec<Uuid> = sql
        .all("SELECT id FROM control_plane.list_secrets($1)", &[&project])
        .await?;
    let all: Vec<String> = all.iter().map(Uuid::to_string).collect();
    assert_eq!(all.len(), some.len());
    for (limit, pages) in [(1, 7), (2, 4), (6, 2), (7, 1), (1000, 1)] {
        let walked = walk(&api, &format!("project_id={project}&limit={limit}")).await?;
        assert_eq!(walked, (all.clone(), pages), "{limit}");
    }
    let usual = walk(&api, &format!("project_id={project}")).await?;
    assert_eq!(usual, (all, 1));
    // A page goes on behind its last name, whatever has become of that secret.
    let first = api
        .get(&format!("/api/secrets?project_id={project}&limit=2"))
        .await?
        .expect(200)?;
    let last = first.body["secrets"][1]["id"].as_str().unwrap_or_default();
    api.delete(&format!("/api/secrets/{last}"))
        .await?
        .expect(200)?;
    api.post_nothing(&format!("/api/secrets/{last}/purge"))
        .await?
        .expect(200)?;
    let cursor = format!("&cursor={}", first.text("next_cursor"));
    let (rest, _) = walk_from(&api, &format!("project_id={project}&limit=2"), cursor).await?;
    assert_eq!(rest.len(), 5);
    Ok(())
}

#[tokio::test]
async fn a_list_is_narrowed_by_name_prefix_and_state() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let api = app.api();
    let project = project("narrowed");
    make(&sql, &project, &["app/one", "app/two", "App/three", "ops"]).await?;
    let list = async |query: &str| -> Proof<Vec<String>> {
        let path = format!("/api/secrets?project_id={project}&{query}");
        Ok(names(&api.get(&path).await?.expect(200)?))
    };
    assert_eq!(list("prefix=app/").await?, ["app/one", "app/two"]);
    assert_eq!(list("prefix=app%2F").await?, ["app/one", "app/two"]);
    assert_eq!(list("name=ops").await?, ["ops"]);
    assert_eq!(list("name=op").await?, [""; 0]);
    assert_eq!(list("name=app/one&prefix=ops").await?, [""; 0]);
    assert_eq!(list("prefix=%25").await?, [""; 0]);
    // One name that was deleted three times is three secrets.
    for _ in 0..3 {
        make(&sql, &project, &["gone"]).await?;
        sql.rows(
            "SELECT control_plane.delete_secret(control_plane.secret_id($1, 'gone'))",
            &[&project],
        )
        .await?;
    }
    assert_eq!(list("name=gone").await?, [""; 0]);
    assert_eq!(list("state=deleted").await?, ["gone"; 3]);
    assert_eq!(list("state=deleted&name=gone").await?, ["gone"; 3]);
    assert_eq!(list("state=deleted&prefix=gon").await?, ["gone"; 3]);
    assert_eq!(list("state=deleted&name=ops").await?, [""; 0]);
    let query = format!("project_id={project}&state=deleted&limit=1");
    let (mut ids, pages) = walk(&api, &query).await?;
    assert_eq!((ids.len(), pages), (3, 3));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_page_shows_what_its_reader_may_list_and_nothing_else() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("reach");
    make(&sql, &project, &["app/one", "app/two", "ops/three"]).await?;
    let token = app.token_for(&project, &["read"], &project, None).await?;
    let api = app.api_as(&token);
    let path = format!("/api/secrets?project_id={project}&limit=1");
    api.get(&path).await?.expect(403)?;
    sql.rows(
        "SELECT control_plane.grant_project($1, 'list', $1, kind => 'subject', name_prefix => 'app/')",
        &[&project],
    )
    .await?;
    let query = format!("project_id={project}&limit=1");
    assert_eq!(walk(&api, &query).await?.0.len(), 2);
    for query in ["prefix=ops", "name=ops/three"] {
        let path = format!("/api/secrets?project_id={project}&{query}");
        let page = api.get(&path).await?.expect(200)?;
        assert_eq!(page.body["secrets"], Value::Array(vec![]), "{query}");
    }
    // Behind the last row that somebody else saw.
    let page = app.api().get(&format!("{path}&prefix=app/two")).await?;
    let id = page.expect(200)?.body["secrets"][0]["id"].to_string();
    let id: Uuid = id.trim_matches('"').parse()?;
    let behind: Vec<String> = sql
        .all(
            "SELECT name FROM control_plane.list_secrets_page($1, after_name => 'app/two', after_id => $2)",
            &[&project, &id],
        )
        .await?;
    assert_eq!(behind, ["ops/three"]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_page_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let api = app.api();
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "cursor=x",
        "cursor=",
        "cursor=%00",
        "state=x",
        "nothing=1",
        "limit=1&limit=2",
        "project_id=q",
        "prefix=%ff",
    ] {
        let path = format!("/api/secrets?project_id=p&{query}");
        api.get(&path).await?.expect(400)?;
    }
    api.get("/api/secrets").await?.expect(400)?;
    let sql = app.sql().await?;
    for call in [
        "list_secrets_page('p', \"limit\" => 0)",
        "list_secrets_page('p', \"limit\" => NULL)",
        "list_secrets_page('p', \"limit\" => 10001)",
        "list_secrets_page('p', after_name => 'x')",
        "list_secrets_page('p', after_id => gen_random_uuid())",
    ] {
        let refused = sql
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, "PT400", "{call}: {refused:?}");
    }
    Ok(())
}
