//! Tampering with the audit: whoever may do everything in the database changes, removes, adds and
//! reorders behind the triggers' back, and verify_audit names the first that is not what it was.

use crate::verdict::{
    UNPROTECTED, Verdict, fill, head, last, rewrite_from, server, verify, verify_part,
};
use pg_secrets_tests::{Cluster, Proof, Session};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// At how many places of the chain each thing is tried.
const PLACES: i64 = 20;

/// The chain that all of this file's tests look at: what they change they roll back.
struct Chain {
    cluster: Cluster,
    head: String,
    /// What its records are, in the order of the links.
    records: Vec<Uuid>,
}

impl Chain {
    async fn shared() -> Proof<(&'static Self, Session)> {
        static SHARED: OnceCell<Chain> = OnceCell::const_new();
        let chain = SHARED
            .get_or_init(|| async {
                match Self::make().await {
                    Ok(chain) => chain,
                    Err(failure) => match failure {},
                }
            })
            .await;
        Ok((chain, chain.cluster.sql().await?))
    }

    async fn make() -> Proof<Self> {
        let (cluster, sql) = server("").await?;
        fill(&sql).await?;
        let head = head(&sql).await?;
        let records: Vec<Uuid> = sql
            .all(
                "SELECT record_id FROM control_plane.audit_chain ORDER BY seq",
                &[],
            )
            .await?;
        assert!(records.len() > 280, "{} records", records.len());
        assert_eq!(verify(&sql, Some(&head)).await?, Verdict::intact());
        Ok(Self {
            cluster,
            head,
            records,
        })
    }

    fn last(&self) -> i64 {
        self.records.len() as i64
    }

    /// The record of a link.
    fn record(&self, seq: i64) -> Uuid {
        self.records[seq as usize - 1]
    }

    /// Numbers of links spread over the chain, the first one and the last of all among them.
    fn places(&self) -> impl Iterator<Item = i64> + use<> {
        let last = self.last();
        (0..PLACES).map(move |n| 1 + n * (last - 1) / (PLACES - 1))
    }

    /// What is said after such a change, with the head that was exported before it, and without any.
    async fn after(&self, sql: &Session, change: &str) -> Proof<(Verdict, Verdict)> {
        sql.run(UNPROTECTED).await?;
        sql.run(change).await?;
        let said = (
            verify(sql, Some(&self.head)).await?,
            verify(sql, None).await?,
        );
        sql.run("ROLLBACK").await?;
        Ok(said)
    }

    /// The same where a head makes no difference.
    async fn found(&self, sql: &Session, change: &str, expected: Verdict) -> Proof {
        let (with_head, without) = self.after(sql, change).await?;
        assert_eq!(with_head, expected, "{change}");
        assert_eq!(without, expected, "without a head: {change}");
        Ok(())
    }
}

