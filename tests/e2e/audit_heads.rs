//! Signed heads of the audit: who gets one, what counts as one, and that they are made by themselves.

use crate::gnupg::Gpg;
use crate::verdict::{UNPROTECTED, Verdict, fill, head, read, rewrite_from, server, verify};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pg_secrets_tests::{Cluster, Key, Proof, Session, Sink, TestApp, chained, eventually};
use std::time::Duration;

/// The error of verify_audit for what is given as a head.
async fn refused(sql: &Session, head: &str) -> String {
    let statement = "SELECT control_plane.verify_audit(head => $1)";
    let refused = sql.refused(statement, &[&head]).await;
    assert_eq!(refused.state, "PT422", "{refused:?}");
    refused.message
}

#[tokio::test]
async fn what_is_no_head_of_this_server_is_refused() -> Proof {
    let (_cluster, sql) = server("").await?;
    chained(&sql).await;
    let head = head(&sql).await?;
    assert_eq!(verify(&sql, Some(&head)).await?, Verdict::intact());
    // As a mail program or a file may have left it.
    let carried = format!("{}\r\n", head.replace('\n', "\r\n"));
    assert_eq!(verify(&sql, Some(&carried)).await?, Verdict::intact());
    let mut accepted = Vec::new();
    for position in 0..head.len() {
        let mut changed = head.clone().into_bytes();
        changed[position] ^= 1;
        let changed = String::from_utf8(changed)?;
        let statement = "SELECT control_plane.verify_audit(head => $1)";
        match sql.rows(statement, &[&changed]).await {
            Ok(_) => accepted.push(position),
            Err(error) => assert_eq!(error.state, "PT422", "byte {position}: {error:?}"),
        }
    }
    // Two bytes of a signature are a hint for whoever verifies it (RFC 9580, section 5.2.3): they count for
    // nothing, and stand in three or four letters.
    let armor = head.find("-----BEGIN PGP SIGNATURE").expect("an armor");
    assert!(
        accepted.iter().all(|position| *position > armor) && accepted.len() <= 4,
        "{accepted:?} of {head}"
    );
    let last = head.lines().count();
    for line in 0..last {
        let without: Vec<&str> = head
            .lines()
            .enumerate()
            .filter_map(|(at, text)| (at != line).then_some(text))
            .collect();
        // An empty line between the two parts of an armor alone may be missing.
        let said = sql
            .rows(
                "SELECT control_plane.verify_audit(head => $1)",
                &[&without.join("\n")],
            )
            .await;
        assert!(
            said.is_err_and(|error| error.state == "PT422"),
            "line {line}"
        );
    }
    for garbage in [
        "",
        "head",
        "-----BEGIN PGP SIGNED MESSAGE-----",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nx\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n",
        &head.repeat(2),
        &"x".repeat(16_000),
    ] {
        refused(&sql, garbage).await;
    }
    let (_other, other) = server("").await?;
    chained(&other).await;
    refused(&sql, &self::head(&other).await?).await;
    Ok(())
}

