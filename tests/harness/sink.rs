//! A real receiver of webhooks.

use crate::SOON;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
    /// When its body was complete.
    pub at: Instant,
    /// The path it was sent to.
    pub path: String,
    /// How it was answered, or is going to be.
    pub answered: u16,
}

/// What a sink answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// How long the answer takes.
    pub after: Duration,
    /// Headers of the answer.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
}

impl Reply {
    /// This status at once, and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            after: Duration::ZERO,
            headers: Vec::new(),
            body: String::new(),
        }
    }
}

impl Received {
    /// A header as text; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }
}

#[derive(Debug)]
struct Shelf {
    received: Mutex<Vec<Received>>,
    answer: Mutex<Reply>,
    answers: Mutex<HashMap<String, Reply>>,
    fail_one_in: AtomicUsize,
    arrived: Notify,
}

/// An HTTP server on loopback that keeps what it is sent.
#[derive(Debug)]
pub struct Sink {
    shelf: Arc<Shelf>,
    server: tokio::task::JoinHandle<()>,
    url: String,
}

impl Sink {
    /// Starts one that answers 204.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn start() -> Self {
        let shelf = Arc::new(Shelf {
            received: Mutex::default(),
            answer: Mutex::new(Reply::status(204)),
            answers: Mutex::default(),
            fail_one_in: AtomicUsize::new(0),
            arrived: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&shelf));
        let server = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Self {
            shelf,
            server,
            url: format!("http://{address}"),
        }
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// From now on answers with this status, after this time.
    pub fn answer(&self, status: u16, after: Duration) {
        *lock(&self.shelf.answer) = Reply {
            after,
            ..Reply::status(status)
        };
    }

    /// From now on answers so at this path.
    pub fn answer_at(&self, path: &str, reply: Reply) {
        lock(&self.shelf.answers).insert(path.to_owned(), reply);
    }

    /// From now on answers one request of so many with 500, in place of what it would have answered.
    pub fn fail_one_in(&self, count: usize) {
        self.shelf.fail_one_in.store(count, Ordering::Relaxed);
    }

    /// How many requests have arrived so far.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.shelf.received).len()
    }

    /// What has arrived so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shelf.received).clone()
    }

    /// Waits until so many requests have arrived at this path.
    ///
    /// # Panics
    /// Where they do not arrive in time.
    pub async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        let enough = async {
            loop {
                let arrived = self.shelf.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                let mut received = self.received();
                received.retain(|one| one.path == path);
                if received.len() >= count {
                    return received;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(SOON, enough).await {
            Ok(received) => received,
            Err(_) => panic!("fewer than {count} at {path}: {:?}", self.received()),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(shelf): State<Arc<Shelf>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let at_path = lock(&shelf.answers).get(&path).cloned();
    let mut reply = at_path.unwrap_or_else(|| lock(&shelf.answer).clone());
    {
        let mut received = lock(&shelf.received);
        let one_in = shelf.fail_one_in.load(Ordering::Relaxed);
        if one_in > 0 && received.len() % one_in == 0 {
            reply = Reply::status(500);
        }
        received.push(Received {
            headers,
            body: body.to_vec(),
            at: Instant::now(),
            path,
            answered: reply.status,
        });
    }
    shelf.arrived.notify_waiters();
    tokio::time::sleep(reply.after).await;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response
        .body(Body::from(reply.body))
        .expect("a valid answer")
}

fn lock<T>(shelf: &Mutex<T>) -> MutexGuard<'_, T> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
