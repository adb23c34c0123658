//! Retention of the audit: the oldest go, a signed checkpoint says up to where, and what was tampered
//! with stays to be looked at.

use crate::verdict::{UNPROTECTED, Verdict, head, last, read, rewrite_from, server, verify};
use pg_secrets_tests::{Cluster, Home, Key, Proof, Session, chained, eventually};
use serde_json::Value;

/// Sets how long records are kept.
async fn keep(sql: &Session, time: &str) -> Proof {
    sql.run(&format!(
        "ALTER SYSTEM SET pg_secrets.audit_retention = '{time}'"
    ))
    .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    Ok(())
}

/// The number of the last link that was removed; 0 where none was.
async fn checkpoint(sql: &Session) -> Proof<i64> {
    let seq: i64 = sql
        .one(
            "SELECT coalesce(max(seq), 0) FROM control_plane.audit_heads WHERE kind = 'checkpoint'",
            &[],
        )
        .await?;
    Ok(seq)
}

async fn checkpoint_reaches(sql: &Session, seq: i64) {
    eventually("a checkpoint", || async {
        (checkpoint(sql).await.ok()? >= seq).then_some(())
    })
    .await;
}

/// Makes the records up to a link two hours older than they are, as if they had been written then.
async fn age(sql: &Session, to: i64) -> Proof {
    chained(sql).await;
    sql.run(UNPROTECTED).await?;
    let first: i64 = sql
        .one("SELECT min(seq) FROM control_plane.audit_chain", &[])
        .await?;
    sql.run(&format!(
        "UPDATE control_plane.audit_logs SET at = at - interval '2 hours' WHERE id IN
             (SELECT record_id FROM control_plane.audit_chain WHERE seq <= {to}); {}",
        rewrite_from(first)
    ))
    .await?;
    sql.run(
        "ALTER TABLE control_plane.audit_logs ENABLE ALWAYS TRIGGER protect;
         ALTER TABLE control_plane.audit_chain ENABLE ALWAYS TRIGGER protect;
         ALTER TABLE control_plane.audit_unchained ENABLE ALWAYS TRIGGER protect;
         ALTER TABLE control_plane.audit_heads ENABLE ALWAYS TRIGGER protect;
         COMMIT",
    )
    .await?;
    assert_eq!(verify(sql, None).await?, Verdict::intact());
    Ok(())
}

/// How many links there are from one number to another.
async fn links(sql: &Session, from: i64, to: i64) -> Proof<i64> {
    let count: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_chain AS c JOIN control_plane.audit_logs AS a ON a.id = c.record_id
             WHERE c.seq BETWEEN $1 AND $2",
            &[&from, &to],
        )
        .await?;
    Ok(count)
}

