//! Taking due deliveries, signed and ready to send. Leases and due times go by this server's clock
//! alone.
//!
//! A claim locks the endpoints that it takes from, and leaves out those that another claim has
//! locked: so what it finds of an endpoint, nobody changes under it, and neither the limit of what is
//! under way nor the order of what is of one secret can be broken by a race. From each endpoint in
//! turn one delivery is taken, so that none takes all the room.

use crate::access::identity::{Caller, RightsOf};
use crate::access::rights::Rights;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;
use crate::maintenance::installation;
use crate::outbox::{finish, settings};
use crate::{gucs, id};
use pg_secrets_openpgp::Place;
use std::collections::{HashMap, VecDeque};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The most deliveries that one claim takes.
const LARGEST_BATCH: i32 = 1000;

/// Seconds from 1970, from which the scheme's timestamps count, to 2000, from which Postgres does.
const UNIX_TO_2000_SECONDS: i64 = 946_684_800;

/// The longest lease, in microseconds: for as long nobody else delivers what a dead relay claimed.
const LONGEST_LEASE: i64 = 10 * 60 * 1_000_000;

/// How many due deliveries of an endpoint are looked at together.
const EXAMINED: i32 = 32;

/// How often a claim looks on, where all that it looked at has to wait for something before it.
const ROUNDS: usize = 8;

/// A delivery is the relay's to handle: a trusted login's that acts for itself, or an
/// administrator's. A trusted login that has authenticated a subject, or has set another role as
/// PostgREST does, acts for somebody else, who must not take webhooks away.
pub(crate) fn require_relay(session: &Session, caller: &Caller) -> Result<()> {
    if caller.trusted && caller.rights_of == RightsOf::Nobody && caller.role.is_none() {
        return Ok(());
    }
    Rights::of_administrator(session, caller)?;
    Ok(())
}

// From one endpoint of the index to the next, however much waits for each. What is at its limit is left
// out before the limit of rows: else many that hang would hide one that does not.
static OPEN: Statement = Statement::new(
    c"WITH RECURSIVE waiting AS ((SELECT d.endpoint_id FROM control_plane.deliveries AS d WHERE d.status = 'pending' ORDER BY d.endpoint_id LIMIT 1) UNION ALL SELECT (SELECT d.endpoint_id FROM control_plane.deliveries AS d WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id ORDER BY d.endpoint_id LIMIT 1) FROM waiting AS w WHERE w.endpoint_id IS NOT NULL), due AS MATERIALIZED (SELECT w.endpoint_id, first.next_attempt_at, under_way.count FROM waiting AS w CROSS JOIN LATERAL (SELECT d.next_attempt_at FROM control_plane.deliveries AS d WHERE d.endpoint_id = w.endpoint_id AND d.status = 'pending' AND d.next_attempt_at <= $1 AND (d.leased_until IS NULL OR d.leased_until <= $1) ORDER BY d.next_attempt_at LIMIT 1) AS first CROSS JOIN LATERAL (SELECT count(*) FROM control_plane.deliveries AS l WHERE l.endpoint_id = w.endpoint_id AND l.status = 'pending' AND l.leased_until IS NOT NULL AND l.leased_until > $1) AS under_way) SELECT e.id, CASE WHEN e.answering AND e.slow_downs = 0 THEN $3 ELSE 1 END FROM due JOIN control_plane.endpoints AS e ON e.id = due.endpoint_id WHERE e.enabled AND (e.not_before IS NULL OR e.not_before <= $1) AND due.count < CASE WHEN e.answering AND e.slow_downs = 0 THEN $3 ELSE 1 END ORDER BY due.next_attempt_at LIMIT $2 FOR NO KEY UPDATE OF e SKIP LOCKED",
);

