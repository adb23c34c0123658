//! Whose turn it is: which due deliveries a claim takes, such that nobody waits for somebody else.
//!
//! Projects take turns, and within a project its endpoints, one delivery each. No project has more
//! under way than `pg_secrets.project_concurrency`, and no endpoint more than
//! `pg_secrets.endpoint_concurrency`: receivers that hang, however many, use up their own project's
//! share alone.
//!
//! The endpoints that are taken from are locked, and those that another claim has locked are left
//! out: so what is found of an endpoint, nobody changes under the claim, and neither the limit of
//! what is under way to it nor the order of what is of one secret can be broken by a race. A project's
//! share is counted without a lock: claims at the same moment may pass it by what they take then.

use crate::backend::session::{Param, Session, Statement};
use crate::error::{Error, Result};
use crate::outbox::settings;
use std::collections::{HashMap, VecDeque};
use uuid::Uuid;

/// How many due deliveries of an endpoint are looked at together.
const EXAMINED: i32 = 32;

/// How long what waits for something under way is left alone, in microseconds, unless that ends before: its
/// end makes the next of its secret due. A backlog is written anew once in this time, which must cost little
/// beside what is sent of it meanwhile.
const MOMENT: i64 = 15_000_000;

// By the event, not by the endpoint: that may be deleted while something is under way to it.
static UNDER_WAY: Statement = Statement::new(
    c"SELECT o.project_id, count(*)::integer FROM control_plane.deliveries AS l JOIN control_plane.outbox AS o ON o.id = l.event_id WHERE l.status = 'pending' AND l.leased_until IS NOT NULL AND l.leased_until > $1 GROUP BY o.project_id",
);

// From one endpoint of the index to the next, however much waits for each. What is at its limit is left
// out before the limit of rows: else many that hang would hide one that does not.
static OPEN: Statement = Statement::new(
    c"WITH RECURSIVE waiting AS (
    (SELECT d.endpoint_id, d.next_attempt_at FROM control_plane.deliveries AS d
     WHERE d.status = 'pending' ORDER BY d.endpoint_id, d.next_attempt_at LIMIT 1)
    UNION ALL
    SELECT later.endpoint_id, later.next_attempt_at FROM waiting AS w CROSS JOIN LATERAL
        (SELECT d.endpoint_id, d.next_attempt_at FROM control_plane.deliveries AS d
         WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id
         ORDER BY d.endpoint_id, d.next_attempt_at LIMIT 1) AS later
), open AS MATERIALIZED (
    SELECT e.id, e.project_id, due.next_attempt_at, most.most
    FROM waiting AS w
    JOIN control_plane.endpoints AS e ON e.id = w.endpoint_id
    CROSS JOIN LATERAL (SELECT CASE WHEN e.answering AND e.slow_downs = 0 THEN $3 ELSE 1 END AS most) AS most
    CROSS JOIN LATERAL
        (SELECT count(*) FROM control_plane.deliveries AS l
         WHERE l.endpoint_id = e.id AND l.status = 'pending'
             AND l.leased_until IS NOT NULL AND l.leased_until > $1) AS under_way
    CROSS JOIN LATERAL
        (SELECT d.next_attempt_at FROM control_plane.deliveries AS d
         WHERE d.endpoint_id = e.id AND d.status = 'pending' AND d.next_attempt_at <= $1
             AND (d.leased_until IS NULL OR d.leased_until <= $1)
         ORDER BY d.next_attempt_at LIMIT 1) AS due
    WHERE w.next_attempt_at <= $1 AND e.enabled AND (e.not_before IS NULL OR e.not_before <= $1)
        AND e.project_id <> ALL ($4) AND under_way.count < most.most
), turns AS MATERIALIZED (
    SELECT o.id, o.most, o.next_attempt_at,
        row_number() OVER (PARTITION BY o.project_id ORDER BY o.next_attempt_at) AS turn
    FROM open AS o
)
SELECT e.id, t.most, e.project_id
FROM turns AS t JOIN control_plane.endpoints AS e ON e.id = t.id
ORDER BY t.turn, t.next_attempt_at
LIMIT $2
FOR NO KEY UPDATE OF e SKIP LOCKED",
);

