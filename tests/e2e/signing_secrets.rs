//! Signing secrets under another key.

use crate::endpoints::is_signed_with;
use pg_secrets_tests::{Home, Key, Proof, Sink, TestApp, eventually};

#[tokio::test]
async fn both_signing_secrets_of_an_overlap_are_brought_over_to_a_new_key_and_checked() -> Proof {
    let (a, b) = (Key::generate("rfc9580"), Key::generate("rfc9580"));
    let keys = Home::new();
    let path = keys.write("keys.asc", &a);
    // No heads of the audit, which reencrypt_secrets signs anew and counts as well.
    let settings = format!(
        "fsync = off\npg_secrets.audit_head_interval = 0\npg_secrets.key_file = '{}'",
        path.display()
    );
    let app = TestApp::start_with_key(Key::None, &settings).await;
    let sink = Sink::start().await;
    let sql = app.sql().await?;
    let create = "SELECT id::text, secret FROM control_plane.create_endpoint('p', $1)";
    let made = sql.rows(create, &[&sink.url("/all")]).await?;
    let (id, old): (String, String) = (made[0].get(0), made[0].get(1));
    let rotate = "SELECT secret FROM control_plane.rotate_endpoint_secret($1::text::uuid)";
    let new: String = sql.one(rotate, &[&id]).await?;
    let needed =
        "SELECT sum(endpoints)::bigint FROM control_plane.pgp_keys() WHERE NOT \"primary\"";
    let under_primary = "SELECT endpoints FROM control_plane.pgp_keys() WHERE \"primary\"";
    assert_eq!(sql.one::<i64>(under_primary, &[]).await?, 2);

    keys.write("keys.asc", format!("{b}{a}"));
    sql.run("SELECT pg_reload_conf()").await?;
    eventually("the new key", || async {
        let needed: Option<i64> = sql.one(needed, &[]).await.ok()?;
        (needed == Some(2)).then_some(())
    })
    .await;
    for left in [1_i64, 1, 0] {
        let reencrypt = "SELECT control_plane.reencrypt_secrets(1)";
        assert_eq!(sql.one::<i64>(reencrypt, &[]).await?, left);
    }
    assert_eq!(sql.one::<i64>(under_primary, &[]).await?, 2);
    let failures = "SELECT id::text FROM control_plane.verify_secrets()";
    assert!(sql.all::<String>(failures, &[]).await?.is_empty());
    sql.rows("SELECT control_plane.ping_endpoint($1::text::uuid)", &[&id])
        .await?;
    let both = sink.wait_for("/all", 1).await.remove(0);
    assert!(is_signed_with(&old, &both) && is_signed_with(&new, &both));

    sql.run(
        "UPDATE control_plane.endpoints SET previous_secret_encrypted = set_byte(previous_secret_encrypted, 60, 255 - get_byte(previous_secret_encrypted, 60))",
    )
    .await?;
    assert_eq!(sql.all::<String>(failures, &[]).await?, [id]);
    Ok(())
}
