//! Segments of the chain: a standby verifies, and goes on with the chain once it is promoted.

use crate::verdict::{Verdict, fill, head, last, read, server, verify};
use pg_secrets_tests::{Cluster, Proof, chained, eventually};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_standby_verifies_and_once_promoted_goes_on_in_a_segment_of_its_own() -> Proof {
    let (mut primary, sql) = server("pg_secrets.audit_timeout = '1s'").await?;
    fill(&sql).await?;
    let standby = Cluster::standby_of(&primary);
    read(&sql, 20).await?;
    chained(&sql).await;
    let old_head = head(&sql).await?;
    let old_last = last(&sql).await?;
    let there = standby.sql().await?;
    eventually("the standby", || async {
        (last(&there).await.ok()? >= old_last).then_some(())
    })
    .await;

    // It writes nothing, so it releases nothing, and says so at once.
    let asked = Instant::now();
    let refused = there
        .refused("SELECT control_plane.get_secret_by_name('p', 'n')", &[])
        .await;
    assert_eq!(refused.state, "PT503", "{refused:?}");
    assert!(refused.message.contains("standby"), "{refused:?}");
    assert!(refused.hint.contains("primary"), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_millis(900));
    // What only looks works.
    assert_eq!(verify(&there, Some(&old_head)).await?, Verdict::intact());
    let own = head(&there).await?;
    assert_eq!(verify(&sql, Some(&own)).await?, Verdict::intact());
    let listed: i64 = there
        .one("SELECT count(*) FROM control_plane.list_secrets('p')", &[])
        .await?;
    assert_eq!(listed, 1);

    let segment = "SELECT segment::text FROM control_plane.audit_chain ORDER BY seq DESC LIMIT 1";
    let before: String = there.one(segment, &[]).await?;
    drop(sql);
    primary.stop();
    there.run("SELECT pg_promote()").await?;
    eventually("a read on the new primary", || async {
        read(&there, 10).await.ok()
    })
    .await;
    chained(&there).await;
    assert_eq!(verify(&there, None).await?, Verdict::intact());
    assert_eq!(verify(&there, Some(&old_head)).await?, Verdict::intact());
    let after: String = there.one(segment, &[]).await?;
    assert_ne!(before, after);
    let numbers: Vec<i64> = there
        .all(
            "SELECT seq FROM control_plane.audit_chain ORDER BY seq",
            &[],
        )
        .await?;
    assert!(numbers.iter().copied().eq(1..=numbers.len() as i64));
    assert!(numbers.len() as i64 >= old_last + 10);
    let new_head = head(&there).await?;
    assert_eq!(verify(&there, Some(&new_head)).await?, Verdict::intact());

    // The old server goes on too: each knows the other's head for what it is.
    primary.resume();
    let sql = primary.sql().await?;
    read(&sql, 1).await?;
    chained(&sql).await;
    let lost = verify(&sql, Some(&new_head)).await?;
    assert_eq!(lost.problem.as_deref(), Some("cut"));
    Ok(())
}
