//! Reading the audit log, over SQL and over REST.

use pg_secrets_tests::{Answer, Api, COMPANION_LOGIN, Proof, Session, TestApp, project};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

pub(crate) async fn create(sql: &Session, project: &str, name: &str) -> Proof<Uuid> {
    Ok(sql
        .one(
            "SELECT id FROM control_plane.create_secret($1, $2, 'a value')",
            &[&project, &name],
        )
        .await?)
}

pub(crate) async fn read(sql: &Session, id: Uuid) -> Proof {
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    Ok(())
}

pub(crate) async fn rotate(sql: &Session, id: Uuid) -> Proof<Uuid> {
    Ok(sql
        .one(
            "SELECT id FROM control_plane.rotate_secret($1, 'another value')",
            &[&id],
        )
        .await?)
}

/// A login that has a permission on a project, or on all.
pub(crate) async fn login(
    app: &TestApp,
    permission: &str,
    project: Option<&str>,
) -> Proof<(String, Session)> {
    let admin = app.sql().await?;
    let name = format!("login_{}", Uuid::new_v4().simple());
    admin.run(&format!("CREATE ROLE {name} LOGIN")).await?;
    admin
        .rows(
            "SELECT control_plane.grant_project($1, $2, $3)",
            &[&name, &permission, &project],
        )
        .await?;
    let session = app.cluster.connect(&name, "postgres").await?;
    Ok((name, session))
}

/// `action version` of what a call of list_audit answers.
pub(crate) async fn listed(sql: &Session, arguments: &str) -> Proof<Vec<String>> {
    Ok(sql
        .all(
            &format!(
                "SELECT concat_ws(' ', action, version) FROM control_plane.list_audit({arguments})"
            ),
            &[],
        )
        .await?)
}

