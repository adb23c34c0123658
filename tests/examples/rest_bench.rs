//! Measures reads of one secret over REST, beside the same SQL call through tokio-postgres and beside a bare
//! handler that does a SELECT and the INSERT of a record in one statement; server, service and generator on
//! the same machine. Run by dev/bench.sh. With the argument `bare` it is that handler.

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use pg_secrets_tests::{COMPANION_LOGIN, Proof, TestApp};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

/// How many connections ask at a time.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Connections of the bare handler to the database, as many as the companion has.
const POOL: usize = 16;

/// What the companion sends for a read.
const SQL: &str = "SELECT v.*, CASE WHEN v.state OPERATOR(pg_catalog.=) 'grace' THEN control_plane.secret_id(v.project_id, v.name) END
FROM control_plane.authenticate($1, '{\"request_id\": \"bench\", \"client_address\": \"127.0.0.1\"}') AS caller(subject),
LATERAL control_plane.get_secret(CASE WHEN caller.subject IS NOT NULL THEN $2::uuid END, NULL) AS v";

const BARE: &str = "WITH record AS (INSERT INTO bench_audit (secret_id) VALUES ($1))
SELECT value FROM bench_secrets WHERE id = $1";

#[tokio::main]
async fn main() -> Proof {
    let mut arguments = std::env::args().skip(1);
    if let (Some("bare"), Some(sockets), Some(id)) = (
        arguments.next().as_deref(),
        arguments.next(),
        arguments.next(),
    ) {
        return bare(Path::new(&sockets), id.parse()?).await;
    }
    let seconds: u64 = match std::env::var("PG_SECRETS_BENCH_SECONDS") {
        Ok(seconds) => seconds
            .parse()
            .expect("PG_SECRETS_BENCH_SECONDS is a number"),
        Err(_) => 10,
    };
    let length = Duration::from_secs(seconds);
    println!(
        "\nReads of one secret of 64 bytes, each recorded durably; generator, service and server on the same machine; {seconds} s each.\n"
    );
    let app = TestApp::start("").await;
    let new = json!({"project_id": "bench", "name": "n", "value": "x".repeat(64)});
    let made = app.api().post("/api/secrets", new).await?.expect(201)?;
    let id: Uuid = made.id().parse()?;
    let sql = app.sql().await?;
    sql.run(
        "CREATE TABLE bench_secrets (id uuid PRIMARY KEY, value text);
         CREATE TABLE bench_audit (id bigserial PRIMARY KEY, secret_id uuid, at timestamptz DEFAULT clock_timestamp())",
    )
    .await?;
    sql.rows(
        "INSERT INTO bench_secrets VALUES ($1, repeat('x', 64))",
        &[&id],
    )
    .await?;

    let rest_address = app.companion.url().replace("http://", "");
    let rest_request = request(
        &rest_address,
        &format!("/api/secrets/{id}"),
        Some(&app.token),
    );
    let (mut handler, bare_address) = start_bare(&app.cluster.sockets(), id).await?;
    let bare_request = request(&bare_address, "/", None);
    println!(
        "{:>12} {:>12} {:>10} {:>10} {:>10}",
        "", "connections", "reads/s", "p50 ms", "p99 ms"
    );
    let mut table = Vec::new();
    for connections in CONNECTIONS {
        let call = over_sql(&app.cluster.sockets(), &app.token, id, connections, length).await?;
        let rest = over_http(&rest_address, &rest_request, connections, length).await?;
        let bare = over_http(&bare_address, &bare_request, connections, length).await?;
        for (name, run) in [
            ("SQL call", &call),
            ("REST", &rest),
            ("bare handler", &bare),
        ] {
            println!(
                "{name:>12} {connections:>12} {:>10.0} {:>10.2} {:>10.2}",
                run.rate,
                run.at(50),
                run.at(99)
            );
        }
        table.push((connections, call, rest, bare));
    }
    handler.kill()?;
    handler.wait()?;
    println!();
    for (connections, call, rest, bare) in &table {
        if *connections == 1 {
            let times = rest.at(50) / call.at(50);
            goal(
                "p50 over REST at 1 connection, times that of the SQL call",
                times,
                "<= 1.5",
                times <= 1.5,
            );
        } else {
            let share = rest.rate / bare.rate;
            let what = format!("reads/s at {connections} connections, of the bare handler's");
            goal(&what, share, ">= 0.7", share >= 0.7);
        }
    }
    Ok(())
}

