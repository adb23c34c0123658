//! What verify_audit says, and a chain to ask it about.

use pg_secrets_tests::{Cluster, Key, Proof, Session, chained};
use uuid::Uuid;

/// A verdict of verify_audit, save for its explanation and for what it covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) problem: Option<String>,
    pub(crate) seq: Option<i64>,
    pub(crate) record_id: Option<Uuid>,
}

impl Verdict {
    pub(crate) fn intact() -> Self {
        Self {
            problem: None,
            seq: None,
            record_id: None,
        }
    }

    pub(crate) fn of(problem: &str, seq: Option<i64>, record_id: Option<Uuid>) -> Self {
        Self {
            problem: Some(problem.to_owned()),
            seq,
            record_id,
        }
    }
}

/// What verify_audit says of a part of the chain, or of all.
pub(crate) async fn verify_part(
    sql: &Session,
    from: Option<i64>,
    to: Option<i64>,
    head: Option<&str>,
) -> Proof<Verdict> {
    let row = sql
        .rows(
            "SELECT intact, problem, seq, record_id, explanation FROM control_plane.verify_audit($1, $2, $3)",
            &[&from, &to, &head],
        )
        .await?
        .remove(0);
    let verdict = Verdict {
        problem: row.get(1),
        seq: row.get(2),
        record_id: row.get(3),
    };
    let intact: bool = row.get(0);
    let explanation: Option<String> = row.get(4);
    assert_eq!(intact, verdict == Verdict::intact(), "{verdict:?}");
    assert_eq!(intact, explanation.is_none(), "{explanation:?}");
    Ok(verdict)
}

/// What verify_audit says of all.
pub(crate) async fn verify(sql: &Session, head: Option<&str>) -> Proof<Verdict> {
    verify_part(sql, None, None, head).await
}

/// The last link, signed.
pub(crate) async fn head(sql: &Session) -> Proof<String> {
    let head: String = sql
        .one("SELECT control_plane.export_audit_head()", &[])
        .await?;
    Ok(head)
}

/// The number of the last link.
pub(crate) async fn last(sql: &Session) -> Proof<i64> {
    let last: i64 = sql
        .one("SELECT max(seq) FROM control_plane.audit_chain", &[])
        .await?;
    Ok(last)
}

/// Reads the secret `n` of the project `p` so many times.
pub(crate) async fn read(sql: &Session, times: i32) -> Proof {
    sql.rows(
        "SELECT control_plane.get_secret_by_name('p', 'n') FROM generate_series(1, $1)",
        &[&times],
    )
    .await?;
    Ok(())
}

/// A server with a secret `n` in the project `p`, and a session in it.
pub(crate) async fn server(settings: &str) -> Proof<(Cluster, Session)> {
    // A head that the server signs by itself would contradict what a test writes anew.
    let quiet = format!("fsync = off\npg_secrets.audit_head_interval = 0\n{settings}");
    let cluster = Cluster::start(Key::new(), &quiet);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'a value')")
        .await?;
    Ok((cluster, sql))
}

/// Some three hundred records of reads and of changes among each other, all of them chained.
pub(crate) async fn fill(sql: &Session) -> Proof {
    for _ in 0..25 {
        read(sql, 10).await?;
        sql.run("SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'n'), 'another value', 'a reason')")
            .await?;
        sql.rows(
            "SELECT control_plane.get_secret_by_name('p', 'n', service => 'svc')",
            &[],
        )
        .await?;
    }
    chained(sql).await;
    Ok(())
}

/// What lets a superuser change the audit: it takes the triggers away. To be rolled back.
pub(crate) const UNPROTECTED: &str = "BEGIN;
    ALTER TABLE control_plane.audit_logs DISABLE TRIGGER protect;
    ALTER TABLE control_plane.audit_chain DISABLE TRIGGER protect;
    ALTER TABLE control_plane.audit_unchained DISABLE TRIGGER protect;
    ALTER TABLE control_plane.audit_heads DISABLE TRIGGER protect;";

/// Works out every hash from a link on anew, by the formula of sql/41_chain.sql, as somebody does who
/// hides a change.
pub(crate) fn rewrite_from(seq: i64) -> String {
    format!(
        "DO $$
        DECLARE
            link record;
            anew bytea := coalesce(
                (SELECT c.hash FROM control_plane.audit_chain AS c WHERE c.seq = {seq} - 1),
                (SELECT h.hash FROM control_plane.audit_heads AS h WHERE h.seq = {seq} - 1 AND h.kind = 'checkpoint'),
                decode(repeat('00', 32), 'hex')
            );
        BEGIN
            FOR link IN
                SELECT c.seq, c.segment, d.digest FROM control_plane.audit_chain AS c
                JOIN control_plane.audit_digests AS d ON d.id = c.record_id
                WHERE c.seq >= {seq} ORDER BY c.seq
            LOOP
                anew := sha256(anew || uuid_send(link.segment) || int8send(link.seq) || link.digest);
                UPDATE control_plane.audit_chain AS c SET hash = anew
                WHERE c.seq = link.seq AND c.segment = link.segment;
            END LOOP;
        END $$;"
    )
}
