//! What goes wrong between sessions: a deadlock, a wait, a crash.

use crate::loud::Loud;
use pg_secrets_tests::{Canaries, Cluster, Key, Proof, Session, eventually};
use std::process::Command;
use std::sync::Arc;

/// Two sessions, each with a value in the statement by which it waits for the other.
pub(crate) async fn deadlock(loud: &Loud) -> Proof {
    let first = Arc::new(loud.cluster.sql().await?);
    let second = loud.cluster.sql().await?;
    second
        .run(
            "PREPARE dead(text) AS UPDATE app.locked SET v = length(control_plane.pgp_decrypt(control_plane.pgp_encrypt($1))) WHERE id = 1",
        )
        .await?;
    first
        .run("BEGIN; UPDATE app.locked SET v = 1 WHERE id = 1")
        .await?;
    second
        .run("BEGIN; UPDATE app.locked SET v = 1 WHERE id = 2")
        .await?;
    let waits = loud.filled(
        "a deadlock",
        "UPDATE app.locked SET v = length(control_plane.pgp_decrypt(control_plane.pgp_encrypt('{}'))) WHERE id = 2",
    );
    let waiting = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.run(&waits).await }
    });
    let other = loud.cluster.sql().await?;
    until_one_waits(&other).await;
    loud.look(&other).await;
    let executed = second
        .run(&loud.filled("a deadlock of an execute", "EXECUTE dead('{}')"))
        .await;
    let updated = waiting.await?;
    let states: Vec<String> = [executed, updated]
        .into_iter()
        .filter_map(|outcome| Some(outcome.err()?.state))
        .collect();
    assert_eq!(states, ["40P01"]);
    loud.look(&other).await;
    Ok(())
}

/// One that waits with a value, until it is cancelled.
pub(crate) async fn wait_for_a_lock(loud: &Loud) -> Proof {
    let holder = loud.cluster.sql().await?;
    let waiter = loud.cluster.sql().await?;
    holder
        .run("BEGIN; UPDATE app.locked SET v = 2 WHERE id = 1")
        .await?;
    waiter
        .run("PREPARE waits(text) AS UPDATE app.locked SET v = length(control_plane.pgp_decrypt(control_plane.pgp_encrypt($1))) WHERE id = 1; SET lock_timeout = '400ms'")
        .await?;
    for template in [
        "UPDATE app.locked SET v = length(control_plane.pgp_decrypt(control_plane.pgp_encrypt('{}'))) WHERE id = 1",
        "EXECUTE waits('{}')",
    ] {
        loud.say(&waiter, "a wait for a lock", template, "55P03")
            .await;
    }
    // A lock that the analysis itself waits for, before anything of ours has run.
    holder
        .run("LOCK TABLE app.letters IN ACCESS EXCLUSIVE MODE")
        .await?;
    loud.say(
        &waiter,
        "a wait in the analysis",
        "SELECT control_plane.pgp_encrypt('{}'), v FROM app.letters",
        "55P03",
    )
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_parsed_is_hidden_also_where_nothing_is_logged() -> Proof {
    let cluster = Cluster::start(Key::new(), "fsync = off\nlog_min_messages = panic");
    cluster.install().await?;
    let canaries = Canaries::default();
    let (sql, other) = (cluster.sql().await?, cluster.sql().await?);
    for text in [
        "SELECT control_plane.pgp_encrypt('{}'",
        "SELECT control_plane.get_secretz('{}')",
    ] {
        let text = text.replace("{}", &canaries.fresh(text));
        sql.refused_text(&text).await;
        // The client may know of the error a moment before the server gives the statement up.
        let finder = canaries.finder();
        eventually("a statement that is hidden", || async {
            let shown: Vec<String> = other
                .all("SELECT query FROM pg_stat_activity", &[])
                .await
                .ok()?;
            let found = finder.find("pg_stat_activity", shown.join(" ").as_bytes());
            found.is_empty().then_some(())
        })
        .await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_statement_that_quotes_one_of_ours_is_masked() -> Proof {
    let cluster = Cluster::start(Key::new(), "fsync = off");
    cluster.install().await?;
    let canaries = Canaries::default();
    let sql = cluster.sql().await?;
    let quoted = canaries.fresh("a quoted statement");
    sql.run(&format!(
        "CREATE TABLE history AS SELECT 'SELECT control_plane.pgp_encrypt(''{quoted}'')' AS line;
         CREATE FUNCTION tell() RETURNS void LANGUAGE plpgsql AS $$
         BEGIN RAISE WARNING USING MESSAGE = 'told', DETAIL = (SELECT line FROM history); END $$"
    ))
    .await?;
    sql.run("SELECT tell()").await?;
    sql.run("DO $$ BEGIN RAISE WARNING 'the end'; END $$")
        .await?;
    let log = cluster.log();
    assert!(log.contains("the end"), "{log}");
    let found = canaries.finder().find("the log", log.as_bytes());
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}

/// Kills a process in the middle of a statement; the server starts anew.
pub(crate) async fn crash(loud: &Loud, how: &str, template: &str) -> Proof {
    let victim = loud.cluster.sql().await?;
    let pid: i32 = victim.one("SELECT pg_backend_pid()", &[]).await?;
    let text = loud.filled(how, template);
    let running = tokio::spawn(async move { victim.run(&text).await });
    let other = loud.cluster.sql().await?;
    eventually("a statement that sleeps", || async {
        let sleeps: bool = other
            .one(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep')",
                &[&pid],
            )
            .await
            .ok()?;
        sleeps.then_some(())
    })
    .await;
    loud.look(&other).await;
    let killed = Command::new("kill")
        .args(["-s", "KILL", &pid.to_string()])
        .status()?;
    assert!(killed.success());
    assert!(running.await?.is_err());
    until_it_is_back(&loud.cluster).await;
    Ok(())
}

async fn until_it_is_back(cluster: &Cluster) {
    eventually("the server", || async {
        let sql = cluster.sql().await.ok()?;
        sql.run("SELECT 1").await.ok()
    })
    .await;
}

async fn until_one_waits(sql: &Session) {
    eventually("a wait for a lock", || async {
        let waits: bool = sql
            .one(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)",
                &[],
            )
            .await
            .ok()?;
        waits.then_some(())
    })
    .await;
}