// What has something of its secret before it says until when it waits: until that is tried again, or for
// a moment if that is under way.
static EXAMINE: Statement = Statement::new(
    c"SELECT e.id, under_way.count, d.id, head.id IS NOT NULL, greatest(head.next_attempt_at, $2 + $4), d.next_attempt_at FROM unnest($1) AS e (id) CROSS JOIN LATERAL (SELECT count(*) FROM control_plane.deliveries AS l WHERE l.endpoint_id = e.id AND l.status = 'pending' AND l.leased_until IS NOT NULL AND l.leased_until > $2) AS under_way CROSS JOIN LATERAL (SELECT d.id, d.chain_id, d.event_id, d.next_attempt_at FROM control_plane.deliveries AS d WHERE d.endpoint_id = e.id AND d.status = 'pending' AND d.next_attempt_at <= $2 AND (d.leased_until IS NULL OR d.leased_until <= $2) ORDER BY d.next_attempt_at LIMIT $3) AS d LEFT JOIN LATERAL (SELECT b.id, b.next_attempt_at FROM control_plane.deliveries AS b WHERE b.endpoint_id = e.id AND b.chain_id = d.chain_id AND b.status = 'pending' AND b.event_id < d.event_id ORDER BY b.event_id LIMIT 1) AS head ON true ORDER BY d.next_attempt_at, d.event_id",
);

// Only what nobody has touched since it was looked at: if what it waited for has ended meanwhile, it was
// told so by another due time, and would sleep through that.
static DEFER: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET next_attempt_at = due.until FROM (SELECT l.id, b.until FROM unnest($1, $2, $3) AS b (id, until, seen) JOIN control_plane.deliveries AS l ON l.id = b.id WHERE l.status = 'pending' AND l.next_attempt_at = b.seen FOR NO KEY UPDATE OF l SKIP LOCKED) AS due WHERE d.id = due.id",
);

static TAKE: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET attempts = d.attempts + 1, leased_until = $2 + $3 FROM (SELECT l.id FROM control_plane.deliveries AS l WHERE l.id = ANY ($1) AND l.status = 'pending' AND l.next_attempt_at <= $2 AND (l.leased_until IS NULL OR l.leased_until <= $2) FOR NO KEY UPDATE OF l SKIP LOCKED) AS due WHERE d.id = due.id RETURNING d.id",
);

static MESSAGES: Statement = Statement::new(
    c"SELECT d.id, d.attempts, e.id, e.secret_encrypted, e.key_fingerprint, CASE WHEN e.previous_until > $2 THEN e.previous_secret_encrypted END, e.previous_key_fingerprint, o.id, o.body FROM control_plane.deliveries AS d JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id JOIN control_plane.outbox AS o ON o.id = d.event_id WHERE d.id = ANY ($1)",
);

static CLAIMED: Statement = Statement::new(
    c"SELECT d.id, d.attempts, e.url, s.webhook_id, $4::bigint, s.signature, o.body FROM unnest($1, $2, $3) AS s (id, webhook_id, signature) JOIN control_plane.deliveries AS d ON d.id = s.id JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id JOIN control_plane.outbox AS o ON o.id = d.event_id ORDER BY o.id, e.id",
);

/// claim_deliveries: takes up to `batch` due deliveries for the length of `lease`.
pub(crate) fn claim_deliveries<'s>(
    session: &'s Session,
    caller: &Caller,
    arguments: &Arguments<'_>,
) -> Result<Answer<'s>> {
    require_relay(session, caller)?;
    let batch = arguments.integer(0).ok_or_else(|| Error::null("batch"))?;
    if !(1..=LARGEST_BATCH).contains(&batch) {
        return Err(Error::bad_input("batch must be 1 to 1000"));
    }
    let lease = arguments.interval(1).ok_or_else(|| Error::null("lease"))?;
    if lease.month != 0 || lease.day != 0 || !(1..=LONGEST_LEASE).contains(&lease.time) {
        return Err(Error::bad_input(
            "lease must be more than nothing and at most ten minutes",
        ));
    }
    // A copy has the original's deliveries, and must send nothing in its name. The relay is no place to say
    // so: the log does, and run_maintenance().
    if !gucs::workers() || !installation::is_own(session)? {
        return Ok(Answer::Many(Vec::new()));
    }
    keyring::require()?;
    let claim = Claim {
        session,
        now: id::now(),
        lease: lease.time,
    };
    let mut limits = claim.open(batch)?;
    let mut room = usize::try_from(batch).unwrap_or(0);
    let mut taken = Vec::new();
    for _ in 0..ROUNDS {
        let (chosen, on) = claim.examine(&limits, room)?;
        let chosen = claim.take(&chosen)?;
        room -= chosen.len();
        taken.extend(chosen);
        limits.retain(|limit| on.contains(&limit.endpoint));
        if room == 0 || limits.is_empty() {
            break;
        }
    }
    claim.sign(&taken)
}

