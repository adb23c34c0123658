//! `pg-secrets serve`: the REST service and the relay, until SIGTERM or SIGINT.

use crate::config::{Config, ServeArguments};
use crate::db::Database;
use crate::jwt::Verifier;
use crate::rate_limit::RateLimit;
use crate::router::router;
use crate::routes::health::Checks;
use crate::state::AppState;
use crate::tls_listener::TlsListener;
use crate::webhooks::deliver::Sender;
use crate::webhooks::listen;
use crate::webhooks::record::Recorder;
use crate::webhooks::relay::Relay;
use anyhow::Context;
use axum::serve::ListenerExt;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// How long requests and webhooks under way may go on after the signal to stop. A webhook that
/// does not end in time is sent again when its lease is over.
const FAREWELL: Duration = Duration::from_secs(10);

/// Serves until it is told to stop.
///
/// # Errors
/// Where a setting makes no sense or the address cannot be listened on. A database that cannot be
/// reached is no error: `/readyz` says so until it can.
pub fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let config = Config::new(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let outcome = runtime.block_on(serve(config));
    // Without waiting for a name that is still being resolved.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let database = Database::new(&config.database, config.pool_size)?;
    let limit = config.rate_limit.map(RateLimit::new);
    let verifier = config.jwt.map(Verifier::start).transpose()?;
    let state = AppState::new(database, limit, verifier);
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("{} cannot be listened on", config.listen))?;
    announce(listener.local_addr()?, config.tls.is_some());

    let wake = Arc::new(Notify::new());
    let relay = Relay {
        database: state.database.clone(),
        recorder: Recorder::start(state.database.clone()),
        sender: Sender::new(&config.webhooks)?,
        poll_interval: config.webhooks.poll_interval,
        wake: Arc::clone(&wake),
    };
    let relay = tokio::spawn(relay.run(stopped.clone()));
    let listening = tokio::spawn(listen::run(config.database, wake));
    let first_look = tokio::spawn(look(state.clone()));

    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    let server = match config.tls {
        None => tokio::spawn(
            axum::serve(listener, service)
                .with_graceful_shutdown(told(stopped))
                .into_future(),
        ),
        Some(acceptor) => {
            // The tap is there for the peer's address alone.
            let listener = TlsListener::new(listener, acceptor).tap_io(|_| ());
            tokio::spawn(
                axum::serve(listener, service)
                    .with_graceful_shutdown(told(stopped))
                    .into_future(),
            )
        }
    };

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    listening.abort();
    first_look.abort();
    let both = async { tokio::join!(server, relay) };
    match timeout(FAREWELL, both).await {
        Ok((served, relayed)) => {
            served.context("the server")?.context("the server")?;
            relayed.context("the relay")?;
        }
        Err(_) => tracing::warn!("stopped with requests or webhooks under way"),
    }
    Ok(())
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the other end is gone, which is as good as being told.
    let _ = stopped.changed().await;
}

fn announce(address: SocketAddr, tls: bool) {
    let scheme = if tls { "https" } else { "http" };
    tracing::info!("listening on {scheme}://{address}");
    if !tls && !address.ip().is_loopback() {
        tracing::warn!(
            "secrets and tokens cross the network in the clear unless something in front adds TLS"
        );
    }
}

/// Tells the operator at once what `/readyz` would tell.
async fn look(state: AppState) {
    let checks = Checks::run(&state).await;
    if checks.passed() {
        tracing::info!("the database is ready");
    } else {
        tracing::warn!(
            database = checks.database,
            extension = checks.extension,
            key = checks.key,
            workers = checks.workers,
            "the database is not ready; requests are answered with 503 until it is"
        );
    }
}
