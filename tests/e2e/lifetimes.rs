//! Many secrets whose times come while clients change them and the server is killed: what the tables say
//! afterwards fits together.

use crate::duration;
use pg_secrets_tests::{Cluster, Key, Proof, Session, SqlError, eventually};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

const SETTINGS: &str = "fsync = off\nmax_connections = 60\npg_secrets.maintenance_interval = 1\n\
    pg_secrets.expiry_warning = 1\npg_secrets.grace_period = 1\npg_secrets.purge_after = 2\n";
const CLIENTS: u64 = 16;
const NAMES: u64 = 200;

const ID: &str = "control_plane.secret_id('p', $1)";

/// What a client does, as often as it stands here.
fn call(choice: u64) -> String {
    let deleted = "(SELECT id FROM control_plane.list_secrets('p', 'deleted') WHERE name = $1 ORDER BY id LIMIT 1)";
    let older = format!(
        "(SELECT id FROM control_plane.secret_versions({ID}) ORDER BY active, version DESC LIMIT 1)"
    );
    match choice {
        0..4 => "create_secret('p', $1, 'a value')".to_owned(),
        4 => format!("rotate_secret({ID}, 'another value', grace => '0')"),
        5..8 => format!("rotate_secret({ID}, 'another value', grace => '300 milliseconds')"),
        8..10 => format!("rotate_secret({ID}, 'another value', grace => '1500 milliseconds')"),
        10 => format!("extend_grace({older}, '500 milliseconds')"),
        11 => format!("end_grace({older})"),
        12..14 => format!("delete_secret({ID})"),
        14 => format!("restore_secret({deleted})"),
        15 => format!("purge_secret({deleted})"),
        16 => format!(
            "rollback_secret({ID}, (SELECT version FROM control_plane.secret_versions({ID}) ORDER BY active, version DESC LIMIT 1))"
        ),
        17 => "get_secret_by_name('p', $1, service => 'reader')".to_owned(),
        _ => "run_maintenance() WHERE $1::text IS NOT NULL".to_owned(),
    }
}

const CHOICES: u64 = 19;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_secrets_live_and_die_by_the_rules_while_the_server_is_killed() -> Proof {
    let (time, kills) = (
        duration(12, 60),
        if duration(0, 1).is_zero() { 3 } else { 10 },
    );
    let cluster = Cluster::start(Key::new(), SETTINGS);
    cluster.install().await?;
    let cluster = Arc::new(RwLock::new(cluster));
    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&cluster), number, until));
    }
    for _ in 0..kills {
        tokio::time::sleep(time / (kills + 1)).await;
        let mut cluster = cluster.write().await;
        cluster.kill9();
        cluster.resume();
    }
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for one in clients.join_all().await {
        for (outcome, count) in one {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    let unexpected = |outcome: &String| !outcome.starts_with("PT4") && outcome != "done";
    let strange: Vec<_> = outcomes
        .keys()
        .filter(|outcome| unexpected(outcome))
        .collect();
    assert!(strange.is_empty(), "{outcomes:?}");

    let sql = cluster.read().await.sql().await?;
    eventually("what is due is done", || async {
        let left: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.secrets
                 WHERE purge_at < clock_timestamp() OR destroyed_at IS NULL AND NOT active",
                &[],
            )
            .await
            .ok()?;
        (left == 0).then_some(())
    })
    .await;
    for kind in [
        "secret.created",
        "secret.rotated",
        "secret.expiring",
        "secret.destroyed",
        "secret.deleted",
        "secret.restored",
        "secret.purged",
    ] {
        let by_worker = matches!(
            kind,
            "secret.expiring" | "secret.destroyed" | "secret.purged"
        );
        let seen: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.audit_logs
                 WHERE action = $1 AND (actor = 'pg_secrets') = $2",
                &[&kind, &by_worker],
            )
            .await?;
        assert!(seen > 10, "too few to prove anything: {kind}: {outcomes:?}");
    }
    everything_fits(&sql).await
}

