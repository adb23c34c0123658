//! A secret that one may not see answers as one that does not exist: in status, in body, and in the time
//! that it takes.

use crate::access::login;
use crate::jwt::seen;
use pg_secrets_tests::{Api, Proof, Session, SqlError, TestApp, project};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How far apart the means may lie, in their own standard errors: beyond, chance is no explanation (one in
/// a hundred thousand).
const LIMIT: f64 = 4.5;

/// The part of all times, of both kinds together, that is looked at a second time by itself: a few very
/// slow answers, which have other causes, widen the error and could hide a small difference. The bound is
/// taken from both kinds as one, so that it cannot favour either.
const FASTER_PART: f64 = 0.9;

/// How many times each kind is asked.
fn rounds() -> usize {
    match std::env::var_os("PG_SECRETS_SOAK") {
        Some(_) => 10_000,
        None => 150,
    }
}

/// The times of what is hidden and of what is absent, in seconds.
#[derive(Debug, Default)]
struct Times([Vec<f64>; 2]);

impl Times {
    /// Adds a time to those of the hidden, or of the absent.
    fn add(&mut self, absent: bool, time: Duration) {
        self.0[usize::from(absent)].push(time.as_secs_f64());
    }

    /// The times that are not above a bound.
    fn up_to(&self, bound: f64) -> [Vec<f64>; 2] {
        let below = |times: &Vec<f64>| times.iter().copied().filter(|t| *t <= bound).collect();
        [below(&self.0[0]), below(&self.0[1])]
    }

    /// The time that this part of all times does not exceed.
    fn quantile(&self, part: f64) -> f64 {
        let mut all = self.0.concat();
        all.sort_by(f64::total_cmp);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let place = (all.len() as f64 * part) as usize;
        all[place.min(all.len() - 1)]
    }

    /// Prints Welch's t of all times and of the faster part; in the soak each must be small.
    fn judge(&self, what: &str) {
        let all = welch(&self.0);
        let faster = welch(&self.up_to(self.quantile(FASTER_PART)));
        let median = self.quantile(0.5) * 1e6;
        println!(
            "{what}: {} each, median {median:.0} us, t = {all:.2}, of the faster part {faster:.2}",
            self.0[0].len()
        );
        // A few hundred times on a busy machine prove nothing either way.
        if std::env::var_os("PG_SECRETS_SOAK").is_some() {
            assert!(
                all.abs() < LIMIT && faster.abs() < LIMIT,
                "{what}: {all} {faster}"
            );
        }
    }
}

/// Welch's t: the difference of the means by its standard error.
#[allow(clippy::cast_precision_loss)]
fn welch(samples: &[Vec<f64>; 2]) -> f64 {
    let [a, b] = samples.each_ref().map(|sample| {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let squares = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        (mean, squares / (count - 1.0) / count)
    });
    (a.0 - b.0) / (a.1 + b.1).sqrt()
}

/// Which of the two is asked next, so that nothing that drifts or recurs falls on one of them alone.
fn coin() -> bool {
    Uuid::new_v4().as_bytes()[0] & 1 == 1
}

/// What is asked of one and the other.
struct Asked {
    what: &'static str,
    hidden: [String; 2],
    absent: [String; 2],
}

/// A reader of names that begin with `mine`, in a project with others: paths, and arguments of functions.
async fn asked(sql: &Session, project: &str) -> Proof<Vec<Asked>> {
    let other = format!("{project}-other");
    let mut asked = Vec::new();
    for (of, by_id, by_name) in [
        (project, "by id, of the project", "by name, of the project"),
        (&other, "by id, of another", "by name, of another"),
    ] {
        let id: Uuid = sql
            .one(
                "SELECT id FROM control_plane.create_secret($1, 'hidden', 'a value')",
                &[&of],
            )
            .await?;
        // Its neighbour, so that both are looked for in the same place of every index.
        let mut neighbour = id.into_bytes();
        neighbour[15] ^= 1;
        let ids = [id, Uuid::from_bytes(neighbour)];
        let [hidden, absent] =
            ids.map(|id| [format!("/api/secrets/{id}"), format!("get_secret('{id}')")]);
        asked.push(Asked {
            what: by_id,
            hidden,
            absent,
        });
        let [hidden, absent] = ["hidden", "absent"].map(|name| {
            [
                format!("/api/projects/{of}/secrets/{name}"),
                format!("get_secret_by_name('{of}', '{name}')"),
            ]
        });
        asked.push(Asked {
            what: by_name,
            hidden,
            absent,
        });
    }
    Ok(asked)
}

async fn grant(sql: &Session, to: &str, kind: &str, project: &str) -> Proof {
    sql.rows(
        "SELECT control_plane.grant_project($1, 'read', $2, kind => $3, name_prefix => 'mine')",
        &[&to, &project, &kind],
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn over_rest_neither_answer_nor_time_tells_what_is_hidden() -> Proof {
    let app = TestApp::start("fsync = off\npg_secrets.denied_threshold = 0").await;
    let sql = app.sql().await?;
    let project = project("timing");
    grant(&sql, "somebody", "subject", &project).await?;
    let token: String = sql
        .one("SELECT control_plane.create_token('somebody')", &[])
        .await?;
    let api: Api = app.api_as(&token);
    for Asked {
        what,
        hidden: [hidden, _],
        absent: [absent, _],
    } in asked(&sql, &project).await?
    {
        let expected = seen(api.get(&absent).await?);
        assert_eq!(expected.0, 404);
        let mut times = Times::default();
        while times.0.iter().any(|times| times.len() < rounds()) {
            let is_absent = coin();
            let path = if is_absent { &absent } else { &hidden };
            let begun = Instant::now();
            let answer = api.get(path).await?;
            times.add(is_absent, begun.elapsed());
            assert_eq!(seen(answer), expected, "{what}: {path}");
        }
        times.judge(&format!("REST, {what}"));
    }
    Ok(())
}

#[tokio::test]
async fn in_sql_neither_error_nor_time_tells_what_is_hidden() -> Proof {
    let app = TestApp::start("fsync = off\npg_secrets.denied_threshold = 0").await;
    let sql = app.sql().await?;
    let project = project("timing");
    let role = login(&sql).await?;
    grant(&sql, &role, "role", &project).await?;
    let session = app.cluster.connect(&role, "postgres").await?;
    let refused = async |call: &str| -> (SqlError, Duration) {
        let statement = format!("SELECT control_plane.{call}");
        let begun = Instant::now();
        let error = session.refused_text(&statement).await;
        (error, begun.elapsed())
    };
    for Asked {
        what,
        hidden: [_, hidden],
        absent: [_, absent],
    } in asked(&sql, &project).await?
    {
        let (expected, _) = refused(&absent).await;
        assert_eq!(expected.state, "PT404");
        let mut times = Times::default();
        while times.0.iter().any(|times| times.len() < rounds()) {
            let is_absent = coin();
            let (error, time) = refused(if is_absent { &absent } else { &hidden }).await;
            times.add(is_absent, time);
            assert_eq!(error, expected, "{what}");
        }
        times.judge(&format!("SQL, {what}"));
    }
    Ok(())
}

#[test]
fn the_measure_sees_a_difference_and_none_where_there_is_none() {
    let noise = |seed: u32| f64::from(seed.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
    let sample = |from: u32, shift: f64| (from..from + 10_000).map(|n| noise(n) + shift).collect();
    let same: [Vec<f64>; 2] = [sample(0, 0.0), sample(20_000, 0.0)];
    let later: [Vec<f64>; 2] = [sample(0, 0.0), sample(20_000, 0.03)];
    assert!(welch(&same).abs() < LIMIT, "{}", welch(&same));
    assert!(welch(&later) < -LIMIT, "{}", welch(&later));
}