// What has something of its secret before it says until when it waits: until that is tried again, and for
// a moment at least. BETWEEN leaves one index to find the first in order: with = the planner may
// take that of all that the endpoint was ever told for as good.
static EXAMINE: Statement = Statement::new(
    c"SELECT e.id, under_way.count, d.id, head.id IS NOT NULL, greatest(head.next_attempt_at, $2 + $4), d.next_attempt_at FROM unnest($1) AS e (id) CROSS JOIN LATERAL (SELECT count(*) FROM control_plane.deliveries AS l WHERE l.endpoint_id = e.id AND l.status = 'pending' AND l.leased_until IS NOT NULL AND l.leased_until > $2) AS under_way CROSS JOIN LATERAL (SELECT d.id, d.chain_id, d.event_id, d.next_attempt_at FROM control_plane.deliveries AS d WHERE d.endpoint_id = e.id AND d.status = 'pending' AND d.next_attempt_at <= $2 AND (d.leased_until IS NULL OR d.leased_until <= $2) ORDER BY d.next_attempt_at LIMIT $3) AS d LEFT JOIN LATERAL (SELECT b.id, b.next_attempt_at FROM control_plane.deliveries AS b WHERE b.endpoint_id = e.id AND b.chain_id BETWEEN d.chain_id AND d.chain_id AND b.status = 'pending' AND b.event_id < d.event_id ORDER BY b.chain_id, b.event_id LIMIT 1) AS head ON true ORDER BY d.next_attempt_at, d.event_id",
);

// Only what nobody has touched since it was looked at: if what it waited for has ended meanwhile, it was
// told so by another due time, and would sleep through that.
static DEFER: Statement = Statement::new(
    c"UPDATE control_plane.deliveries AS d SET next_attempt_at = due.until FROM (SELECT l.id, b.until FROM unnest($1, $2, $3) AS b (id, until, seen) JOIN control_plane.deliveries AS l ON l.id = b.id WHERE l.status = 'pending' AND l.next_attempt_at = b.seen FOR NO KEY UPDATE OF l SKIP LOCKED) AS due WHERE d.id = due.id",
);

/// The endpoints that a claim may take from, in the order of their turns.
pub(super) struct Turns<'s> {
    session: &'s Session,
    now: i64,
    open: Vec<Open>,
    /// How many more may go to each project.
    free: HashMap<String, usize>,
}

/// An endpoint that has something due, and room for it.
struct Open {
    endpoint: Uuid,
    project: String,
    /// How many webhooks may be under way to it.
    most: usize,
}

/// What is due of one endpoint.
#[derive(Default)]
struct Queue {
    under_way: usize,
    ready: VecDeque<Uuid>,
    blocked: usize,
}

/// What can be sent of a project, by its endpoints.
struct Project {
    id: String,
    endpoints: VecDeque<VecDeque<Uuid>>,
}

impl Project {
    /// One delivery of the endpoint whose turn it is.
    fn next(&mut self) -> Option<Uuid> {
        loop {
            let mut endpoint = self.endpoints.pop_front()?;
            if let Some(delivery) = endpoint.pop_front() {
                self.endpoints.push_back(endpoint);
                return Some(delivery);
            }
        }
    }
}

/// What was looked at and has to wait: until when, and when it was due.
#[derive(Default)]
struct Blocked {
    deliveries: Vec<Uuid>,
    until: Vec<i64>,
    seen: Vec<i64>,
}

