//! The loop that claims due deliveries, sends them, and tells the database how it went.
//!
//! A claim is a lease: if this process dies, or cannot say how a try ended, the lease runs out and
//! another claim sends the same webhook, with the same webhook-id, again.

use crate::db::{Database, Parameter};
use crate::error::Error;
use crate::webhooks::deliver::{Delivery, Outcome, Sender};
use crate::webhooks::record::{End, Recorder};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const CLAIM: &str = "
SELECT delivery_id, endpoint_id, attempt, url, webhook_id, webhook_timestamp, webhook_signature, body
FROM control_plane.claim_deliveries($1, $2::text::interval)";

/// How many webhooks are under way at once. No more are claimed than can be sent at once, so that
/// no lease runs while its delivery waits. Well above what the database lets go to one project: many
/// have to hang before others notice.
const AT_ONCE: usize = 512;

/// How many are claimed together: the first of a large claim would wait for the signing of the last.
const BATCH: usize = 64;

/// How long ends of deliveries are gathered before it is looked again for what they made room for.
const GATHER: Duration = Duration::from_millis(2);

/// The least time between two claims that follow from wake-ups: whoever may connect to the database may
/// send one, as often as they like.
const BETWEEN: Duration = Duration::from_millis(5);

/// How long a claim holds; longer than any try and the retries of its `finish_delivery` take.
const LEASE: &str = "1 minute";

const RELEASE: &str = "SELECT control_plane.release_delivery($1, $2)";

/// How long a webhook that is under way may go on after the signal to stop; then its claim is given back.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// The relay's parts.
pub(crate) struct Relay {
    /// Where deliveries are claimed.
    pub(crate) database: Database,
    /// Where it is told how they ended.
    pub(crate) recorder: Recorder,
    /// What sends them.
    pub(crate) sender: Sender,
    /// How long to wait for a wake-up before looking.
    pub(crate) poll_interval: Duration,
    /// Told when there may be something to claim.
    pub(crate) wake: Arc<Notify>,
}

impl Relay {
    /// Runs until `stop` changes or its sender is gone; then what is under way is brought to its end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let relay = Arc::new(self);
        let mut under_way = JoinSet::new();
        let mut failing = false;
        loop {
            let room = BATCH.min(AT_ONCE - under_way.len());
            let claimed = tokio::select! {
                _ = stop.changed() => break,
                claimed = relay.claim(room) => claimed,
            };
            let full = match claimed {
                Ok(claimed) => {
                    if failing {
                        tracing::info!("deliveries can be claimed again");
                    }
                    failing = false;
                    let full = claimed.len() == room;
                    for delivery in claimed {
                        under_way.spawn(Arc::clone(&relay).carry(delivery, stop.clone()));
                    }
                    full
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "deliveries cannot be claimed; trying on");
                    }
                    failing = true;
                    false
                }
            };
            if relay.wait(&mut under_way, full, failing, &mut stop).await {
                break;
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Waits until it makes sense to claim: after a full batch as soon as there is room, otherwise
    /// until woken, until a delivery ends (which may let another go), or for the poll interval.
    /// Answers whether to stop.
    async fn wait(
        &self,
        under_way: &mut JoinSet<()>,
        full: bool,
        failing: bool,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let claimed = Instant::now();
        let pause = sleep(self.poll_interval);
        tokio::pin!(pause);
        loop {
            let crowded = under_way.len() >= AT_ONCE;
            if full && !crowded {
                return false;
            }
            tokio::select! {
                _ = stop.changed() => return true,
                Some(_) = under_way.join_next() => {
                    if !failing {
                        sleep(GATHER).await;
                    }
                    while under_way.try_join_next().is_some() {}
                    if !failing {
                        return false;
                    }
                }
                () = self.wake.notified(), if !crowded => {
                    sleep_until(claimed + BETWEEN).await;
                    return false;
                }
                () = &mut pause, if !crowded => return false,
            }
        }
    }

    async fn give_back(&self, delivery: &Delivery) {
        let parameters: [Parameter<'_>; 2] = [&delivery.id, &delivery.attempt];
        let released = self.database.run(RELEASE, &parameters).await;
        tracing::info!(
            delivery = %delivery.id,
            attempt = delivery.attempt,
            given_back = released.is_ok(),
            "a webhook was under way when this process was told to stop"
        );
    }

    async fn claim(&self, room: usize) -> Result<Vec<Delivery>, Error> {
        // At most BATCH.
        let room = room as i32;
        let rows = self.database.run(CLAIM, &[&room, &LEASE]).await?;
        rows.iter().map(Delivery::from_row).collect()
    }

    /// Sends one delivery and stores its outcome; where the process ends before there is one, gives its claim
    /// back, so that another companion need not wait for the end of the lease.
    async fn carry(self: Arc<Self>, delivery: Delivery, mut stop: watch::Receiver<bool>) {
        let too_late = async {
            // An error means that the other end is gone, which is as good as being told.
            let _ = stop.wait_for(|stopped| *stopped).await;
            sleep(GIVE_BACK).await;
        };
        let (outcome, duration) = tokio::select! {
            sent = self.sender.send(&delivery) => sent,
            () = too_late => return self.give_back(&delivery).await,
        };
        if outcome.is_delivered() {
            tracing::debug!(delivery = %delivery.id, attempt = delivery.attempt, "webhook delivered");
        } else {
            tracing::warn!(
                endpoint = %delivery.endpoint,
                delivery = %delivery.id,
                attempt = delivery.attempt,
                ?outcome,
                "webhook not delivered; control_plane.deliveries says when it is tried again"
            );
        }
        let sent = !matches!(outcome, Outcome::Refused(_));
        let end = End {
            delivery: delivery.id,
            endpoint: delivery.endpoint,
            attempt: delivery.attempt,
            outcome,
            duration: sent.then_some(duration),
        };
        if let Err(error) = self.recorder.store(end).await {
            tracing::warn!(
                delivery = %delivery.id,
                attempt = delivery.attempt,
                %error,
                "the outcome of a webhook could not be stored; it is sent again when its lease is over"
            );
        }
    }
}