#[tokio::test]
async fn old_records_go_in_batches_and_the_rest_can_be_verified() -> Proof {
    let (_cluster, sql) = server("pg_secrets.maintenance_interval = '1s'").await?;
    read(&sql, 2300).await?;
    chained(&sql).await;
    let old = last(&sql).await?;
    age(&sql, old).await?;
    let older_head = head(&sql).await?;
    read(&sql, 50).await?;
    chained(&sql).await;
    let newer = last(&sql).await?;
    let newer_head = head(&sql).await?;
    keep(&sql, "1h").await?;
    checkpoint_reaches(&sql, old).await;
    assert_eq!(checkpoint(&sql).await?, old);
    assert_eq!(links(&sql, 1, old).await?, 0);
    assert_eq!(links(&sql, old + 1, newer).await?, newer - old);
    let left: i64 = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE at < now() - interval '1 hour'",
            &[],
        )
        .await?;
    assert_eq!(left, 0);

    // What went is said, batch by batch.
    let told: Vec<Value> = sql
        .all(
            "SELECT detail FROM control_plane.audit_logs WHERE action = 'audit.retained' ORDER BY id",
            &[],
        )
        .await?;
    let mut next = 1;
    for batch in &told {
        assert_eq!(batch["from_seq"], next, "{told:?}");
        let to = batch["to_seq"].as_i64().unwrap_or(0);
        assert_eq!(batch["records"], to - next + 1, "{told:?}");
        assert!(to - next < 1000, "{told:?}");
        next = to + 1;
    }
    assert_eq!(next, old + 1, "{told:?}");
    assert!(told.len() > 2, "{told:?}");

    chained(&sql).await;
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    assert_eq!(verify(&sql, Some(&newer_head)).await?, Verdict::intact());
    // The head of the checkpoint itself is the last of which something can be said.
    assert_eq!(verify(&sql, Some(&older_head)).await?, Verdict::intact());
    age(&sql, newer - 10).await?;
    checkpoint_reaches(&sql, newer - 10).await;
    let unverifiable = Verdict::of("unverifiable", Some(old), None);
    chained(&sql).await;
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    assert_eq!(verify(&sql, Some(&older_head)).await?, unverifiable);
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_that_retention_did_not_sign_is_found_and_not_built_upon() -> Proof {
    let (cluster, sql) = server("pg_secrets.maintenance_interval = '1s'").await?;
    read(&sql, 20).await?;
    chained(&sql).await;
    age(&sql, 10).await?;
    keep(&sql, "1h").await?;
    checkpoint_reaches(&sql, 10).await;
    chained(&sql).await;
    let forged = [
        "UPDATE control_plane.audit_heads SET hash = sha256('x') WHERE kind = 'checkpoint'",
        "UPDATE control_plane.audit_heads SET seq = 11 WHERE kind = 'checkpoint'; DELETE FROM control_plane.audit_logs
             WHERE id = (SELECT record_id FROM control_plane.audit_chain WHERE seq = 11);
         DELETE FROM control_plane.audit_chain WHERE seq = 11",
        "UPDATE control_plane.audit_heads SET signed = replace(signed, 'seq: 10', 'seq: 11') WHERE kind = 'checkpoint'",
        "UPDATE control_plane.audit_heads SET signed = '' WHERE kind = 'checkpoint'",
    ];
    for forge in forged {
        sql.run(UNPROTECTED).await?;
        sql.run(forge).await?;
        let said = verify(&sql, None).await?;
        sql.run("ROLLBACK").await?;
        assert_eq!(said.problem.as_deref(), Some("unverifiable"), "{forge}");
    }
    sql.run(UNPROTECTED).await?;
    sql.run("DELETE FROM control_plane.audit_heads WHERE kind = 'checkpoint'")
        .await?;
    let said = verify(&sql, None).await?;
    sql.run("ROLLBACK").await?;
    assert_eq!(said, Verdict::of("removed", Some(10), None));

    // Retention does not make a signed one of it.
    sql.run(UNPROTECTED).await?;
    sql.run(&format!(
        "{}; {}
         UPDATE control_plane.audit_logs SET at = at - interval '2 hours' WHERE id IN
             (SELECT record_id FROM control_plane.audit_chain WHERE seq <= 15); {}
         COMMIT",
        forged[0],
        rewrite_from(11),
        rewrite_from(11)
    ))
    .await?;
    let stops = || cluster.log().contains("retention stops at records");
    eventually("a line of the log", || async { stops().then_some(()) }).await;
    assert_eq!(checkpoint(&sql).await?, 10);
    assert_eq!(links(&sql, 11, 15).await?, 5);
    Ok(())
}

