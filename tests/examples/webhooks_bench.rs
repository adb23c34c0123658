//! Measures webhooks on a private server with one companion, with the generator and the receiver on the same
//! machine: how long after its commit a rotation arrives, how many deliveries a second there are, and what
//! a dead receiver and one that hangs cost the others. Run by dev/bench.sh.

use anyhow::Context;
use pg_secrets_tests::{Proof, Session, TestApp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Sessions that rotate, each its own secrets.
const ROTATORS: usize = 4;

/// The secrets of each.
const SECRETS: usize = 50;

/// What arrived: the path, the version that it tells of, and when.
type Arrivals = Arc<Mutex<Vec<(String, Uuid, Instant)>>>;

#[tokio::main]
async fn main() -> Proof {
    let seconds: u64 = match std::env::var("PG_SECRETS_BENCH_SECONDS") {
        Ok(seconds) => seconds
            .parse()
            .expect("PG_SECRETS_BENCH_SECONDS is a number"),
        Err(_) => 10,
    };
    let length = Duration::from_secs(seconds);
    println!(
        "\nWebhooks, by one companion; generator, server and receiver on the same machine; {seconds} s each.\n"
    );

    let latency = Bench::start(1).await?.run(100, length).await?;
    report(
        "rotation's commit to arrival, 100 rotations a second",
        &format!("p50 {} ms, p99 {} ms", latency.at(50), latency.at(99)),
        "p99 < 250 ms",
        latency.at(99) < 250.0,
    );

    let sustained = Bench::start(10).await?.run(200, length).await?;
    report(
        "deliveries a second, of 2000 asked for, to 10 endpoints",
        &format!("{:.0}", sustained.rate),
        ">= 1000",
        sustained.rate >= 1000.0,
    );

    let bench = Bench::start(8).await?;
    let alone = bench.run(30, length).await?;
    bench.endpoint("http://127.0.0.1:9/dead").await?;
    bench.endpoint(&hanging().await?).await?;
    let beside = bench.run(30, length).await?;
    let ratio = beside.at(99) / alone.at(99);
    report(
        "p99 of 8 endpoints at 30 rotations a second, beside one that is dead and one that hangs",
        &format!(
            "{} ms, without them {} ms: {ratio:.2} times",
            beside.at(99),
            alone.at(99)
        ),
        "<= 1.5 times",
        ratio <= 1.5,
    );
    Ok(())
}

fn report(what: &str, measured: &str, goal: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("{what}: {measured} (goal {goal}: {verdict})");
}

/// What a run gave.
struct Measured {
    /// From commit to arrival, in ascending order.
    waits: Vec<Duration>,
    /// Arrivals a second while rotations went on.
    rate: f64,
}

impl Measured {
    /// A percentile, in milliseconds.
    fn at(&self, percent: usize) -> f64 {
        let position = (self.waits.len() * percent / 100).min(self.waits.len() - 1);
        (self.waits[position].as_secs_f64() * 10_000.0).round() / 10.0
    }
}

struct Bench {
    app: TestApp,
    arrivals: Arrivals,
    endpoints: usize,
    current: Mutex<Vec<Vec<Uuid>>>,
}

impl Bench {
    /// A server, a companion, a receiver, and so many endpoints of it.
    async fn start(endpoints: usize) -> Proof<Self> {
        let app = TestApp::start("pg_secrets.audit_head_interval = 0").await;
        let arrivals = Arrivals::default();
        let url = receiver(Arc::clone(&arrivals)).await?;
        let sql = app.sql().await?;
        let mut current = Vec::new();
        for rotator in 0..ROTATORS {
            let mut own = Vec::new();
            for number in 0..SECRETS {
                let create = "SELECT id FROM control_plane.create_secret('bench', $1, 'a value')";
                own.push(sql.one(create, &[&format!("{rotator} {number}")]).await?);
            }
            current.push(own);
        }
        let bench = Self {
            app,
            arrivals,
            endpoints,
            current: Mutex::new(current),
        };
        for number in 0..endpoints {
            bench.endpoint(&format!("{url}/{number}")).await?;
        }
        Ok(bench)
    }

    async fn endpoint(&self, url: &str) -> Proof {
        let create = "SELECT control_plane.create_endpoint('bench', $1)";
        self.app.sql().await?.rows(create, &[&url]).await?;
        Ok(())
    }

    /// Rotates so often a second, for this long, and waits for what is under way.
    async fn run(&self, per_second: u32, length: Duration) -> Proof<Measured> {
        lock(&self.arrivals).clear();
        let begun = Instant::now();
        let mut rotators = Vec::new();
        let current = std::mem::take(&mut *lock(&self.current));
        for own in current {
            let sql = self.app.sql().await?;
            let pause = Duration::from_secs(1) * ROTATORS as u32 / per_second;
            rotators.push(tokio::spawn(rotate(sql, own, pause, length)));
        }
        let mut committed: HashMap<Uuid, Instant> = HashMap::new();
        for rotator in rotators {
            let (own, commits) = rotator.await??;
            lock(&self.current).push(own);
            committed.extend(commits);
        }
        // What came in the second half: by then it is as it stays.
        let half = length / 2;
        let during = lock(&self.arrivals)
            .iter()
            .filter(|(_, _, at)| (half..length).contains(&(*at - begun)))
            .count();
        let all = committed.len() * self.endpoints;
        let deadline = Instant::now() + Duration::from_secs(120);
        while lock(&self.arrivals).len() < all {
            assert!(
                Instant::now() < deadline,
                "{} of {all} arrived",
                lock(&self.arrivals).len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut waits: Vec<Duration> = lock(&self.arrivals)
            .iter()
            .filter_map(|(_, version, at)| {
                Some(at.saturating_duration_since(*committed.get(version)?))
            })
            .collect();
        waits.sort_unstable();
        Ok(Measured {
            waits,
            rate: during as f64 / half.as_secs_f64(),
        })
    }
}

/// Rotates one secret after the other. Answers the current versions, and when each was committed.
async fn rotate(
    sql: Session,
    mut own: Vec<Uuid>,
    pause: Duration,
    length: Duration,
) -> Proof<(Vec<Uuid>, Vec<(Uuid, Instant)>)> {
    let mut commits = Vec::new();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(pause);
    let mut turn = 0;
    while begun.elapsed() < length {
        ticks.tick().await;
        let place = turn % own.len();
        turn += 1;
        let rotate = "SELECT id FROM control_plane.rotate_secret($1, 'another value')";
        own[place] = sql.one(rotate, &[&own[place]]).await?;
        commits.push((own[place], Instant::now()));
    }
    Ok((own, commits))
}

/// A receiver that does as little as one can; answers where it is.
async fn receiver(arrivals: Arrivals) -> Proof<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, Arc::clone(&arrivals)));
        }
    });
    Ok(url)
}

async fn serve(connection: TcpStream, arrivals: Arrivals) -> Proof {
    connection.set_nodelay(true)?;
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    loop {
        line.clear();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            connection.read_line(&mut line).await?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await?;
        let at = Instant::now();
        let event: serde_json::Value = serde_json::from_slice(&body)?;
        let version = event["data"]["secret_id"]
            .as_str()
            .context("no secret_id")?;
        let version = version.parse()?;
        lock(&arrivals).push((path, version, at));
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        connection.get_mut().write_all(answer).await?;
    }
}

/// A receiver that accepts and never answers.
async fn hanging() -> Proof<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hangs", listener.local_addr()?);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    Ok(url)
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
