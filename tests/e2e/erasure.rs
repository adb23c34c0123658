//! Ciphertext that was erased stands in no file of the tables.

use pg_secrets_tests::{Cluster, Key, Proof, Session, eventually, files_below};
use std::path::PathBuf;
use uuid::Uuid;

/// Pieces of a message that stand nowhere else: of its beginning it shares some bytes with others.
async fn pieces(sql: &Session, id: Uuid) -> Proof<Vec<Vec<u8>>> {
    let message: Vec<u8> = sql
        .one(
            "SELECT value_encrypted FROM control_plane.secrets WHERE id = $1",
            &[&id],
        )
        .await?;
    // Large values are stored in parts: none of these lies across two.
    let places = [message.len() - 40, message.len() / 2 + 7];
    Ok(places.map(|at| message[at..at + 24].to_vec()).to_vec())
}

/// The files of tables, indexes and statistics in which one of them stands.
fn found(cluster: &Cluster, pieces: &[Vec<u8>]) -> Vec<PathBuf> {
    let folders = ["base", "global", "pg_stat", "pg_stat_tmp"];
    let files = folders.map(|folder| files_below(&cluster.data().join(folder)));
    let holds = |path: &PathBuf| {
        // A file may vanish while one looks.
        let content = std::fs::read(path).unwrap_or_default();
        let stands = |piece: &Vec<u8>| memchr(&content, piece);
        pieces.iter().any(stands)
    };
    files.into_iter().flatten().filter(holds).collect()
}

fn memchr(content: &[u8], piece: &[u8]) -> bool {
    content.windows(piece.len()).any(|window| window == piece)
}

async fn in_statistics(sql: &Session) -> Proof<i64> {
    sql.run("ANALYZE control_plane.secrets").await?;
    Ok(sql
        .one(
            "SELECT count(*) FROM pg_stats WHERE schemaname = 'control_plane' AND attname = 'value_encrypted'",
            &[],
        )
        .await?)
}

#[tokio::test]
async fn after_vacuum_full_nothing_of_it_is_in_a_file_of_a_table_or_of_statistics() -> Proof {
    let settings = "fsync = off\nautovacuum = off\npg_secrets.maintenance_interval = 1\n";
    let cluster = Cluster::start(Key::new(), settings);
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let mut gone = Vec::new();
    let mut kept = Vec::new();
    // One that lies in the row, and one that lies beside the table.
    for (name, size) in [("small", 20), ("large", 40_000)] {
        let value = "x".repeat(size);
        let old: Uuid = sql
            .one(
                "SELECT id FROM control_plane.create_secret('p', $1, $2)",
                &[&name, &value],
            )
            .await?;
        gone.extend(pieces(&sql, old).await?);
        let new: Uuid = sql
            .one(
                "SELECT id FROM control_plane.rotate_secret($1, $2, grace => '2 seconds')",
                &[&old, &value],
            )
            .await?;
        kept.extend(pieces(&sql, new).await?);
    }
    sql.run("CHECKPOINT").await?;
    assert!(
        !found(&cluster, &gone).is_empty(),
        "the search finds nothing"
    );
    assert_eq!(in_statistics(&sql).await?, 0);
    eventually("they are destroyed", || async {
        let left: i64 = sql
            .one(
                "SELECT count(*) FROM control_plane.secrets WHERE NOT active AND value_encrypted IS NOT NULL",
                &[],
            )
            .await
            .ok()?;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(in_statistics(&sql).await?, 0);
    sql.run("VACUUM FULL control_plane.secrets").await?;
    sql.run("CHECKPOINT").await?;
    let still = found(&cluster, &gone);
    assert!(still.is_empty(), "{still:?}");
    assert!(
        !found(&cluster, &kept).is_empty(),
        "the search finds nothing"
    );
    assert_eq!(in_statistics(&sql).await?, 0);
    Ok(())
}
