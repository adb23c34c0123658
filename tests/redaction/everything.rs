//! Everything that a server can log, while everything is done that can hold a value.

use crate::bound::EXTENDED;
use crate::loud::Loud;
use crate::statements::SIMPLE;
use crate::{disguises, functions, trouble};
use pg_secrets_tests::{Leak, Proof, Wire};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn no_value_gets_out_whatever_is_logged_and_however_it_fails() -> Proof {
    let mut loud = Loud::start().await;
    do_everything(&loud).await?;
    let values = loud.canaries.count();
    assert!(values > 100, "{values}");
    let leaks = loud.leaks().await;
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
    Ok(())
}

/// Shows that the test above can fail, and what would get out.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout)]
async fn without_the_hooks_values_get_out_everywhere() -> Proof {
    let mut loud = Loud::start_unredacted().await;
    do_everything(&loud).await?;
    loud.expect_anything();
    let leaks = loud.leaks().await;
    for Leak { how, place, form } in &leaks {
        println!("{how}: {place} ({form})");
    }
    let ways: BTreeSet<&str> = leaks.iter().map(|leak| leak.how.as_str()).collect();
    assert!(ways.len() > 60, "{ways:#?}");
    for (place, least) in [
        (".log", 40),
        (".csv", 40),
        (".json", 40),
        ("pg_stat_activity", 20),
        ("pg_stat_statements", 1),
        ("pg_prepared_statements", 1),
        ("pg_cursors", 1),
        ("pg_backend_memory_contexts", 1),
        ("during the run", 1),
    ] {
        let found = leaks.iter().filter(|leak| leak.place.contains(place));
        let ways: BTreeSet<&str> = found.map(|leak| leak.how.as_str()).collect();
        assert!(ways.len() >= least, "{place}: {ways:?}");
    }
    let forms: BTreeSet<&str> = leaks.iter().map(|leak| leak.form).collect();
    assert!(
        forms.contains("plain") && forms.contains("decimal"),
        "{forms:?}"
    );
    Ok(())
}

async fn do_everything(loud: &Loud) -> Proof {
    loud.watch().await;
    let sql = loud.cluster.sql().await?;
    for (how, template, ends) in SIMPLE {
        loud.say(&sql, how, template, ends).await;
    }
    for (how, template) in disguises::ALL {
        loud.say(&sql, how, template, "").await;
    }
    functions::call_all(loud).await?;
    send_parameters(loud).await?;
    trouble::deadlock(loud).await?;
    trouble::wait_for_a_lock(loud).await?;
    trouble::crash(
        loud,
        "a crash",
        "SELECT control_plane.pgp_encrypt('{}'), pg_sleep(60)",
    )
    .await?;
    trouble::crash(
        loud,
        "a crash of an execute",
        "PREPARE s(text) AS SELECT control_plane.pgp_encrypt($1), pg_sleep(60); EXECUTE s('{}')",
    )
    .await
}

async fn send_parameters(loud: &Loud) -> Proof {
    let sql = loud.cluster.sql().await?;
    let mut wire = Wire::connect(&loud.cluster)?;
    for (how, statement, values, succeeds) in EXTENDED {
        for name in ["", "named"] {
            let how = &format!("{how} {name}");
            let values: Vec<String> = values.iter().map(|value| loud.filled(how, value)).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let name = if name.is_empty() {
                String::new()
            } else {
                how.replace(' ', "_")
            };
            let answer = wire.execute(&name, &loud.filled(how, statement), &values)?;
            let failed = answer.windows(6).any(|piece| piece == b"SERROR");
            // What was created once, cannot be again.
            if name.is_empty() || *how != "bound: create named" {
                assert_eq!(!failed, *succeeds, "{how}: {}", answer.escape_ascii());
            }
            loud.look(&sql).await;
        }
    }
    let sleeping = loud.filled(
        "bound: kept",
        "SELECT control_plane.pgp_encrypt($1 || '{}')",
    );
    for _ in 0..2 {
        let value = loud.canaries.fresh("bound: kept");
        wire.execute("", &sleeping, &[&value])?;
    }
    // What this session itself can see of what it prepared.
    let shown = wire.execute(
        "",
        "SELECT string_agg(statement, ' ') FROM pg_prepared_statements UNION ALL SELECT string_agg(ident, ' ') FROM pg_backend_memory_contexts",
        &[],
    )?;
    loud.saw("pg_prepared_statements of the wire", &shown);
    for (function, values) in [
        ("pgp_encrypt", &["{}"][..]),
        ("rotate_secret", &["{}", "{}", "{}", "1h"]),
        ("get_secret", &["{}", "{}"]),
    ] {
        let how = "the fast path";
        let oid: u32 = sql
            .one(
                &format!("SELECT 'control_plane.{function}'::regproc::oid"),
                &[],
            )
            .await?;
        let values: Vec<String> = values.iter().map(|value| loud.filled(how, value)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        wire.call(oid, &values)?;
        loud.look(&sql).await;
    }
    Ok(())
}
