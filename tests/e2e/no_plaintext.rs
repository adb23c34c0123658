//! No value reaches a disk or a log.

use pg_secrets_tests::{Needles, Proof, Sink, TestApp};
use serde_json::json;
use uuid::Uuid;

/// A value that stands nowhere by chance.
fn value(number: usize) -> String {
    format!("plaintext-{number}-{}", Uuid::new_v4().simple())
}

#[tokio::test]
async fn no_value_stands_in_any_log_or_anywhere_in_the_data() -> Proof {
    let app = TestApp::start("").await;
    let api = app.api();
    let sink = Sink::start().await;
    let values: Vec<String> = (0..16).map(value).collect();
    let mut next = values.iter();
    let mut fresh = || next.next().expect("another value").as_str();

    let hook = api
        .post(
            "/api/webhooks",
            json!({"project_id": "p", "url": sink.url("/all")}),
        )
        .await?
        .expect(201)?;

    // Over REST: what succeeds, and what fails with a value in the request.
    let first = api
        .post(
            "/api/secrets",
            json!({"project_id": "p", "name": "rest", "value": fresh()}),
        )
        .await?
        .expect(201)?;
    let path = format!("/api/secrets/{}", first.id());
    api.get_as("worker", &path).await?.expect(200)?;
    api.post(&format!("{path}/rotate"), json!({"value": fresh()}))
        .await?
        .expect(201)?;
    api.post(&format!("{path}/rotate"), json!({"value": fresh()}))
        .await?
        .expect(409)?;
    api.post(
        "/api/secrets",
        json!({"project_id": "p", "name": "rest", "value": fresh()}),
    )
    .await?
    .expect(409)?;
    let wrong = fresh();
    api.post_text(
        "/api/secrets",
        &format!("{{\"value\": \"{wrong}\", \"project_id\": 1}}"),
    )
    .await?
    .expect(400)?;
    api.post_text("/api/secrets", &format!("{{\"value\": {wrong}"))
        .await?
        .expect(400)?;
    for verb in ["rollback", "restore", "purge", "extend-grace", "end-grace"] {
        let body = json!({"value": wrong, "to_version": 1, "by": 1});
        let path = format!("{path}/{verb}");
        api.post(&path, body).await?.expect(400)?;
    }
    api.get(&format!("/api/secrets/{}", fresh()))
        .await?
        .expect(404)?;
    api.get(&format!("/api/secrets?project_id=p&password={}", fresh()))
        .await?
        .expect(400)?;

    // By psql with literals, as people do.
    let sql = app.sql().await?;
    sql.run(&format!(
        "SELECT control_plane.create_secret('p', 'sql', '{}')",
        fresh()
    ))
    .await?;
    sql.run("SELECT control_plane.get_secret_by_name('p', 'sql', service => 'worker')")
        .await?;
    sql.run(&format!(
        "SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'sql'), '{}', 'a reason')",
        fresh()
    ))
    .await?;
    // From row to row, without leaving the server.
    sql.run(
        "SELECT control_plane.rollback_secret(control_plane.secret_id('p', 'sql'), 1, 'another')",
    )
    .await?;
    for (state, statement) in [
        (
            "PT409",
            "SELECT control_plane.create_secret('p', 'sql', '{}')",
        ),
        (
            "PT400",
            "SELECT control_plane.create_secret(NULL, 'sql', '{}')",
        ),
        (
            "PT400",
            "SELECT control_plane.create_secret('p', NULL, '{}')",
        ),
        ("PT400", "SELECT control_plane.rotate_secret(NULL, '{}')"),
        ("22P02", "SELECT control_plane.rotate_secret('{}', 'x')"),
    ] {
        let statement = statement.replace("{}", fresh());
        let refused = sql.refused_text(&statement).await;
        assert_eq!(refused.state, state, "{refused:?}");
    }
    sql.rows(
        "SELECT control_plane.create_secret('p', 'bound', $1)",
        &[&fresh()],
    )
    .await?;
    let refused = sql
        .refused(
            "SELECT control_plane.create_secret('p', 'bound', $1)",
            &[&fresh()],
        )
        .await;
    assert_eq!(refused.state, "PT409");
    sink.wait_for("/all", 5).await;

    sql.run("CHECKPOINT").await?;
    let signing = hook.text("secret").trim_start_matches("whsec_").to_owned();
    let all = values
        .iter()
        .chain([&app.token, &signing])
        .map(String::as_str);
    let needles = Needles::of(all)?;
    let found = needles.find_below(app.cluster.home().path());
    assert!(found.is_empty(), "{found:#?}");
    assert!(needles.find(app.companion.log().as_bytes()).is_none());
    for one in sink.received() {
        assert!(needles.find(&one.body).is_none());
        assert!(
            needles
                .find(format!("{:?}", one.headers).as_bytes())
                .is_none()
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_search_finds_a_value_that_was_planted_in_any_form() -> Proof {
    let app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    sql.run("CREATE TABLE planted (form text)").await?;
    for form in [
        "'{}'::text",
        "'x' || '{}' || 'x'",
        "encode('{}', 'hex')",
        "upper(encode('{}', 'hex'))",
        "encode('{}', 'base64')",
        "encode('1{}', 'base64')",
        "encode('12{}', 'base64')",
    ] {
        // Short enough that Postgres breaks no line in its base64.
        let value = &value(0)[..30];
        let needles = Needles::of([value])?;
        let data = app.cluster.data();
        assert!(needles.find_below(&data).is_empty());
        // Twice: a header of the log's pages may cut one of them.
        let statement = format!(
            "INSERT INTO planted SELECT {} FROM generate_series(1, 2)",
            form.replace("{}", value)
        );
        sql.run(&statement).await?;
        sql.run("CHECKPOINT").await?;
        let found = needles.find_below(&data);
        assert!(
            found.iter().any(|file| file.contains("/base/")),
            "{form}: {found:?}"
        );
        assert!(
            found.iter().any(|file| file.contains("/pg_wal/")),
            "{form}: {found:?}"
        );
    }
    let logged = value(1);
    sql.refused_text(&format!("SELECT '{logged}'::integer"))
        .await;
    let needles = Needles::of([logged.as_str()])?;
    let found = needles.find_below(app.cluster.home().path());
    assert!(
        found.iter().any(|file| file.contains("/server.log")),
        "{found:?}"
    );
    Ok(())
}
