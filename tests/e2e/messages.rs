//! pgp_encrypt, pgp_decrypt, armor and dearmor, beside pgcrypto's functions.

use pg_secrets_tests::{Cluster, Key, Proof, Session};

/// How much memory a backend may take at most for what is thrown at it, in kB beyond what it had.
const BOUND_KB: i64 = 64 << 10;

async fn start() -> Proof<(Cluster, Session)> {
    let cluster = Cluster::start(Key::new(), "fsync = off");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run("CREATE EXTENSION pgcrypto").await?;
    Ok((cluster, sql))
}

/// The most memory that the session's process has had, in kB.
async fn peak(sql: &Session) -> Proof<i64> {
    let pid: i32 = sql.one("SELECT pg_backend_pid()", &[]).await?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.and_then(|number| number.parse().ok()).unwrap_or(0))
}

#[tokio::test]
async fn an_administrator_encrypts_and_decrypts_and_both_are_recorded() -> Proof {
    let (_cluster, sql) = start().await?;
    for value in ["", "plain", "Grüße, 秘密 🗝️\n\t\\x00"] {
        let back: String = sql
            .one(
                "SELECT control_plane.pgp_decrypt(control_plane.pgp_encrypt($1))",
                &[&value],
            )
            .await?;
        assert_eq!(back, value);
    }
    let records: Vec<String> = sql
        .all(
            "SELECT action || ' ' || actor || ' ' || outcome FROM control_plane.audit_logs ORDER BY id LIMIT 2",
            &[],
        )
        .await?;
    assert_eq!(
        records,
        [
            "pgp.encrypted postgres success",
            "pgp.decrypted postgres success"
        ]
    );
    // What was decrypted is known, whatever becomes of the transaction.
    let count = "SELECT count(*) FROM control_plane.audit_logs WHERE action = 'pgp.decrypted'";
    let before: i64 = sql.one(count, &[]).await?;
    sql.run("BEGIN; SELECT control_plane.pgp_decrypt(control_plane.pgp_encrypt('x')); ROLLBACK")
        .await?;
    let after: i64 = sql.one(count, &[]).await?;
    assert_eq!(after, before + 1);
    for (call, state) in [
        ("pgp_encrypt(NULL)", "PT400"),
        ("pgp_decrypt(NULL)", "PT400"),
        ("armor(NULL)", "PT400"),
        ("dearmor(NULL)", "PT400"),
        ("pgp_encrypt(repeat('x', 65537))", "PT413"),
        ("pgp_decrypt(decode(repeat('ff', 300000), 'hex'))", "PT413"),
        (
            "pgp_decrypt(convert_to(control_plane.armor(control_plane.pgp_encrypt('x')), 'UTF8'))",
            "PT422",
        ),
        ("armor('x', ARRAY['a'], ARRAY[]::text[])", "PT400"),
        ("armor('x', ARRAY['a: b'], ARRAY['c'])", "PT400"),
        ("dearmor('no armor')", "PT400"),
    ] {
        let refused = sql
            .refused_text(&format!("SELECT control_plane.{call}"))
            .await;
        assert_eq!(refused.state, state, "{call}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_record_names_the_secret_whose_message_was_decrypted() -> Proof {
    let (_cluster, sql) = start().await?;
    sql.run("SELECT control_plane.create_secret('p', 'n', 'a value')")
        .await?;
    let value: String = sql
        .one(
            "SELECT control_plane.pgp_decrypt(value_encrypted) FROM control_plane.secrets",
            &[],
        )
        .await?;
    assert_eq!(value, "a value");
    let named: bool = sql
        .one(
            "SELECT (a.secret_id, a.project_id, a.name, a.version) = (s.id, 'p', 'n', 1)
             FROM control_plane.audit_logs AS a, control_plane.secrets AS s WHERE action = 'pgp.decrypted'",
            &[],
        )
        .await?;
    assert!(named);
    Ok(())
}

#[tokio::test]
async fn no_plaintext_goes_into_a_temporary_file() -> Proof {
    let cluster = Cluster::start(Key::new(), "log_temp_files = 0");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    let message: Vec<u8> = sql
        .one(
            "SELECT control_plane.pgp_encrypt(repeat('a value', 9000))",
            &[],
        )
        .await?;
    sql.run("SET work_mem = '64kB'").await?;
    let read = "SELECT length(text) FROM control_plane.pgp_decrypt($1) AS text";
    let refused = sql.refused(read, &[&message]).await;
    assert_eq!(refused.state, "PT422");
    assert!(refused.hint.contains("work_mem"));
    sql.run("RESET work_mem").await?;
    let length: i32 = sql.one(read, &[&message]).await?;
    assert_eq!(length, 63000);
    assert!(!cluster.log().contains("LOG:  temporary file"));
    Ok(())
}

#[tokio::test]
async fn what_pgcrypto_wrote_with_a_password_is_read() -> Proof {
    let (_cluster, sql) = start().await?;
    for options in [
        "",
        "cipher-algo=aes256, s2k-digest-algo=sha256",
        "cipher-algo=aes192, s2k-cipher-algo=aes128, sess-key=1",
        "cipher-algo=3des",
        "compress-algo=1, compress-level=9",
        "compress-algo=2",
        "s2k-mode=0",
        "s2k-mode=1",
        "s2k-count=1024",
        "s2k-count=65000000",
        "unicode-mode=1",
        "convert-crlf=1",
    ] {
        let back: String = sql
            .one(
                "SELECT control_plane.pgp_decrypt(pgp_sym_encrypt('geheim: Grüße', 'the password', $1), 'the password')",
                &[&options],
            )
            .await?;
        assert_eq!(back, "geheim: Grüße", "{options}");
        let refused = sql
            .refused(
                "SELECT control_plane.pgp_decrypt(pgp_sym_encrypt('geheim', 'the password', $1), 'another')",
                &[&options],
            )
            .await;
        assert_eq!(refused.state, "PT422", "{options}: {refused:?}");
        assert!(!format!("{refused:?}").contains("geheim"));
    }
    // Without integrity protection nobody knows what is read; and bytes are no text.
    for message in [
        "pgp_sym_encrypt('geheim', 'the password', 'disable-mdc=1')",
        "pgp_sym_encrypt_bytea('\\x00ff', 'the password')",
    ] {
        let refused = sql
            .refused_text(&format!(
                "SELECT control_plane.pgp_decrypt({message}, 'the password')"
            ))
            .await;
        assert_eq!(refused.state, "PT422", "{message}: {refused:?}");
        assert!(refused.hint.contains("pgcrypto"), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn armor_is_pgcryptos_to_the_byte() -> Proof {
    let (_cluster, sql) = start().await?;
    for length in [0, 1, 2, 3, 56, 57, 58, 1000] {
        let same: bool = sql
            .one(
                "SELECT control_plane.armor(data) = public.armor(data)
                    AND control_plane.dearmor(public.armor(data)) = data
                    AND public.dearmor(control_plane.armor(data)) = data
                    AND control_plane.armor(data, ARRAY['a', 'b'], ARRAY['1', '2: 3'])
                        = public.armor(data, ARRAY['a', 'b'], ARRAY['1', '2: 3'])
                 FROM decode(repeat('a7', $1), 'hex') AS data",
                &[&length],
            )
            .await?;
        assert!(same, "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn a_thousand_spoilt_messages_end_in_an_error_each_and_in_bounded_memory() -> Proof {
    let (cluster, sql) = start().await?;
    let messages: Vec<(Vec<u8>, Option<&str>)> = vec![
        (
            sql.one("SELECT control_plane.pgp_encrypt('a value')", &[])
                .await?,
            None,
        ),
        (
            sql.one("SELECT pgp_sym_encrypt('a value', 'pw')", &[])
                .await?,
            Some("pw"),
        ),
        (
            sql.one(
                "SELECT pgp_sym_encrypt('a value', 'pw', 'compress-algo=2')",
                &[],
            )
            .await?,
            Some("pw"),
        ),
    ];
    let backend: i32 = sql.one("SELECT pg_backend_pid()", &[]).await?;
    sql.rows("SELECT control_plane.pgp_encrypt('warm')", &[])
        .await?;
    let before = peak(&sql).await?;
    let mut random: u64 = 7;
    let mut draw = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for case in 0..1000 {
        let (message, password) = &messages[case % messages.len()];
        let mut spoilt = message.clone();
        let at = draw(spoilt.len());
        match draw(4) {
            0 => spoilt.truncate(at),
            1 => spoilt[at] ^= 1 << draw(8),
            2 => spoilt[at..]
                .iter_mut()
                .for_each(|byte| *byte = draw(256) as u8),
            _ => spoilt = (0..draw(500)).map(|_| draw(256) as u8).collect(),
        }
        if spoilt == *message {
            continue;
        }
        let refused = sql
            .refused(
                "SELECT control_plane.pgp_decrypt($1, $2)",
                &[&spoilt, password],
            )
            .await;
        assert_eq!(refused.state, "PT422", "{case}: {refused:?}");
    }
    // A hundred and fifty megabytes in less than the longest message.
    let bomb: Vec<u8> = cluster
        .sql()
        .await?
        .one(
            "SELECT pgp_sym_encrypt(repeat('a', 150000000), 'pw', 'compress-algo=2, compress-level=9')",
            &[],
        )
        .await?;
    assert!(bomb.len() < 196_000);
    let refused = sql
        .refused("SELECT control_plane.pgp_decrypt($1, 'pw')", &[&bomb])
        .await;
    assert_eq!(refused.state, "PT413", "{refused:?}");
    assert!(refused.message.contains("longer than"), "{refused:?}");
    let taken = peak(&sql).await? - before;
    assert!(taken < BOUND_KB, "{taken} kB");
    let now: i32 = sql.one("SELECT pg_backend_pid()", &[]).await?;
    assert_eq!(now, backend, "the backend was lost");
    assert!(!cluster.log().contains("terminated by signal"));
    Ok(())
}
