//! TLS on the listener, where a certificate is given: version 1.2 or later, by the system's library.

use anyhow::{Context, ensure};
use axum::serve::Listener;
use native_tls::{Identity, Protocol};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_native_tls::{TlsAcceptor, TlsStream};
use zeroize::Zeroizing;

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many may be at it at a time; others wait to be accepted.
const MOST_HANDSHAKES: usize = 256;

/// The pause after an error that is not the client's, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads a certificate (with those between it and its root behind it) and its key, both PEM.
///
/// # Errors
/// Where a file cannot be read, or the two do not belong together. The text quotes neither.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let read = |path: &Path| {
        let content = std::fs::read(path).map(Zeroizing::new);
        content.with_context(|| format!("{} cannot be read", path.display()))
    };
    let (certificate, key) = (read(certificate)?, read(key)?);
    ensure!(
        !certificate.is_empty() && !key.is_empty(),
        "PG_SECRETS_TLS_CERT or PG_SECRETS_TLS_KEY names an empty file"
    );
    let identity = Identity::from_pkcs8(&certificate, &key).ok().context(
        "PG_SECRETS_TLS_CERT and PG_SECRETS_TLS_KEY name no certificate and its key (PKCS #8), both PEM",
    )?;
    let acceptor = native_tls::TlsAcceptor::builder(identity)
        .min_protocol_version(Some(Protocol::Tlsv12))
        .build()
        .context("the machine's TLS library does not start")?;
    Ok(acceptor.into())
}

/// A listener whose connections are private. Handshakes hold up nobody else.
pub(crate) struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        Self {
            listener,
            acceptor,
            handshakes: JoinSet::new(),
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
                accepted = self.listener.accept(), if self.handshakes.len() < MOST_HANDSHAKES => {
                    match accepted {
                        Ok((stream, address)) => {
                            let acceptor = self.acceptor.clone();
                            self.handshakes.spawn(async move {
                                let agreed = timeout(HANDSHAKE, acceptor.accept(stream)).await;
                                Some((agreed.ok()?.ok()?, address))
                            });
                        }
                        Err(error) if is_of_client(&error) => {}
                        Err(error) => {
                            tracing::warn!(kind = ?error.kind(), "no connection can be accepted");
                            sleep(PAUSE).await;
                        }
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
