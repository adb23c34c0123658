//! Wakes the relay when the database says that there is something new. The notification carries
//! nothing and may be lost: the table is the truth, and the relay looks there by itself as well. A
//! connection that swallows everything looks like one on which nothing happens, so it is asked for a
//! sign of life.

use crate::database_url::DatabaseTarget;
use futures_util::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::AsyncMessage;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often the connection is asked for a sign of life, and how long that may take.
const ASK_EVERY: Duration = Duration::from_secs(10);
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Listens for as long as it is polled; a connection that breaks is made anew.
pub(crate) async fn run(target: DatabaseTarget, wake: Arc<Notify>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let listened = listen(&target, &wake).await;
        if listened {
            pause = FIRST_PAUSE;
        }
        tracing::debug!(
            listened,
            "not listening for events; the relay polls meanwhile"
        );
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Listens on one connection until it breaks; whether it came as far as listening.
async fn listen(target: &DatabaseTarget, wake: &Notify) -> bool {
    let connecting = target.settings.connect(target.tls.clone());
    let Ok(Ok((client, mut connection))) = timeout(CONNECT, connecting).await else {
        return false;
    };
    let messages = async {
        // Errors end it as the connection's end does; their text is not for the log.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                wake.notify_one();
            }
        }
    };
    tokio::pin!(messages);
    tokio::select! {
        () = &mut messages => return false,
        subscribed = timeout(CONNECT, client.batch_execute("LISTEN pg_secrets")) => {
            if !matches!(subscribed, Ok(Ok(()))) {
                return false;
            }
        }
    }
    // What was told while nobody listened.
    wake.notify_one();
    let signs = async {
        loop {
            sleep(ASK_EVERY).await;
            let asked = timeout(SIGN_OF_LIFE, client.batch_execute("")).await;
            if !matches!(asked, Ok(Ok(()))) {
                return;
            }
        }
    };
    tokio::select! {
        () = &mut messages => {}
        () = signs => tracing::debug!("the listening connection gives no sign of life"),
    }
    true
}