/// How many webhooks may be under way to an endpoint.
struct Limit {
    endpoint: Uuid,
    most: usize,
}

struct Claim<'s> {
    session: &'s Session,
    now: i64,
    lease: i64,
}

impl<'s> Claim<'s> {
    /// Locks the endpoints that have something due and room for it, the longest waiting first.
    fn open(&self, batch: i32) -> Result<Vec<Limit>> {
        let open = self.session.run(
            &OPEN,
            &[
                Param::Timestamp(Some(self.now)),
                Param::Integer(Some(batch)),
                Param::Integer(Some(settings::endpoint_concurrency())),
            ],
        )?;
        open.iter()
            .map(|row| {
                let missing = || Error::internal("an endpoint without id");
                Ok(Limit {
                    endpoint: row.uuid(0).ok_or_else(missing)?,
                    most: usize::try_from(row.integer(1).ok_or_else(missing)?).unwrap_or(1),
                })
            })
            .collect()
    }

    /// Chooses at most `room` deliveries that can be sent now, and defers those that must wait for
    /// another of their secret. Answers with them the endpoints that may have more.
    fn examine(&self, limits: &[Limit], room: usize) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
        let endpoints: Vec<Uuid> = limits.iter().map(|limit| limit.endpoint).collect();
        let due = self.session.run(
            &EXAMINE,
            &[
                Param::Uuids(Some(&endpoints)),
                Param::Timestamp(Some(self.now)),
                Param::Integer(Some(EXAMINED)),
                Param::Interval(MOMENT),
            ],
        )?;
        let mut queues: HashMap<Uuid, Queue> = HashMap::new();
        let (mut blocked, mut until, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for row in due.iter() {
            let missing = || Error::internal("a due delivery without id");
            let endpoint = row.uuid(0).ok_or_else(missing)?;
            let under_way = usize::try_from(row.bigint(1).unwrap_or(0)).unwrap_or(0);
            let delivery = row.uuid(2).ok_or_else(missing)?;
            let queue = queues.entry(endpoint).or_default();
            queue.under_way = under_way;
            if row.boolean(3) == Some(true) {
                queue.blocked += 1;
                blocked.push(delivery);
                until.push(row.timestamp(4).ok_or_else(missing)?);
                seen.push(row.timestamp(5).ok_or_else(missing)?);
            } else {
                queue.ready.push_back(delivery);
            }
        }
        if !blocked.is_empty() {
            let params = [
                Param::Uuids(Some(&blocked)),
                Param::Timestamps(&until),
                Param::Timestamps(&seen),
            ];
            self.session.run(&DEFER, &params)?;
        }
        let mut on = Vec::new();
        let mut turns = VecDeque::new();
        for limit in limits {
            let Some(mut queue) = queues.remove(&limit.endpoint) else {
                continue;
            };
            let free = limit.most.saturating_sub(queue.under_way);
            let full = queue.ready.len() + queue.blocked >= EXAMINED as usize;
            if full && queue.blocked > 0 && queue.ready.len() < free {
                on.push(limit.endpoint);
            }
            queue.ready.truncate(free);
            turns.push_back(queue.ready);
        }
        let mut chosen = Vec::new();
        while chosen.len() < room
            && let Some(mut queue) = turns.pop_front()
        {
            if let Some(delivery) = queue.pop_front() {
                chosen.push(delivery);
                turns.push_back(queue);
            }
        }
        Ok((chosen, on))
    }

    fn take(&self, chosen: &[Uuid]) -> Result<Vec<Uuid>> {
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let params = [
            Param::Uuids(Some(chosen)),
            Param::Timestamp(Some(self.now)),
            Param::Interval(self.lease),
        ];
        let taken = self.session.run(&TAKE, &params)?;
        Ok(taken.iter().filter_map(|row| row.uuid(0)).collect())
    }