/// Changes names at random, and connects anew when the server is gone. How often what came of it.
async fn client(cluster: Arc<RwLock<Cluster>>, seed: u64, until: Instant) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    let mut random = seed + 1;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut session: Option<Session> = None;
    while Instant::now() < until {
        let Some(sql) = &session else {
            session = cluster.read().await.sql().await.ok();
            if session.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            continue;
        };
        let name = format!("name {}", draw(NAMES));
        let statement = format!("SELECT FROM control_plane.{}", call(draw(CHOICES)));
        let outcome = match sql.rows(&statement, &[&name]).await {
            Ok(_) => "done".to_owned(),
            Err(lost) if is_lost(&lost) => {
                session = None;
                continue;
            }
            Err(refused) => refused.state,
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

/// Whether the server was killed: the connection is gone, or the server goes.
fn is_lost(error: &SqlError) -> bool {
    error.state.is_empty() || error.state.starts_with("57P") || error.state == "PT503"
}

/// What the tables must say. Each query finds what breaks a rule.
async fn everything_fits(sql: &Session) -> Proof {
    for (rule, query) in [
        (
            "a name has one current version at most",
            "SELECT name FROM control_plane.secrets
             WHERE active AND deleted_at IS NULL GROUP BY name HAVING count(*) > 1",
        ),
        (
            "a number is given once, to a version with one event and one record of its making",
            "SELECT n.name FROM control_plane.secret_names AS n
             LEFT JOIN LATERAL (
                 SELECT array_agg(a.version ORDER BY a.version) AS numbers, array_agg(a.secret_id ORDER BY a.secret_id) AS ids
                 FROM control_plane.audit_logs AS a
                 WHERE a.name = n.name AND a.action IN ('secret.created', 'secret.rotated', 'secret.rolled_back')
             ) AS made ON true
             LEFT JOIN LATERAL (
                 SELECT array_agg(o.secret_id ORDER BY o.secret_id) AS ids FROM control_plane.outbox AS o
                 WHERE o.name = n.name AND o.type IN ('secret.created', 'secret.rotated')
             ) AS told ON true
             WHERE made.numbers IS DISTINCT FROM ARRAY(SELECT generate_series(1, n.last_version))
                 OR made.ids IS DISTINCT FROM told.ids",
        ),
        (
            "every change has as many events as records",
            "SELECT coalesce(a.secret_id, o.secret_id)::text || ' ' || coalesce(a.action, o.type)
             FROM (
                 SELECT secret_id, action, count(*) FROM control_plane.audit_logs
                 WHERE action IN ('secret.created', 'secret.expiring', 'secret.destroyed', 'secret.deleted', 'secret.restored', 'secret.purged')
                 GROUP BY 1, 2
             ) AS a
             FULL JOIN (
                 SELECT secret_id, type, count(*) FROM control_plane.outbox
                 WHERE type IN ('secret.created', 'secret.expiring', 'secret.destroyed', 'secret.deleted', 'secret.restored', 'secret.purged')
                 GROUP BY 1, 2
             ) AS o ON o.secret_id = a.secret_id AND o.type = a.action
             WHERE a.count IS DISTINCT FROM o.count",
        ),
        (
            "what was destroyed was so once, and never comes back",
            "SELECT s.id::text FROM control_plane.secrets AS s
             WHERE (SELECT count(*) FROM control_plane.audit_logs AS a WHERE a.secret_id = s.id AND a.action = 'secret.destroyed')
                 <> CASE WHEN s.destroyed_at IS NULL THEN 0 ELSE 1 END
                 OR (s.destroyed_at IS NULL) <> (s.value_encrypted IS NOT NULL)",
        ),
        (
            "nothing is destroyed twice, also what is gone by now",
            "SELECT secret_id::text FROM control_plane.audit_logs WHERE action IN ('secret.destroyed', 'secret.purged')
             GROUP BY secret_id, action HAVING count(*) > 1",
        ),
        (
            // The record of a change is older than its commit, and that of a read younger than its look.
            "nothing is read once the change that destroyed it is long over",
            "SELECT r.secret_id::text FROM control_plane.audit_logs AS r
             JOIN control_plane.audit_logs AS d ON d.secret_id = r.secret_id AND d.action = 'secret.destroyed' AND d.at < r.at - interval '2 seconds'
             WHERE r.action = 'secret.accessed' AND r.outcome = 'success'",
        ),
        (
            "a warning comes again after an extension alone",
            "SELECT secret_id::text FROM control_plane.audit_logs
             WHERE action IN ('secret.expiring', 'secret.grace_extended') GROUP BY secret_id
             HAVING count(*) FILTER (WHERE action = 'secret.expiring') > 1 + count(*) FILTER (WHERE action = 'secret.grace_extended')",
        ),
        (
            "what was purged is gone",
            "SELECT s.id::text FROM control_plane.secrets AS s
             JOIN control_plane.audit_logs AS a ON a.secret_id = s.id AND a.action = 'secret.purged'",
        ),
        (
            "every secret that was made is there, or was purged once",
            "SELECT n.name FROM control_plane.secret_names AS n
             WHERE (SELECT count(*) FROM control_plane.outbox AS o WHERE o.name = n.name AND o.type = 'secret.created')
                 <> (SELECT count(*) FROM control_plane.outbox AS o WHERE o.name = n.name AND o.type = 'secret.purged')
                 + (SELECT count(DISTINCT s.chain_id) FROM control_plane.secrets AS s WHERE s.name = n.name)",
        ),
        (
            "every deletion was taken back, ended in a purge, or still holds",
            "SELECT n.name FROM control_plane.secret_names AS n
             WHERE (SELECT count(*) FROM control_plane.outbox AS o WHERE o.name = n.name AND o.type = 'secret.deleted')
                 <> (SELECT count(*) FROM control_plane.outbox AS o WHERE o.name = n.name AND o.type IN ('secret.purged', 'secret.restored'))
                 + (SELECT count(DISTINCT s.chain_id) FROM control_plane.secrets AS s WHERE s.name = n.name AND s.deleted_at IS NOT NULL)",
        ),
        (
            "nobody went past the functions",
            "SELECT id::text FROM control_plane.audit_logs WHERE action = 'audit.direct_change'",
        ),
    ] {
        let broken: Vec<String> = sql.all(query, &[]).await?;
        assert!(broken.is_empty(), "{rule}: {broken:?}");
    }
    Ok(())
}
