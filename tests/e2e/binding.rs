//! A value belongs to its row, and to those who hold the secret key.

use crate::gnupg::Gpg;
use pg_secrets_tests::{Cluster, Key, Proof, Session};

async fn refused(sql: &Session, name: &str) -> Proof {
    let error = sql
        .refused("SELECT control_plane.get_secret_by_name('p', $1)", &[&name])
        .await;
    assert_eq!(error.state, "PT422", "{name}: {error:?}");
    let told = format!("{error:?}");
    assert!(!told.contains("of the"), "a value is named: {told}");
    Ok(())
}

#[tokio::test]
async fn a_message_that_was_not_made_for_its_row_with_the_secret_key_is_refused() -> Proof {
    let key = Key::generate("rfc4880");
    let gpg = Gpg::new();
    gpg.import(&key);
    let cluster = Cluster::start(Key::File(key), "");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    for name in ["one", "two", "three", "four"] {
        sql.rows(
            "SELECT control_plane.create_secret('p', $1, 'value of the ' || $1)",
            &[&name],
        )
        .await?;
        // Read once, so that the session knows the message's key.
        sql.rows("SELECT control_plane.get_secret_by_name('p', $1)", &[&name])
            .await?;
    }
    sql.run(
        "UPDATE control_plane.secrets AS s SET value_encrypted = o.value_encrypted
         FROM control_plane.secrets AS o
         WHERE (s.name, o.name) IN (('one', 'two'), ('two', 'one'))",
    )
    .await?;
    refused(&sql, "one").await?;
    refused(&sql, "two").await?;

    // Somebody with the public key alone, who even knows what stands in the file name.
    let id: uuid::Uuid = sql
        .one("SELECT control_plane.secret_id('p', 'three')", &[])
        .await?;
    let named = format!("{id}.{}", "0".repeat(64));
    for file_name in ["", &named] {
        let forged = gpg.encrypt(b"value of the forger", file_name);
        assert_eq!(gpg.decrypt(&forged), b"value of the forger");
        sql.rows(
            "UPDATE control_plane.secrets SET value_encrypted = $1 WHERE name = 'three'",
            &[&forged],
        )
        .await?;
        refused(&sql, "three").await?;
        // As a message by itself it is a good one.
        let opened: String = sql
            .one("SELECT control_plane.pgp_decrypt($1)", &[&forged])
            .await?;
        assert_eq!(opened, "value of the forger");
    }
    // A signing secret is sealed to the same key, and is no value all the same.
    sql.run("SELECT control_plane.create_endpoint('p', 'http://127.0.0.1:9/')")
        .await?;
    sql.run(
        "INSERT INTO control_plane.secret_names VALUES ('p', 'five', 1);
         INSERT INTO control_plane.secrets (id, chain_id, project_id, name, value_encrypted, key_fingerprint, created_by)
         SELECT id, id, 'p', 'five', secret_encrypted, key_fingerprint, 'x' FROM control_plane.endpoints",
    )
    .await?;
    refused(&sql, "five").await?;
    // Nor does the server itself make one that could be put there.
    sql.run(
        "UPDATE control_plane.secrets SET value_encrypted = control_plane.pgp_encrypt('value of the server')
         WHERE name = 'four'",
    )
    .await?;
    refused(&sql, "four").await?;
    Ok(())
}
