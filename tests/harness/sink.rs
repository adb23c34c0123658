//! A real receiver of webhooks.

use crate::SOON;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
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
    answer: Mutex<(StatusCode, Duration)>,
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
            answer: Mutex::new((StatusCode::NO_CONTENT, Duration::ZERO)),
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
    ///
    /// # Panics
    /// Where the status is none.
    pub fn answer(&self, status: u16, after: Duration) {
        let status = StatusCode::from_u16(status).expect("an HTTP status");
        *lock(&self.shelf.answer) = (status, after);
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
) -> StatusCode {
    lock(&shelf.received).push(Received {
        headers,
        body: body.to_vec(),
        at: Instant::now(),
        path: uri.path().to_owned(),
    });
    shelf.arrived.notify_waiters();
    let (status, after) = *lock(&shelf.answer);
    tokio::time::sleep(after).await;
    status
}

fn lock<T>(shelf: &Mutex<T>) -> MutexGuard<'_, T> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