impl<'s> Turns<'s> {
    /// Locks at most `most` endpoints that have something due at `now` and room for it: the longest
    /// waiting one of each project, then the second of each, and so on.
    pub(super) fn open(session: &'s Session, now: i64, most: i32) -> Result<Self> {
        let share = settings::project_concurrency();
        let mut free = HashMap::new();
        let mut full = Vec::new();
        for row in session
            .run(&UNDER_WAY, &[Param::Timestamp(Some(now))])?
            .iter()
        {
            let project = row.text(0).unwrap_or_default();
            let under_way = usize::try_from(row.integer(1).unwrap_or(0)).unwrap_or(0);
            let left = share.saturating_sub(under_way);
            if left == 0 {
                full.push(project.clone());
            }
            free.insert(project, left);
        }
        let open = session.run(
            &OPEN,
            &[
                Param::Timestamp(Some(now)),
                Param::Integer(Some(most)),
                Param::Integer(Some(settings::endpoint_concurrency())),
                Param::Texts(Some(&full)),
            ],
        )?;
        let open: Vec<Open> = open
            .iter()
            .map(|row| {
                let missing = || Error::internal("an endpoint without id or project");
                Ok(Open {
                    endpoint: row.uuid(0).ok_or_else(missing)?,
                    most: usize::try_from(row.integer(1).ok_or_else(missing)?).unwrap_or(1),
                    project: row.text(2).ok_or_else(missing)?,
                })
            })
            .collect::<Result<_>>()?;
        for one in &open {
            free.entry(one.project.clone()).or_insert(share);
        }
        Ok(Self {
            session,
            now,
            open,
            free,
        })
    }

    /// Whether no endpoint may have more.
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Chooses at most `room` deliveries that can be sent now, and defers those that must wait for
    /// another of their secret. What may have more is looked at again by the next call.
    pub(super) fn choose(&mut self, room: usize) -> Result<Vec<Uuid>> {
        let mut queues = self.examine()?;
        let mut projects: Vec<Project> = Vec::new();
        let mut on = Vec::new();
        for one in self.open.drain(..) {
            let Some(mut queue) = queues.remove(&one.endpoint) else {
                continue;
            };
            let free = one.most.saturating_sub(queue.under_way);
            let all_seen = queue.ready.len() + queue.blocked < EXAMINED as usize;
            let more = !all_seen && queue.blocked > 0 && queue.ready.len() < free;
            queue.ready.truncate(free);
            match projects.iter_mut().find(|known| known.id == one.project) {
                Some(known) => known.endpoints.push_back(queue.ready),
                None => projects.push(Project {
                    id: one.project.clone(),
                    endpoints: VecDeque::from([queue.ready]),
                }),
            }
            if more {
                on.push(one);
            }
        }
        self.open = on;
        let mut turns = VecDeque::from(projects);
        let mut chosen = Vec::new();
        while chosen.len() < room
            && let Some(mut project) = turns.pop_front()
        {
            let free = self.free.get_mut(&project.id).filter(|free| **free > 0);
            if let Some(free) = free
                && let Some(delivery) = project.next()
            {
                *free -= 1;
                chosen.push(delivery);
                turns.push_back(project);
            }
        }
        Ok(chosen)
    }

    /// What is due of each endpoint.
    fn examine(&self) -> Result<HashMap<Uuid, Queue>> {
        let endpoints: Vec<Uuid> = self.open.iter().map(|one| one.endpoint).collect();
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
        let mut blocked = Blocked::default();
        for row in due.iter() {
            let missing = || Error::internal("a due delivery without id");
            let endpoint = row.uuid(0).ok_or_else(missing)?;
            let delivery = row.uuid(2).ok_or_else(missing)?;
            let queue = queues.entry(endpoint).or_default();
            queue.under_way = usize::try_from(row.bigint(1).unwrap_or(0)).unwrap_or(0);
            if row.boolean(3) == Some(true) {
                queue.blocked += 1;
                blocked.deliveries.push(delivery);
                blocked.until.push(row.timestamp(4).ok_or_else(missing)?);
                blocked.seen.push(row.timestamp(5).ok_or_else(missing)?);
            } else {
                queue.ready.push_back(delivery);
            }
        }
        self.defer(&blocked)?;
        Ok(queues)
    }

    fn defer(&self, blocked: &Blocked) -> Result<()> {
        if blocked.deliveries.is_empty() {
            return Ok(());
        }
        let params = [
            Param::Uuids(Some(&blocked.deliveries)),
            Param::Timestamps(&blocked.until),
            Param::Timestamps(&blocked.seen),
        ];
        self.session.run(&DEFER, &params)?;
        Ok(())
    }
}
