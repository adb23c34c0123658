//! Stores how tries ended. What ends while an earlier statement is under way goes with the next one, in one
//! transaction: so a thousand ends a second cost a few commits, and one end alone waits for none.

use crate::db::Database;
use crate::error::{Error, Fault};
use crate::webhooks::deliver::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;
use uuid::Uuid;

const FINISH: &str = "
SELECT control_plane.finish_delivery(e.id, e.attempt, e.status, e.error, e.retry_after, e.duration_ms, e.answer)
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::integer[], $6::integer[], $7::text[])
    AS e (id, attempt, status, error, retry_after, duration_ms, answer)";

/// How many ends one statement stores.
const MOST: usize = 64;

/// How many ends are stored by themselves at once: what waits for a lock must not take all connections.
const ALONE: usize = 4;

/// The pauses between the tries to store an end.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// How a try ended.
#[derive(Debug)]
pub(crate) struct End {
    /// Of which delivery.
    pub(crate) delivery: Uuid,
    /// To which endpoint.
    pub(crate) endpoint: Uuid,
    /// Of which try of it.
    pub(crate) attempt: i32,
    /// How.
    pub(crate) outcome: Outcome,
    /// After how many milliseconds; `None` where nothing was sent: how long it took to find that out would tell
    /// which names there are in-house.
    pub(crate) duration: Option<i32>,
}

/// An end, and whom to tell when it is stored.
type Waiting = (End, oneshot::Sender<Result<(), Error>>);

/// Where ends are handed in.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Waiting>);

impl Recorder {
    /// Starts storing, until the last clone is gone and all that was handed in is stored.
    pub(crate) fn start(database: Database) -> Self {
        let (ends, mut waiting) = mpsc::channel::<Waiting>(MOST);
        let alone = Arc::new(Semaphore::new(ALONE));
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MOST);
            while waiting.recv_many(&mut batch, MOST).await > 0 {
                // Everybody locks in the same order, so that two who store at once do not wait for each other.
                batch.sort_unstable_by_key(|(end, _)| (end.endpoint, end.delivery));
                let (ends, tell): (Vec<End>, Vec<_>) = batch.drain(..).unzip();
                if store(&database, &ends).await.is_ok() {
                    for one in tell {
                        let _ = one.send(Ok(()));
                    }
                    continue;
                }
                // Each by itself, so that one that cannot be stored holds up no other.
                for (end, tell) in ends.into_iter().zip(tell) {
                    let (database, alone) = (database.clone(), Arc::clone(&alone));
                    tokio::spawn(async move {
                        let _ = tell.send(store_alone(&database, &alone, end).await);
                    });
                }
            }
        });
        Self(ends)
    }

    /// Stores an end, and waits until that is done.
    ///
    /// # Errors
    /// Where the database does not take it, after several tries.
    pub(crate) async fn store(&self, end: End) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        let lost = || Error::Unavailable(Fault::new("nobody stores how tries end"));
        self.0.send((end, tell)).await.map_err(|_| lost())?;
        told.await.map_err(|_| lost())?
    }
}

async fn store_alone(database: &Database, alone: &Semaphore, end: End) -> Result<(), Error> {
    let end = [end];
    let mut pauses = PAUSES.into_iter();
    loop {
        let permit = alone.acquire().await;
        let stored = store(database, &end).await;
        drop(permit);
        match (stored, pauses.next()) {
            (Ok(()), _) => return Ok(()),
            (Err(_), Some(pause)) => sleep(pause).await,
            (Err(error), None) => return Err(error),
        }
    }
}

async fn store(database: &Database, ends: &[End]) -> Result<(), Error> {
    fn column<'e, T>(ends: &'e [End], of: impl Fn(&'e End) -> T) -> Vec<T> {
        ends.iter().map(of).collect()
    }
    database
        .run(
            FINISH,
            &[
                &column(ends, |end| end.delivery),
                &column(ends, |end| end.attempt),
                &column(ends, |end| end.outcome.status()),
                &column(ends, |end| end.outcome.error()),
                &column(ends, |end| end.outcome.retry_after()),
                &column(ends, |end| end.duration),
                &column(ends, |end| end.outcome.beginning()),
            ],
        )
        .await
        .map(drop)
}
