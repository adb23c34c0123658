//! Values that the database makes.

use pg_secrets_tests::{Needles, Proof, TestApp, project};
use serde_json::json;
use std::collections::HashSet;
use uuid::Uuid;

#[tokio::test]
async fn a_secret_with_a_generator_is_rotated_without_a_value() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("made");
    let made = api
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let first = made.id().to_owned();
    let rotate = format!("/api/secrets/{first}/rotate");
    let refused = api.post(&rotate, json!({})).await?.expect(400)?;
    assert!(
        refused.text("detail").contains("set_rotation"),
        "{refused:?}"
    );

    let set = api
        .put_json(
            &format!("/api/secrets/{first}/rotation"),
            json!({"length": 24, "alphabet": "äöü€xyz0"}),
        )
        .await?
        .expect(200)?;
    assert_eq!(
        set.body,
        json!({"chain_id": first, "rotate_every": null, "length": 24, "alphabet": "äöü€xyz0", "next_rotation_at": null})
    );
    let second = api.post(&rotate, json!({})).await?.expect(201)?;
    assert!(second.body.get("value").is_none());
    let value = api
        .get(&format!("/api/secrets/{}", second.id()))
        .await?
        .expect(200)?;
    let value = value.text("value");
    assert_eq!(value.chars().count(), 24);
    assert!(value.chars().all(|c| "äöü€xyz0".contains(c)));
    // A value that is brought is taken, and an empty one is still none.
    let third = api
        .post(
            &format!("/api/secrets/{}/rotate", second.id()),
            json!({"value": "brought"}),
        )
        .await?
        .expect(201)?;
    let value: String = sql
        .one(
            "SELECT value FROM control_plane.get_secret($1::text::uuid)",
            &[&third.id()],
        )
        .await?;
    assert_eq!(value, "brought");
    api.post(
        &format!("/api/secrets/{}/rotate", third.id()),
        json!({"value": ""}),
    )
    .await?
    .expect(400)?;
    // Taken back, by the id of any version.
    let none = api
        .put_json(&format!("/api/secrets/{first}/rotation"), json!({}))
        .await?
        .expect(200)?;
    assert!(none.body["length"].is_null());
    api.post(&format!("/api/secrets/{}/rotate", third.id()), json!({}))
        .await?
        .expect(400)?;
    let details: Vec<serde_json::Value> = sql
        .all(
            "SELECT detail - 'administrator' FROM control_plane.audit_logs
             WHERE project_id = $1 AND action = 'rotation.changed' ORDER BY id",
            &[&project],
        )
        .await?;
    assert_eq!(
        details,
        [
            json!({"rotate_every_seconds": null, "length": 24, "alphabet_size": 8}),
            json!({"rotate_every_seconds": null, "length": null, "alphabet_size": null}),
        ]
    );
    // It goes with its secret, which is gone for good once its rows are.
    sql.rows(
        "SELECT control_plane.set_rotation($1::text::uuid, length => 8, alphabet => 'hex')",
        &[&first],
    )
    .await?;
    api.delete(&format!("/api/secrets/{first}"))
        .await?
        .expect(200)?;
    api.put_json(&format!("/api/secrets/{first}/rotation"), json!({}))
        .await?
        .expect(404)?;
    sql.run(&format!(
        "DELETE FROM control_plane.secrets WHERE chain_id = '{first}'"
    ))
    .await?;
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.rotations WHERE chain_id = $1::text::uuid",
            &[&first],
        )
        .await?;
    assert_eq!(left, 0);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_generated_or_scheduled_is_refused() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let project = project("refused");
    let id: Uuid = sql
        .one(
            "SELECT id FROM control_plane.create_secret($1, 'name', 'first')",
            &[&project],
        )
        .await?;
    for (arguments, what) in [
        ("length => 0, alphabet => 'hex'", "length"),
        ("length => -1, alphabet => 'hex'", "length"),
        ("length => 4097, alphabet => 'hex'", "length"),
        ("length => 8", "belong together"),
        ("alphabet => 'hex'", "belong together"),
        ("length => 8, alphabet => 'x'", "alphabet"),
        ("length => 8, alphabet => 'hunter2hunter'", "twice"),
        ("rotate_every => '59 seconds'", "rotate_every"),
        ("rotate_every => '-1 day'", "rotate_every"),
        ("rotate_every => '11 years'", "rotate_every"),
    ] {
        let statement = format!("SELECT control_plane.set_rotation('{id}', {arguments})");
        let refused = sql.refused(&statement, &[]).await;
        assert_eq!(refused.state, "PT400", "{arguments}: {refused:?}");
        assert!(refused.message.contains(what), "{refused:?}");
        assert!(!format!("{refused:?}").contains("hunter2"));
    }
    let set: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.rotations WHERE chain_id = $1",
            &[&id],
        )
        .await?;
    assert_eq!(set, 0);
    Ok(())
}

