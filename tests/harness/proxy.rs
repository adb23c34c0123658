//! A proxy between a companion and its database that can become a black hole: bytes go in, and none comes
//! out, as behind a firewall that has forgotten a connection.

use crate::cluster::Cluster;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

/// What the one connection that waits for notifications is known by.
const LISTEN: &[u8] = b"LISTEN pg_secrets";

#[derive(Debug, Default)]
struct State {
    swallows: AtomicBool,
    listening: AtomicUsize,
}

/// Forwards connections from a port of loopback to a server.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<State>,
    port: u16,
    server: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts one before a cluster.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn before(cluster: &Cluster) -> Self {
        let socket = cluster.sockets().join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        let server = tokio::spawn(serve(listener, socket, Arc::clone(&state)));
        Self {
            state,
            port,
            server,
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections have asked for notifications so far.
    #[must_use]
    pub fn listening(&self) -> usize {
        self.state.listening.load(Ordering::Acquire)
    }

    /// From now on swallows what comes on the connections that have asked for notifications so far, in
    /// both directions, and closes none of them.
    pub fn swallow_notifications(&self) {
        self.state.swallows.store(true, Ordering::Release);
    }

    /// From now on lets new connections through.
    pub fn let_new_ones_through(&self) {
        self.state.swallows.store(false, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, socket: PathBuf, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = UnixStream::connect(&socket).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let listens = Arc::new(AtomicBool::new(false));
        let hole = Hole {
            state: Arc::clone(&state),
            listens,
            black: Arc::new(AtomicBool::new(false)),
        };
        tokio::spawn(forward(from_client, to_server, hole.clone()));
        tokio::spawn(forward(from_server, to_client, hole));
    }
}

/// What becomes of one connection.
#[derive(Clone)]
struct Hole {
    state: Arc<State>,
    listens: Arc<AtomicBool>,
    /// Once it is one, for ever.
    black: Arc<AtomicBool>,
}

impl Hole {
    fn notice(&self, bytes: &[u8]) {
        if bytes.windows(LISTEN.len()).any(|piece| piece == LISTEN)
            && !self.listens.swap(true, Ordering::AcqRel)
        {
            self.state.listening.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn swallows(&self) -> bool {
        if self.listens.load(Ordering::Acquire) && self.state.swallows.load(Ordering::Acquire) {
            self.black.store(true, Ordering::Release);
        }
        self.black.load(Ordering::Acquire)
    }
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, hole: Hole) {
    let mut buffer = [0_u8; 8192];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        hole.notice(&buffer[..count]);
        if !hole.swallows() && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