pub(crate) fn records(answer: &Answer) -> &[Value] {
    answer.body["records"].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn ids(answer: &Answer) -> Vec<String> {
    let id = |record: &Value| record["id"].as_str().unwrap_or_default().to_owned();
    records(answer).iter().map(id).collect()
}

pub(crate) async fn page(api: &Api, query: &str) -> Proof<Answer> {
    Ok(api.get(&format!("/api/audit?{query}")).await?.expect(200)?)
}

#[tokio::test]
async fn each_filter_finds_its_records_and_no_others() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("audit_log");
    let first = create(&sql, &project, "one").await?;
    read(&sql, first).await?;
    let second = rotate(&sql, first).await?;
    read(&sql, second).await?;
    let other = create(&sql, &project, "two").await?;
    // Somebody who may not, and somebody who may.
    let (stranger, denied) = login(app, "list", Some(&project)).await?;
    denied
        .refused("SELECT control_plane.get_secret($1)", &[&first])
        .await;
    let (reader, reads) = login(app, "read", Some(&project)).await?;
    read(&reads, other).await?;

    let all = [
        "secret.accessed 1",
        "secret.access_denied 1",
        "secret.created 1",
        "secret.accessed 2",
        "secret.rotated 2",
        "secret.accessed 1",
        "secret.created 1",
    ];
    let of_one = [&all[1..2], &all[3..]].concat();
    let found = listed(&sql, &format!("'{project}'")).await?;
    let without_grants: Vec<&str> = found
        .iter()
        .map(String::as_str)
        .filter(|record| record.starts_with("secret."))
        .collect();
    assert_eq!(without_grants, all);
    for version in [first, second] {
        let of_secret = listed(&sql, &format!("secret_id => '{version}'")).await?;
        assert_eq!(of_secret, of_one, "any version finds the whole secret");
        let in_project = format!("'{project}', '{version}'");
        assert_eq!(listed(&sql, &in_project).await?, of_one);
        let elsewhere = format!("'another project', '{version}'");
        assert!(listed(&sql, &elsewhere).await?.is_empty());
    }
    for (arguments, expected) in [
        (format!("actor => '{reader}'"), &all[..1]),
        (format!("actor => '{stranger}'"), &all[1..2]),
        (
            format!("'{project}', actor => '{stranger}', outcome => 'denied'"),
            &all[1..2],
        ),
        (
            format!("actor => '{reader}', outcome => 'denied'"),
            &all[..0],
        ),
        (
            format!("actor => '{reader}', secret_id => '{first}'"),
            &all[..0],
        ),
        (format!("'elsewhere', actor => '{reader}'"), &all[..0]),
        (format!("'{project}', outcome => 'denied'"), &all[1..2]),
        (
            format!("secret_id => '{second}', outcome => 'denied'"),
            &all[1..2],
        ),
        (
            format!("secret_id => '{other}', outcome => 'denied'"),
            &all[..0],
        ),
        (
            format!("'{project}', action => 'secret.rotated'"),
            &all[4..5],
        ),
        (
            format!("secret_id => '{first}', action => 'secret.rotated', outcome => 'success'"),
            &all[4..5],
        ),
        (
            format!("secret_id => '{first}', action => 'secret.rotated', outcome => 'denied'"),
            &all[..0],
        ),
        (format!("secret_id => '{}'", Uuid::new_v4()), &all[..0]),
        ("'no such project'".to_owned(), &all[..0]),
        ("actor => 'no such actor'".to_owned(), &all[..0]),
        (
            format!("secret_id => '{first}', \"limit\" => 2"),
            &[all[1], all[3]],
        ),
    ] {
        assert_eq!(listed(&sql, &arguments).await?, expected, "{arguments}");
    }
    // What is asked for over REST is the same.
    let api = app.api();
    for query in [
        format!("project_id={project}"),
        format!("secret_id={first}"),
        format!("actor={reader}"),
        format!("project_id={project}&action=secret.rotated"),
        format!("project_id={project}&outcome=denied&actor={stranger}"),
        format!("project_id={project}&secret_id={first}&limit=2"),
    ] {
        let arguments: Vec<String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| format!("\"{name}\" => '{value}'"))
            .collect();
        let expected: Vec<Uuid> = sql
            .all(
                &format!(
                    "SELECT id FROM control_plane.list_audit({})",
                    arguments.join(", ")
                ),
                &[],
            )
            .await?;
        let expected: Vec<String> = expected.iter().map(Uuid::to_string).collect();
        assert!(!expected.is_empty(), "{query}");
        assert_eq!(ids(&page(&api, &query).await?), expected, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn since_is_inclusive_and_until_is_not() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("audit_log");
    let id = create(&sql, &project, "name").await?;
    for _ in 0..3 {
        read(&sql, id).await?;
    }
    let whole = page(&api, &format!("secret_id={id}")).await?;
    let at = |record: usize| {
        records(&whole)[record]["at"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let whole_ids = ids(&whole);
    assert_eq!(whole_ids.len(), 4);
    for asked in [
        format!("secret_id={id}"),
        format!("project_id={project}"),
        format!("project_id={project}&secret_id={id}&actor=postgres"),
    ] {
        let within = format!("{asked}&since={}&until={}", at(2), at(1));
        assert_eq!(ids(&page(&api, &within).await?), whole_ids[2..3], "{asked}");
        let since = format!("{asked}&since={}", at(2));
        assert_eq!(ids(&page(&api, &since).await?), whole_ids[..3], "{asked}");
        let until = format!("{asked}&until={}", at(2));
        assert_eq!(ids(&page(&api, &until).await?), whole_ids[3..], "{asked}");
    }
    let forever = format!("'{project}', since => '-infinity', until => 'infinity'");
    assert_eq!(listed(&sql, &forever).await?.len(), 4);
    let never = format!("'{project}', since => 'infinity'");
    assert!(listed(&sql, &never).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    for arguments in [
        "\"limit\" => 0",
        "\"limit\" => -1",
        "\"limit\" => 1001",
        "\"limit\" => NULL",
        "since => '2026-01-02', until => '2026-01-01'",
    ] {
        let refused = sql
            .refused(
                &format!("SELECT control_plane.list_audit({arguments})"),
                &[],
            )
            .await;
        assert_eq!(refused.state, "PT400", "{arguments}: {refused:?}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=99999999999",
        "cursor=x",
        "cursor=",
        "since=yesterday",
        "since=2026-01-01",
        "since=2026-01-01T00:00:00",
        "until=2026-13-01T00:00:00Z",
        "since=-009998-01-01T00:00:00Z",
        "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "secret_id=x",
        "before=01a20b79-8db1-7509-829c-0a55f98110ee",
        "limit=1&limit=2",
        "actor=%FF",
        "actor=%00",
    ] {
        api.get(&format!("/api/audit?{query}"))
            .await?
            .expect(400)
            .map_err(|error| error.context(query))?;
    }
    page(&api, "limit=1000&since=2026-01-01T00:00:00%2B01:00").await?;
    Ok(())
}

#[tokio::test]
async fn hostile_names_come_back_as_they_were() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("audit_log<script>alert(1)</script>");
    let names = [
        "</script><img src=x onerror=alert(1)>",
        "\u{202e}txt.exe\u{2066}",
        "it's \"quoted\" \\ and {{templated}} ${too}",
        "\u{feff}\u{200b}\u{1f511}",
        "'; DROP TABLE control_plane.audit_logs; --",
    ];
    for name in names {
        let id = create(&sql, &project, name).await?;
        sql.rows(
            "SELECT control_plane.get_secret($1, $2)",
            &[&id, &"<b>\"service\"</b>"],
        )
        .await?;
    }
    let found: Vec<String> = sql
        .all(
            "SELECT name FROM control_plane.list_audit($1, action => 'secret.accessed') ORDER BY id",
            &[&project],
        )
        .await?;
    assert_eq!(found, names);
    let escaped: String = project.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = page(
        &api,
        &format!("project_id={escaped}&action=secret.accessed"),
    )
    .await?;
    let mut over_rest: Vec<&str> = Vec::new();
    for record in records(&answer) {
        assert_eq!(record["project_id"], *project);
        assert_eq!(record["service"], "<b>\"service\"</b>");
        over_rest.push(record["name"].as_str().unwrap_or_default());
    }
    over_rest.reverse();
    assert_eq!(over_rest, names);
    Ok(())
}

#[tokio::test]
async fn a_record_over_rest_has_every_column() -> Proof {
    let app = TestApp::shared().await;
    let (sql, api) = (app.sql().await?, app.api());
    let project = project("audit_log");
    let id = create(&sql, &project, "name").await?;
    api.get_as("worker", &format!("/api/secrets/{id}"))
        .await?
        .expect(200)?;
    let answer = page(&api, &format!("secret_id={id}&limit=1")).await?;
    let record = &records(&answer)[0];
    let stored: Value = sql
        .one(
            "SELECT to_jsonb(a) - 'arrival' FROM control_plane.audit_logs AS a WHERE id = $1::text::uuid",
            &[&record["id"].as_str()],
        )
        .await?;
    let keys = |value: &Value| -> BTreeSet<String> {
        let object = value.as_object();
        object.map_or_else(BTreeSet::new, |object| object.keys().cloned().collect())
    };
    assert_eq!(keys(record), keys(&stored));
    for key in keys(record) {
        match key.as_str() {
            "at" => assert!(
                record["at"].as_str().is_some_and(|at| at.ends_with('Z')),
                "{record}"
            ),
            "client_address" => assert_eq!(record["client_address"], "127.0.0.1"),
            _ => assert_eq!(record[&key], stored[&key], "{key}"),
        }
    }
    assert_eq!(record["service"], "worker");
    assert_eq!(record["login"], COMPANION_LOGIN);
    assert!(record["request_id"].is_string());
    Ok(())
}