#[tokio::test]
async fn whoever_may_audit_every_project_verifies_and_nobody_else() -> Proof {
    let (cluster, sql) = server("").await?;
    chained(&sql).await;
    sql.run(
        "CREATE ROLE stranger LOGIN; CREATE ROLE partly LOGIN; CREATE ROLE auditor LOGIN;
         GRANT USAGE ON SCHEMA control_plane TO stranger, partly, auditor;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA control_plane TO stranger, partly, auditor;
         SELECT control_plane.grant_project('partly', 'audit', 'p');
         SELECT control_plane.grant_project('partly', 'manage', 'p');
         SELECT control_plane.grant_project('auditor', 'audit')",
    )
    .await?;
    for role in ["stranger", "partly"] {
        let session = cluster.connect(role, "postgres").await?;
        for call in [
            "verify_audit()",
            "verify_audit(1, 2)",
            "export_audit_head()",
        ] {
            let refused = session
                .refused_text(&format!("SELECT control_plane.{call}"))
                .await;
            assert_eq!(refused.state, "PT403", "{role}: {call}");
        }
    }
    let auditor = cluster.connect("auditor", "postgres").await?;
    let head = head(&auditor).await?;
    assert_eq!(verify(&auditor, Some(&head)).await?, Verdict::intact());
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_sign_says_so_and_one_behind_it_can() -> Proof {
    let gpg = Gpg::new();
    gpg.run(&[
        "--quick-generate-key",
        "encrypts only",
        "ed25519",
        "cert",
        "never",
    ]);
    let listed = String::from_utf8(gpg.run(&["--with-colons", "--list-keys"]))?;
    let fingerprint = listed
        .lines()
        .find_map(|line| line.strip_prefix("fpr:"))
        .map(|fields| fields.trim_matches(':'))
        .expect("a key");
    gpg.run(&["--quick-add-key", fingerprint, "cv25519", "encr", "never"]);
    let key = String::from_utf8(gpg.run(&["--armor", "--export-secret-keys"]))?;
    let mut cluster = Cluster::start(Key::File(key.clone()), "fsync = off");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'v')")
        .await?;
    chained(&sql).await;
    let refused = sql
        .refused("SELECT control_plane.export_audit_head()", &[])
        .await;
    assert_eq!(refused.state, "PT503", "{refused:?}");
    assert!(refused.hint.contains("pg-secrets keygen"), "{refused:?}");
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    drop(sql);
    cluster.stop();
    let behind = format!("{key}\n{}", Key::generate("rfc9580"));
    cluster.give_key(Key::File(behind));
    cluster.resume();
    let sql = cluster.sql().await?;
    let head = head(&sql).await?;
    assert_eq!(verify(&sql, Some(&head)).await?, Verdict::intact());
    Ok(())
}

/// The heads that the database keeps.
async fn stored(sql: &Session) -> Proof<Vec<String>> {
    let stored: Vec<String> = sql
        .all(
            "SELECT signed FROM control_plane.audit_heads WHERE kind = 'head' ORDER BY seq",
            &[],
        )
        .await?;
    Ok(stored)
}

/// Waits until the last link has a head.
async fn last_is_signed(sql: &Session) {
    chained(sql).await;
    eventually("a head of the last link", || async {
        let signed: bool = sql
            .one(
                "SELECT max(c.seq) = (SELECT max(h.seq) FROM control_plane.audit_heads AS h) FROM control_plane.audit_chain AS c",
                &[],
            )
            .await
            .ok()?;
        signed.then_some(())
    })
    .await;
}

#[tokio::test]
async fn heads_are_kept_logged_and_sent_while_there_is_something_new() -> Proof {
    let app = TestApp::start("fsync = off\npg_secrets.audit_head_interval = '1s'").await;
    let sql = app.sql().await?;
    let sink = Sink::start().await;
    sql.rows(
        "SELECT control_plane.create_endpoint('p', $1, event_types => ARRAY['audit.head'])",
        &[&sink.url("/head")],
    )
    .await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'a value')")
        .await?;
    let body = sink.wait_for("/head", 1).await.remove(0).json()?;
    assert_eq!(body["type"], "audit.head");
    let sent = body["data"]["head"].as_str().unwrap_or_default();
    assert_eq!(verify(&sql, Some(sent)).await?, Verdict::intact());
    assert!(stored(&sql).await?.iter().any(|head| head == sent));
    last_is_signed(&sql).await;

    // A line of the log is all that somebody needs.
    let log = app.cluster.log();
    let line = log
        .lines()
        .rfind(|line| line.contains("pg_secrets audit head:"))
        .expect("a line");
    let (_, encoded) = line.rsplit_once("signed ").expect("a head in the line");
    let logged = String::from_utf8(STANDARD.decode(encoded).expect("base64"))?;
    assert_eq!(verify(&sql, Some(&logged)).await?, Verdict::intact());
    assert_eq!(verify(&sql, Some(encoded)).await?, Verdict::intact());
    assert_eq!(stored(&sql).await?.pop(), Some(logged));

    // Nothing new, no head; neither from a worker that has just begun.
    let lines = || app.cluster.log().matches("pg_secrets audit head:").count();
    let (before, received) = (lines(), sink.received().len());
    sql.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_secrets bookkeeper'")
        .await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(lines(), before);
    assert_eq!(sink.received().len(), received);
    read(&sql, 1).await?;
    sink.wait_for("/head", received + 1).await;
    Ok(())
}