#[tokio::test]
async fn a_record_that_was_edited_is_named_whatever_was_edited() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    for edit in [
        "detail = coalesce(detail, '{}') || '{\"more\": 1}'",
        "detail = NULLIF(detail, '{\"sqlstate\": \"\"}') || '{}', actor = actor || ' '",
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "action = 'secret.listed'",
        "outcome = 'not released'",
        "login = NULL",
        "project_id = 'another'",
        "secret_id = gen_random_uuid()",
        "name = 'another', project_id = NULL",
        "version = coalesce(version, 0) + 1",
        "service = 'another'",
        "client_address = '192.0.2.1'",
        "application_name = 'another'",
        "request_id = ''",
        "arrival = coalesce(-arrival, 1)",
    ] {
        for seq in chain.places() {
            let record = chain.record(seq);
            let change =
                format!("UPDATE control_plane.audit_logs SET {edit} WHERE id = '{record}'");
            let expected = Verdict::of("changed", Some(seq), Some(record));
            chain.found(&sql, &change, expected).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_record_or_a_link_that_was_removed_is_named() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    for seq in chain.places() {
        let record = chain.record(seq);
        let remove = format!("DELETE FROM control_plane.audit_logs WHERE id = '{record}';");
        let expected = Verdict::of("removed", Some(seq), Some(record));
        chain.found(&sql, &remove, expected).await?;
        if seq < chain.last() {
            let both = format!("{remove} DELETE FROM control_plane.audit_chain WHERE seq = {seq}");
            let expected = Verdict::of("removed", Some(seq), None);
            chain.found(&sql, &both, expected).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_tail_that_was_cut_off_is_missed_with_a_head_and_only_with_one() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    for seq in chain.places() {
        let cut = format!(
            "DELETE FROM control_plane.audit_logs WHERE id IN
                 (SELECT record_id FROM control_plane.audit_chain WHERE seq >= {seq});
             DELETE FROM control_plane.audit_chain WHERE seq >= {seq}"
        );
        let (with_head, without) = chain.after(&sql, &cut).await?;
        assert_eq!(
            with_head,
            Verdict::of("cut", Some(chain.last()), None),
            "{seq}"
        );
        assert_eq!(without, Verdict::intact(), "{seq}");
        // Without their links the records themselves give it away.
        let cut = format!("DELETE FROM control_plane.audit_chain WHERE seq >= {seq}");
        let first = chain.records[seq as usize - 1..].iter().min().copied();
        let expected = Verdict::of("inserted", None, first);
        chain.found(&sql, &cut, expected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_slipped_in_is_named() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    for seq in chain.places() {
        for arrival in ["NULL", "1"] {
            let slipped = Uuid::new_v4();
            let insert = format!(
                "INSERT INTO control_plane.audit_logs (id, at, action, outcome, actor, arrival)
                 SELECT '{slipped}', at, action, outcome, 'somebody', {arrival}
                 FROM control_plane.audit_logs WHERE id = '{}';",
                chain.record(seq)
            );
            let expected = Verdict::of("inserted", None, Some(slipped));
            chain.found(&sql, &insert, expected).await?;
            // With a link of its own, before which the later ones make room: with any hash, and with
            // the one that would be right there.
            for hash in [
                "sha256('any')".to_owned(),
                format!(
                    "sha256(coalesce((SELECT b.hash FROM control_plane.audit_chain AS b WHERE b.seq = {seq} - 1),
                         decode(repeat('00', 32), 'hex')) || uuid_send(segment) || int8send({seq})
                     || (SELECT digest FROM control_plane.audit_digests WHERE id = '{slipped}'))"
                ),
            ] {
                let linked = format!(
                    "{insert}
                     UPDATE control_plane.audit_chain SET seq = seq + 1000001 WHERE seq >= {seq};
                     UPDATE control_plane.audit_chain SET seq = seq - 1000000 WHERE seq > 1000000;
                     INSERT INTO control_plane.audit_chain (seq, segment, record_id, hash)
                     SELECT {seq}, segment, '{slipped}', {hash} FROM control_plane.audit_chain LIMIT 1"
                );
                let expected = Verdict::of("inserted", Some(seq), Some(slipped));
                chain.found(&sql, &linked, expected).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn records_that_changed_places_are_noticed_at_the_first_of_them() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    let neighbours = chain.places().map(|seq| (seq, seq + 1));
    let pairs: Vec<_> = chain.places().zip(chain.places().skip(7)).collect();
    let all = neighbours
        .chain(pairs)
        .chain([(1, chain.last()), (chain.last() - 1, chain.last())])
        .filter(|(_, second)| *second <= chain.last());
    for (first, second) in all {
        let (one, other) = (chain.record(first), chain.record(second));
        let at_first = Verdict::of("reordered", Some(first), Some(other));
        let swapped = format!(
            "UPDATE control_plane.audit_chain SET record_id = CASE seq WHEN {first} THEN '{other}'::uuid ELSE '{one}'::uuid END
             WHERE seq IN ({first}, {second})"
        );
        chain.found(&sql, &swapped, at_first.clone()).await?;
        let renumbered = format!(
            "UPDATE control_plane.audit_chain SET seq = 1000000 WHERE seq = {first};
             UPDATE control_plane.audit_chain SET seq = {first} WHERE seq = {second};
             UPDATE control_plane.audit_chain SET seq = {second} WHERE seq = 1000000"
        );
        chain.found(&sql, &renumbered, at_first).await?;
        let rewritten = format!(
            "UPDATE control_plane.audit_logs AS a SET at = b.at, action = b.action, actor = b.actor, version = b.version, detail = b.detail
             FROM control_plane.audit_logs AS b
             WHERE (a.id, b.id) IN (('{one}', '{other}'), ('{other}', '{one}'))"
        );
        let expected = Verdict::of("changed", Some(first), Some(one));
        chain.found(&sql, &rewritten, expected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_chain_that_was_worked_out_anew_contradicts_a_head() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    for seq in chain.places() {
        let record = chain.record(seq);
        let change = format!(
            "UPDATE control_plane.audit_logs SET actor = 'somebody else' WHERE id = '{record}';
             {}",
            rewrite_from(seq)
        );
        let (with_head, without) = chain.after(&sql, &change).await?;
        assert_eq!(
            with_head,
            Verdict::of("rewritten", Some(chain.last()), None),
            "{seq}"
        );
        assert_eq!(without, Verdict::intact(), "{seq}");
    }
    Ok(())
}

#[tokio::test]
async fn a_segment_that_forks_off_in_the_middle_is_none_of_ours() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    for seq in chain.places().filter(|seq| *seq < chain.last()) {
        let forged = Uuid::new_v4();
        let fork = format!(
            "INSERT INTO control_plane.audit_logs (id, action, outcome, actor)
             VALUES ('{forged}', 'secret.accessed', 'success', 'somebody');
             INSERT INTO control_plane.audit_chain (seq, segment, record_id, hash)
             SELECT {seq} + 1, id, id, sha256(c.hash || uuid_send(id) || int8send({seq} + 1) || digest)
             FROM control_plane.audit_digests, control_plane.audit_chain AS c
             WHERE id = '{forged}' AND c.seq = {seq}"
        );
        let expected = Verdict::of("inserted", Some(seq + 1), Some(forged));
        chain.found(&sql, &fork, expected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_part_is_looked_at_without_the_rest() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    let last = chain.last();
    for seq in chain.places().filter(|seq| (10..last - 10).contains(seq)) {
        let record = chain.record(seq);
        for (change, problem) in [
            (
                format!("UPDATE control_plane.audit_logs SET actor = 'x' WHERE id = '{record}'"),
                "changed",
            ),
            (
                format!("DELETE FROM control_plane.audit_logs WHERE id = '{record}'"),
                "removed",
            ),
        ] {
            sql.run(UNPROTECTED).await?;
            sql.run(&change).await?;
            let found = Verdict::of(problem, Some(seq), Some(record));
            for (from, to, expected) in [
                (Some(seq), Some(seq), &found),
                (Some(seq - 5), Some(seq + 5), &found),
                (None, Some(seq), &found),
                (Some(seq), None, &found),
                (Some(1), Some(seq - 1), &Verdict::intact()),
                (Some(seq + 1), None, &Verdict::intact()),
                (Some(seq + 1), Some(last), &Verdict::intact()),
                (Some(2), Some(3), &Verdict::intact()),
            ] {
                for head in [None, Some(chain.head.as_str())] {
                    let said = verify_part(&sql, from, to, head).await?;
                    assert_eq!(&said, expected, "{from:?} to {to:?}: {change}");
                }
            }
            sql.run("ROLLBACK").await?;
        }
    }
    // What is not there cannot be intact.
    for (from, to) in [(None, Some(last + 1)), (Some(last + 2), None)] {
        let said = verify_part(&sql, from, to, None).await?;
        assert_eq!(said, Verdict::of("cut", Some(last + 1), None));
    }
    let next = verify_part(&sql, Some(last + 1), None, None).await?;
    assert_eq!(next, Verdict::intact());
    for arguments in ["0", "1, 0", "5, 4"] {
        let refused = sql
            .refused_text(&format!("SELECT control_plane.verify_audit({arguments})"))
            .await;
        assert_eq!(refused.state, "PT400", "{arguments}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_has_the_rows_can_work_the_chain_out_with_plain_sql() -> Proof {
    let (chain, sql) = Chain::shared().await?;
    assert_eq!(last(&sql).await?, chain.last());
    let differing: Vec<i64> = sql
        .all(
            "WITH RECURSIVE anew AS (
                 SELECT 0::bigint AS seq, decode(repeat('00', 32), 'hex') AS hash
                 UNION ALL
                 SELECT c.seq, sha256(
                     anew.hash || uuid_send(c.segment) || int8send(c.seq)
                     || sha256(convert_to(ROW(
                         a.id, (EXTRACT(epoch FROM a.at) * 1000000)::bigint, a.action, a.outcome, a.actor, a.login,
                         a.project_id, a.secret_id, a.name, a.version, a.service, a.client_address,
                         a.application_name, a.request_id, a.detail, a.arrival
                     )::text, 'UTF8'))
                 )
                 FROM anew
                 JOIN control_plane.audit_chain AS c ON c.seq = anew.seq + 1
                 JOIN control_plane.audit_logs AS a ON a.id = c.record_id
             )
             SELECT c.seq FROM control_plane.audit_chain AS c LEFT JOIN anew ON anew.seq = c.seq
             WHERE anew.hash IS DISTINCT FROM c.hash ORDER BY 1",
            &[],
        )
        .await?;
    assert!(differing.is_empty(), "{differing:?}");
    Ok(())
}