    /// Signs what was taken. One endpoint whose key is missing must not keep the others from being
    /// told: its tries end here.
    fn sign(&self, taken: &[Uuid]) -> Result<Answer<'s>> {
        let seconds = UNIX_TO_2000_SECONDS + self.now.div_euclid(1_000_000);
        let params = [Param::Uuids(Some(taken)), Param::Timestamp(Some(self.now))];
        let mut secrets: HashMap<Uuid, Secrets> = HashMap::new();
        let (mut ids, mut webhook_ids, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.session.run(&MESSAGES, &params)?.iter() {
            let missing = || Error::internal("a delivery without its event or endpoint");
            let delivery = row.uuid(0).ok_or_else(missing)?;
            let attempt = row.integer(1).ok_or_else(missing)?;
            let endpoint = row.uuid(2).ok_or_else(missing)?;
            let secrets = secrets
                .entry(endpoint)
                .or_insert_with(|| open_secrets(endpoint, &row).map_err(|error| error.message));
            let signed = match secrets {
                Ok(secrets) => sign(secrets, &row, seconds).map_err(|error| error.message),
                Err(reason) => Err(reason.clone()),
            };
            match signed {
                Ok((webhook_id, signature)) => {
                    ids.push(delivery);
                    webhook_ids.push(webhook_id);
                    signatures.push(signature);
                }
                Err(reason) => {
                    finish::end_unsent(self.session, delivery, attempt, &reason)?;
                }
            }
        }
        let claimed = self.session.run(
            &CLAIMED,
            &[
                Param::Uuids(Some(&ids)),
                Param::Texts(Some(&webhook_ids)),
                Param::Texts(Some(&signatures)),
                Param::Bigint(seconds),
            ],
        )?;
        let composite = |row| Composite { row, secret: None };
        Ok(Answer::Many(claimed.iter().map(composite).collect()))
    }
}

/// How long what waits for something under way is left alone, in microseconds, unless that ends before.
const MOMENT: i64 = 1_000_000;

/// What is due of one endpoint.
#[derive(Default)]
struct Queue {
    under_way: usize,
    ready: VecDeque<Uuid>,
    blocked: usize,
}

/// An endpoint's signing secrets, the current one first; or why they cannot be opened.
type Secrets = std::result::Result<Vec<Zeroizing<String>>, String>;

fn open_secrets(endpoint: Uuid, row: &Row<'_>) -> Result<Vec<Zeroizing<String>>> {
    let missing = || Error::internal("an endpoint without its signing secret");
    let open = |sealed: &[u8], fingerprint: &str| {
        let secret = keyring::open(Place::endpoint(endpoint), sealed, sealed.len(), fingerprint)?;
        let secret = std::str::from_utf8(&secret).map_err(|_| missing())?;
        Ok(Zeroizing::new(secret.to_owned()))
    };
    let current = row.bytes(3).ok_or_else(missing)?;
    let mut secrets = vec![open(&current, &row.text(4).ok_or_else(missing)?)?];
    if let Some(previous) = row.bytes(5) {
        secrets.push(open(&previous, &row.text(6).ok_or_else(missing)?)?);
    }
    Ok(secrets)
}

/// The message's id, and its signatures for a try at `seconds`.
fn sign(secrets: &[Zeroizing<String>], row: &Row<'_>, seconds: i64) -> Result<(String, String)> {
    let missing = || Error::internal("a delivery without its event");
    let event = row.uuid(7).ok_or_else(missing)?;
    let body = row.text(8).ok_or_else(missing)?;
    let webhook_id = format!("evt_{}", event.simple());
    let signatures: Option<Vec<String>> = secrets
        .iter()
        .map(|secret| pg_secrets_signature::sign(secret, &webhook_id, seconds, body.as_bytes()))
        .collect();
    let signatures =
        signatures.ok_or_else(|| Error::internal("a signing secret of another form"))?;
    Ok((webhook_id, signatures.join(" ")))
}