#[tokio::test]
async fn a_schedule_is_due_before_its_period_is_over_and_begins_anew_with_each_rotation() -> Proof {
    let app = TestApp::shared().await;
    let (api, sql) = (app.api(), app.sql().await?);
    let project = project("due");
    let mut left = HashSet::new();
    for number in 0..10_i32 {
        let id: Uuid = sql
            .one(
                "SELECT id FROM control_plane.create_secret($1, $2::integer::text, 'first')",
                &[&project, &number],
            )
            .await?;
        let set = api
            .put_json(
                &format!("/api/secrets/{id}/rotation"),
                json!({"rotate_every": "P10D"}),
            )
            .await?
            .expect(200)?;
        assert_eq!(set.body["rotate_every"], 864_000);
        let due = "SELECT extract(epoch FROM next_rotation_at - clock_timestamp())::bigint
                   FROM control_plane.rotations WHERE chain_id = $1";
        let seconds: i64 = sql.one(due, &[&id]).await?;
        assert!((777_590..=864_000).contains(&seconds), "{seconds}");
        left.insert(seconds);
        sql.run(&format!(
            "UPDATE control_plane.rotations SET next_rotation_at = now() WHERE chain_id = '{id}'"
        ))
        .await?;
        sql.rows("SELECT control_plane.rotate_secret($1, 'second')", &[&id])
            .await?;
        let seconds: i64 = sql.one(due, &[&id]).await?;
        assert!((777_590..=864_000).contains(&seconds), "{seconds}");
    }
    // Not all at the same time.
    assert!(left.len() > 5, "{left:?}");
    Ok(())
}

#[tokio::test]
async fn generated_values_never_repeat_and_stand_in_no_log_and_nowhere_in_the_data() -> Proof {
    let app = TestApp::start("log_statement = all\nlog_min_duration_statement = 0").await;
    let (api, sql) = (app.api(), app.sql().await?);
    let made = api
        .post(
            "/api/secrets",
            json!({"project_id": "p", "name": "name", "value": "first"}),
        )
        .await?
        .expect(201)?;
    let chain = made.id().to_owned();
    sql.rows(
        "SELECT control_plane.set_rotation($1::text::uuid, '1 day', 32, 'alnum')",
        &[&chain],
    )
    .await?;
    let mut values = Vec::new();
    let mut current = chain;
    for round in 0..60 {
        let new: String = if round % 2 == 0 {
            sql.one(
                "SELECT id::text FROM control_plane.rotate_secret($1::text::uuid)",
                &[&current],
            )
            .await?
        } else {
            let path = format!("/api/secrets/{current}/rotate");
            let rotated = api.post(&path, json!({})).await?.expect(201)?;
            rotated.id().to_owned()
        };
        let value: String = sql
            .one(
                "SELECT value FROM control_plane.get_secret($1::text::uuid)",
                &[&new],
            )
            .await?;
        assert_eq!(value.len(), 32);
        values.push(value);
        current = new;
    }
    let different: HashSet<&String> = values.iter().collect();
    assert_eq!(different.len(), values.len());
    // 1920 characters: each of 62 is due 31 times.
    for c in ('a'..='z').chain('A'..='Z').chain('0'..='9') {
        let count = values
            .iter()
            .map(|value| value.matches(c).count())
            .sum::<usize>();
        assert!((4..=75).contains(&count), "{c}: {count}");
    }
    sql.run("CHECKPOINT").await?;
    let needles = Needles::of(values.iter().map(String::as_str))?;
    let found = needles.find_below(app.cluster.home().path());
    assert!(found.is_empty(), "{found:#?}");
    assert!(needles.find(app.companion.log().as_bytes()).is_none());
    Ok(())
}