fn goal(what: &str, figure: f64, goal: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("{what}: {figure:.2} (goal {goal}: {verdict})");
}

/// How long each read took, in milliseconds and in that order, and how many there were a second.
struct Run {
    sorted: Vec<f64>,
    rate: f64,
}

impl Run {
    fn of(mut times: Vec<f64>, length: Duration) -> Self {
        times.sort_by(f64::total_cmp);
        let rate = times.len() as f64 / length.as_secs_f64();
        Self {
            sorted: times,
            rate,
        }
    }

    fn at(&self, percent: usize) -> f64 {
        let place = self.sorted.len() * percent / 100;
        self.sorted.get(place).copied().unwrap_or(f64::NAN)
    }
}

fn request(address: &str, path: &str, token: Option<&str>) -> Arc<[u8]> {
    let token = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let text = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}\r\n");
    text.into_bytes().into()
}

/// Sends a request again and again over so many connections.
async fn over_http(
    address: &str,
    request: &Arc<[u8]>,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Run> {
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (address, request) = (address.to_owned(), Arc::clone(request));
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut times, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
            while Instant::now() < until {
                let begun = Instant::now();
                stream.write_all(&request).await?;
                answer(&mut stream, &mut buffer).await?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(times)
        });
    }
    gather(clients, length).await
}

/// Reads one answer, which must be 200 and say how long its body is.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        anyhow::ensure!(count > 0, "the connection ended");
        filled += count;
        let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        anyhow::ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.context("no length")?.1.parse()?;
        if filled >= end + 4 + length {
            return Ok(());
        }
    }
}

async fn connect(sockets: &Path, login: &str) -> anyhow::Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(sockets).user(login).dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn over_sql(
    sockets: &Path,
    token: &str,
    id: Uuid,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Run> {
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (sockets, token) = (sockets.to_owned(), token.to_owned());
        clients.spawn(async move {
            let client = connect(&sockets, COMPANION_LOGIN).await?;
            let statement = client.prepare(SQL).await?;
            let mut times = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                client.query_one(&statement, &[&token, &id]).await?;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(times)
        });
    }
    gather(clients, length).await
}

async fn gather(
    mut clients: JoinSet<anyhow::Result<Vec<f64>>>,
    length: Duration,
) -> anyhow::Result<Run> {
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        times.extend(client??);
    }
    Ok(Run::of(times, length))
}

/// The bare handler in a process of its own, and its address.
async fn start_bare(sockets: &PathBuf, id: Uuid) -> anyhow::Result<(Child, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let address = format!("127.0.0.1:{port}");
    let process = Command::new(std::env::current_exe()?)
        .arg("bare")
        .arg(sockets)
        .arg(id.to_string())
        .env("PG_SECRETS_BENCH_BARE", &address)
        .stdin(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(&address).await.is_err() {
        anyhow::ensure!(Instant::now() < deadline, "the bare handler does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((process, address))
}

/// The connections of the bare handler, taken in turn.
struct Pool {
    clients: Vec<(Client, Statement)>,
    next: AtomicUsize,
    id: Uuid,
}

async fn bare(sockets: &Path, id: Uuid) -> Proof {
    let mut clients = Vec::new();
    for _ in 0..POOL {
        let client = connect(sockets, "postgres").await?;
        let statement = client.prepare(BARE).await?;
        clients.push((client, statement));
    }
    let pool = Arc::new(Pool {
        clients,
        next: AtomicUsize::new(0),
        id,
    });
    let address = std::env::var("PG_SECRETS_BENCH_BARE").expect("an address");
    let listener = TcpListener::bind(address).await?;
    let routes = Router::new().route("/", get(read)).with_state(pool);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn read(State(pool): State<Arc<Pool>>) -> Result<String, StatusCode> {
    let turn = pool.next.fetch_add(1, Ordering::Relaxed) % pool.clients.len();
    let (client, statement) = &pool.clients[turn];
    let row = client.query_one(statement, &[&pool.id]).await;
    row.map(|row| row.get(0))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