#[tokio::test]
async fn heads_that_the_database_keeps_contradict_a_chain_that_was_worked_out_anew() -> Proof {
    let (_cluster, sql) = server("pg_secrets.audit_head_interval = '1s'").await?;
    last_is_signed(&sql).await;
    fill(&sql).await?;
    last_is_signed(&sql).await;
    let newest: i64 = sql
        .one("SELECT max(seq) FROM control_plane.audit_heads", &[])
        .await?;
    let rewritten = format!(
        "UPDATE control_plane.audit_logs SET actor = 'x' WHERE id =
             (SELECT record_id FROM control_plane.audit_chain WHERE seq = {newest}); {}",
        rewrite_from(newest)
    );
    // The stored columns are made to fit: what counts is what was signed.
    let fitting = format!(
        "{rewritten} UPDATE control_plane.audit_heads AS h SET hash = c.hash
         FROM control_plane.audit_chain AS c WHERE c.seq = h.seq"
    );
    for (change, problem) in [(rewritten, "rewritten"), (fitting, "unverifiable")] {
        sql.run(UNPROTECTED).await?;
        sql.run(&change).await?;
        let said = verify(&sql, None).await?;
        sql.run("ROLLBACK").await?;
        assert_eq!(said, Verdict::of(problem, Some(newest), None));
    }
    // With a head that somebody has kept it is said from where on.
    let heads: Vec<i64> = sql
        .all(
            "SELECT seq FROM control_plane.audit_heads ORDER BY seq",
            &[],
        )
        .await?;
    let (kept, good) = (head(&sql).await?, heads[heads.len() - 2]);
    sql.run(UNPROTECTED).await?;
    sql.run(&format!(
        "UPDATE control_plane.audit_logs SET actor = 'x' WHERE id =
             (SELECT record_id FROM control_plane.audit_chain WHERE seq = {good} + 1); {}",
        rewrite_from(good + 1)
    ))
    .await?;
    let explanation: String = sql
        .one(
            "SELECT explanation FROM control_plane.verify_audit(head => $1)",
            &[&kept],
        )
        .await?;
    sql.run("ROLLBACK").await?;
    assert!(
        explanation.ends_with(&format!("from a record behind link {good} on")),
        "{explanation}"
    );
    assert_eq!(verify(&sql, None).await?, Verdict::intact());
    Ok(())
}

#[tokio::test]
async fn a_head_over_rest_is_the_head_of_sql_and_for_auditors_of_everything() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    chained(&sql).await;
    let answer = app.api().get("/api/audit/head").await?.expect(200)?;
    assert_eq!(
        verify(&sql, Some(answer.text("head"))).await?,
        Verdict::intact()
    );
    // Somebody keeps it as it was answered.
    let as_answered = answer.body.to_string();
    assert_eq!(verify(&sql, Some(&as_answered)).await?, Verdict::intact());
    let token = app
        .token_for("auditor of one", &["audit"], "p", None)
        .await?;
    app.api_as(&token)
        .get("/api/audit/head")
        .await?
        .expect(403)?;
    app.api_as("pgs_none")
        .get("/api/audit/head")
        .await?
        .expect(401)?;
    Ok(())
}

#[tokio::test]
async fn without_a_key_nothing_is_said_of_what_was_signed() -> Proof {
    let (mut cluster, sql) = server("pg_secrets.audit_head_interval = '1s'").await?;
    eventually("a stored head", || async {
        let stored: i64 = sql
            .one("SELECT count(*) FROM control_plane.audit_heads", &[])
            .await
            .ok()?;
        (stored > 0).then_some(())
    })
    .await;
    drop(sql);
    cluster.stop();
    cluster.give_key(Key::None);
    cluster.resume();
    let sql = cluster.sql().await?;
    let refused = sql
        .refused("SELECT control_plane.verify_audit()", &[])
        .await;
    assert_eq!(refused.state, "PT503", "{refused:?}");
    assert!(refused.message.contains("has no key"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn the_first_head_is_signed_without_waiting_for_a_whole_interval() -> Proof {
    let (cluster, sql) = server("pg_secrets.audit_head_interval = '1h'").await?;
    eventually("a head in the log", || async {
        cluster
            .log()
            .contains("pg_secrets audit head: segment")
            .then_some(())
    })
    .await;
    assert_eq!(stored(&sql).await?.len(), 1);
    Ok(())
}
