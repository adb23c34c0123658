//! Taking due deliveries, signed and ready to send. Leases and due times go by this server's clock
//! alone.
//!
//! Whose turn it is, `turns` says; here what was chosen is leased and signed.

use crate::access::identity::{Caller, RightsOf};
use crate::access::rights::Rights;
use crate::backend::answer::{Answer, Composite};
use crate::backend::arguments::Arguments;
use crate::backend::session::{Param, Row, Session, Statement};
use crate::error::{Error, Result};
use crate::keys::keyring;
use crate::maintenance::installation;
use crate::outbox::finish;
use crate::outbox::turns::Turns;
use crate::{gucs, id};
use pg_secrets_openpgp::Place;
use std::collections::HashMap;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The most deliveries that one claim takes.
const LARGEST_BATCH: i32 = 1000;

/// Seconds from 1970, from which the scheme's timestamps count, to 2000, from which Postgres does.
const UNIX_TO_2000_SECONDS: i64 = 946_684_800;

/// The longest lease, in microseconds: for as long nobody else delivers what a dead relay claimed.
const LONGEST_LEASE: i64 = 10 * 60 * 1_000_000;

/// How often a claim looks on, where all that it looked at has to wait for something before it.
const ROUNDS: usize = 8;

/// A delivery is the relay's to handle: a trusted login's that acts for itself, or an
/// administrator's. A trusted login that has authenticated a subject, or has set another role as
/// PostgREST does, acts for somebody else, who must not take webhooks away.
pub(crate) fn require_relay(session: &Session, caller: &Caller) -> Result<()> {
    if caller.rights_of == RightsOf::Nobody && caller.is_trusted_itself() {
        return Ok(());
    }
    Rights::of_administrator(session, caller)?;
    Ok(())
}

// One lookup for each: with id = ANY the planner may as well read all that is due, and look each up in the list.
static TAKE: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET attempts = d.attempts + 1, leased_until = $2 + $3, generation = (SELECT e.generation FROM control_plane.endpoints AS e WHERE e.id = d.endpoint_id) FROM unnest($1) AS chosen (id) CROSS JOIN LATERAL (SELECT l.id FROM control_plane.deliveries AS l WHERE l.id = chosen.id AND l.status = 'pending' AND l.next_attempt_at <= $2 AND (l.leased_until IS NULL OR l.leased_until <= $2) FOR NO KEY UPDATE OF l SKIP LOCKED) AS due WHERE d.id = due.id RETURNING d.id",
);

static MESSAGES: Statement = Statement::new(
    c"SELECT d.id, d.attempts, e.id, e.secret_encrypted, e.key_fingerprint, CASE WHEN e.previous_until > $2 THEN e.previous_secret_encrypted END, e.previous_key_fingerprint, o.id, o.body FROM control_plane.deliveries AS d JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id JOIN control_plane.outbox AS o ON o.id = d.event_id WHERE d.id = ANY ($1)",
);

static CLAIMED: Statement = Statement::new(
    c"SELECT d.id, d.endpoint_id, d.attempts, e.url, s.webhook_id, $4::bigint, s.signature, o.body FROM unnest($1, $2, $3) AS s (id, webhook_id, signature) JOIN control_plane.deliveries AS d ON d.id = s.id JOIN control_plane.endpoints AS e ON e.id = d.endpoint_id JOIN control_plane.outbox AS o ON o.id = d.event_id ORDER BY o.id, e.id",
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
    let mut room = usize::try_from(batch).unwrap_or(0);
    let mut turns = Turns::open(session, claim.now, batch)?;
    let mut taken = Vec::new();
    for _ in 0..ROUNDS {
        let chosen = claim.take(&turns.choose(room)?)?;
        room -= chosen.len();
        taken.extend(chosen);
        if room == 0 || turns.is_over() {
            break;
        }
    }
    claim.sign(&taken)
}

struct Claim<'s> {
    session: &'s Session,
    now: i64,
    lease: i64,
}

impl<'s> Claim<'s> {
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
