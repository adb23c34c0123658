//! Functions of the user's own that pass values on.

use pg_secrets_tests::{Canaries, Cluster, Key, Proof, Wire, eventually};

const OBJECTS: &str = "
CREATE FUNCTION unnamed(v text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  PERFORM control_plane.pgp_encrypt(v);
  RETURN 0;
END $$;
CREATE FUNCTION assigned(v text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE sealed bytea;
BEGIN
  sealed := control_plane.pgp_encrypt(v);
  RETURN 0;
END $$;
CREATE FUNCTION inlined(v text) RETURNS bytea LANGUAGE sql AS $$ SELECT control_plane.pgp_encrypt(v) $$;
CREATE VIEW viewed AS SELECT * FROM control_plane.get_secret_by_name('p', 'seen');
CREATE PROCEDURE called(v text) LANGUAGE plpgsql AS $$ BEGIN PERFORM unnamed(v); END $$;";

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapper_that_nobody_named_is_known_by_what_it_calls() -> Proof {
    let cluster = Cluster::start(
        Key::new(),
        "fsync = off
         shared_preload_libraries = 'auto_explain, pg_stat_statements, pg_secrets'
         log_min_duration_statement = 0
         log_parameter_max_length = -1
         log_parameter_max_length_on_error = -1
         pg_stat_statements.track = all
         auto_explain.log_min_duration = 0
         auto_explain.log_verbose = on",
    );
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run(OBJECTS).await?;
    sql.run("CREATE EXTENSION pg_stat_statements").await?;
    let canaries = Canaries::default();
    let value = || canaries.fresh("an unnamed wrapper");
    sql.run("SELECT control_plane.create_secret('p', 'seen', 'value')")
        .await?;
    let mut wire = Wire::connect(&cluster)?;
    let viewed = "SELECT * FROM viewed WHERE value <> $1";
    wire.execute("", viewed, &[&value()])?;
    for _ in 0..2 {
        sql.run("SET debug_print_rewritten = on; SET debug_print_plan = on")
            .await?;
        let viewed = format!("SELECT * FROM viewed WHERE value <> '{}'", value());
        sql.run(&viewed).await?;
        // It fails while it is planned, before anything of ours is called.
        let fails = format!(
            "SELECT * FROM viewed WHERE value <> '{}' AND 1 / 0 = 1",
            value()
        );
        assert_eq!(sql.refused_text(&fails).await.state, "22012");
        sql.run("RESET debug_print_rewritten; RESET debug_print_plan")
            .await?;
        sql.run(&format!("SELECT unnamed('{}')", value())).await?;
        sql.run(&format!("SELECT inlined('{}')", value())).await?;
        let fails = format!("SELECT 1 / unnamed('{}')", value());
        assert_eq!(sql.refused_text(&fails).await.state, "22012");
    }
    // In one transaction PL/pgSQL sets its expressions up once: what calls us then is nothing but the call.
    sql.run("BEGIN; SELECT assigned('no value')").await?;
    sql.run(&format!("SELECT assigned('{}')", value())).await?;
    sql.run("COMMIT").await?;
    // Once its text is known it is so from the beginning, and also where it fails before it is called.
    for (name, statement) in [
        ("", "SELECT unnamed($1), $2::int"),
        ("kept", "SELECT inlined($1), $2::int"),
    ] {
        wire.execute(name, statement, &["no value", "1"])?;
        for second in ["1", "x", "2"] {
            if name.is_empty() {
                wire.execute(name, statement, &[&value(), second])?;
            } else {
                wire.bind(name, &[&value(), second])?;
            }
        }
    }
    let shown: Vec<String> = sql
        .all(
            "SELECT query FROM pg_stat_statements UNION ALL SELECT query FROM pg_stat_activity",
            &[],
        )
        .await?;
    let finder = canaries.finder();
    let mut leaks = finder.find("views", shown.join("\n").as_bytes());
    leaks.extend(finder.find("the log", cluster.log().as_bytes()));
    assert!(leaks.is_empty(), "{leaks:#?}\n{}", cluster.log());
    assert!(cluster.log().contains("duration: "), "nothing was logged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapper_that_is_named_is_masked_from_the_next_reload_on() -> Proof {
    let cluster = Cluster::start(Key::new(), "fsync = off\nlog_statement = all");
    cluster.install().await?;
    let sql = cluster.sql().await?;
    sql.run(OBJECTS).await?;
    let call = |value: &str| format!("CALL public.called('{value}')");
    let (before, named, after) = (
        Canaries::default(),
        Canaries::default(),
        Canaries::default(),
    );
    sql.run(&call(&before.fresh("before"))).await?;
    sql.run("ALTER SYSTEM SET pg_secrets.redact_also = 'other, public.called'")
        .await?;
    sql.run("SELECT pg_reload_conf()").await?;
    eventually("the reload", || async {
        let listed: String = sql.one("SHOW pg_secrets.redact_also", &[]).await.ok()?;
        (!listed.is_empty()).then_some(())
    })
    .await;
    sql.run(&call(&named.fresh("named"))).await?;
    sql.run("ALTER SYSTEM RESET pg_secrets.redact_also").await?;
    sql.run("SELECT pg_reload_conf()").await?;
    eventually("the reload", || async {
        let listed: String = sql.one("SHOW pg_secrets.redact_also", &[]).await.ok()?;
        listed.is_empty().then_some(())
    })
    .await;
    sql.run(&call(&after.fresh("after"))).await?;
    let log = cluster.log();
    let finds = |canaries: &Canaries| !canaries.finder().find("the log", log.as_bytes()).is_empty();
    assert!(finds(&before) && !finds(&named) && finds(&after), "{log}");
    let refused = sql.refused_text("SET pg_secrets.redact_also = ''").await;
    assert_eq!(refused.state, "55P02");
    Ok(())
}