#[tokio::test]
async fn retention_stops_at_what_was_tampered_with() -> Proof {
    for tamper in [
        "UPDATE control_plane.audit_logs SET actor = 'x' WHERE id = ",
        "DELETE FROM control_plane.audit_logs WHERE id = ",
    ] {
        for seq in [1, 5] {
            let (cluster, sql) = server("pg_secrets.maintenance_interval = '1s'").await?;
            read(&sql, 20).await?;
            chained(&sql).await;
            age(&sql, 10).await?;
            sql.run(UNPROTECTED).await?;
            sql.run(&format!(
                "{tamper}(SELECT record_id FROM control_plane.audit_chain WHERE seq = {seq}); COMMIT"
            ))
            .await?;
            let before = links(&sql, 1, 10).await?;
            keep(&sql, "1h").await?;
            eventually("a line of the log", || async {
                let log = cluster.log();
                log.contains("removing old records of the audit: retention stops")
                    .then_some(())
            })
            .await;
            assert_eq!(checkpoint(&sql).await?, 0, "{tamper}");
            assert_eq!(links(&sql, 1, 10).await?, before, "{tamper}");
            // Everything else goes on.
            read(&sql, 1).await?;
            chained(&sql).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn somebody_elses_lock_delays_retention_and_nothing_beside_it() -> Proof {
    let (cluster, sql) = server("pg_secrets.maintenance_interval = '1s'").await?;
    read(&sql, 40).await?;
    chained(&sql).await;
    age(&sql, 20).await?;
    // As pg_dump has it: everything goes on.
    let other = cluster.sql().await?;
    other
        .run(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.audit_logs;
             LOCK TABLE control_plane.audit_logs, control_plane.audit_chain, control_plane.audit_heads,
                 control_plane.audit_unchained, control_plane.audit_progress IN ACCESS SHARE MODE",
        )
        .await?;
    keep(&sql, "1h").await?;
    checkpoint_reaches(&sql, 20).await;
    read(&sql, 1).await?;
    chained(&sql).await;
    let still: i64 = other
        .one("SELECT count(*) FROM control_plane.audit_logs", &[])
        .await?;
    assert!(still >= 40, "{still} of the records that it had seen");
    other.run("COMMIT").await?;

    keep(&sql, "0").await?;
    // What was begun under the old setting comes to its end.
    age(&sql, 30).await?;
    other
        .run("BEGIN; LOCK TABLE control_plane.audit_heads IN ACCESS EXCLUSIVE MODE")
        .await?;
    keep(&sql, "1h").await?;
    eventually("a line of the log", || async {
        let log = cluster.log();
        log.contains("removing old records of the audit: ")
            .then_some(())
    })
    .await;
    let before = last(&sql).await?;
    read(&sql, 5).await?;
    eventually("records chained beside it", || async {
        (last(&sql).await.ok()? >= before + 5).then_some(())
    })
    .await;
    assert_eq!(links(&sql, 21, 30).await?, 10);
    other.run("COMMIT").await?;
    checkpoint_reaches(&sql, 30).await;
    // Where the records themselves are locked reads wait, and go on.
    other
        .run("BEGIN; LOCK TABLE control_plane.audit_logs IN ACCESS EXCLUSIVE MODE")
        .await?;
    let reader = cluster.sql().await?;
    let reading = tokio::spawn(async move { read(&reader, 1).await });
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(!reading.is_finished());
    other.run("COMMIT").await?;
    reading.await??;
    chained(&sql).await;
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    Ok(())
}

#[tokio::test]
async fn a_change_of_keys_leaves_checkpoints_and_heads_that_the_new_key_vouches_for() -> Proof {
    let (a, b) = (Key::generate("rfc9580"), Key::generate("rfc4880"));
    let keys = Home::new();
    let path = keys.write("keys.asc", &a);
    let settings = format!(
        "pg_secrets.maintenance_interval = '1s'\npg_secrets.audit_head_interval = 0\npg_secrets.key_file = '{}'\n",
        path.display()
    );
    let cluster = Cluster::start(Key::None, &settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'a value')")
        .await?;
    read(&sql, 30).await?;
    age(&sql, 10).await?;
    keep(&sql, "1h").await?;
    checkpoint_reaches(&sql, 10).await;

    let use_keys = async |text: String, primary: &str| -> Proof {
        keys.write("keys.asc", &text);
        sql.run("SELECT pg_reload_conf()").await?;
        eventually("the keys", || async {
            let said: String = sql
                .one(
                    "SELECT fingerprint FROM control_plane.pgp_keys() WHERE \"primary\"",
                    &[],
                )
                .await
                .ok()?;
            (primary.is_empty() || said != primary).then_some(())
        })
        .await;
        Ok(())
    };
    let old: String = sql
        .one("SELECT fingerprint FROM control_plane.pgp_keys()", &[])
        .await?;
    use_keys(format!("{b}{a}"), &old).await?;
    let mut left: i64 = 1;
    while left > 0 {
        left = sql
            .one("SELECT control_plane.reencrypt_secrets(100)", &[])
            .await?;
    }
    use_keys(b.clone(), &old).await?;
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    age(&sql, 20).await?;
    checkpoint_reaches(&sql, 20).await;
    assert_eq!(verify(&sql, None).await?, Verdict::intact());

    // Without that, the verdict names the key that is missed.
    let c = Key::generate("rfc9580");
    let new: String = sql
        .one(
            "SELECT fingerprint FROM control_plane.pgp_keys() WHERE \"primary\"",
            &[],
        )
        .await?;
    use_keys(c, &new).await?;
    let explanation: String = sql
        .one("SELECT explanation FROM control_plane.verify_audit()", &[])
        .await?;
    assert!(
        explanation.contains("put it back behind the primary one"),
        "{explanation}"
    );
    Ok(())
}
