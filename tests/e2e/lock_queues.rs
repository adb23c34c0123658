//! Nobody without a right on our tables can have everybody else wait for them.

use crate::durable_audit::start;
use pg_secrets_tests::{Proof, eventually};
use std::time::{Duration, Instant};

/// What Postgres says to whoever is not a table's owner.
const NOT_OWNER: &str = "42501";

#[tokio::test]
async fn a_statement_that_locks_before_it_is_refused_is_refused_before_it_locks() -> Proof {
    let (cluster, sql, id) = start("pg_secrets.audit_timeout = '2s'").await?;
    sql.run(
        "CREATE ROLE stranger LOGIN;
         GRANT USAGE ON SCHEMA control_plane TO stranger;
         CREATE SCHEMA own AUTHORIZATION stranger;
         GRANT CREATE ON DATABASE postgres TO stranger",
    )
    .await?;
    // The weakest lock, which nobody needs a right for.
    let holder = cluster.connect("stranger", "postgres").await?;
    holder
        .run(
            "BEGIN;
             PREPARE a AS SELECT FROM control_plane.secrets;
             PREPARE b AS DELETE FROM control_plane.audit_logs;
             LOCK TABLE pg_catalog.pg_class IN ACCESS SHARE MODE",
        )
        .await?;
    let stranger = cluster.connect("stranger", "postgres").await?;
    stranger
        .run(
            "SET lock_timeout = '5s';
             CREATE TABLE own.parted (id uuid) PARTITION BY LIST (id);
             CREATE TABLE own.plain (id uuid);
             CREATE INDEX parted_id ON own.parted (id);
             CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        )
        .await?;
    for statement in [
        "CREATE RULE r AS ON INSERT TO {t} DO ALSO NOTHING",
        "CREATE TRIGGER t AFTER INSERT ON {t} EXECUTE FUNCTION own.f()",
        "CREATE TABLE own.referring (id uuid REFERENCES {t})",
        "CREATE TEMP TABLE referring (id uuid, FOREIGN KEY (id) REFERENCES {t})",
        "ALTER TABLE own.plain ADD FOREIGN KEY (id) REFERENCES {t}",
        "ALTER TABLE own.plain ADD COLUMN other uuid REFERENCES {t}",
        "CREATE TABLE own.part PARTITION OF {t} FOR VALUES IN ('00000000-0000-0000-0000-000000000000')",
        "CREATE TABLE own.heir () INHERITS ({t})",
        "ALTER TABLE own.plain INHERIT {t}",
        "ALTER TABLE own.parted ATTACH PARTITION {t} DEFAULT",
        "ALTER TABLE own.parted DETACH PARTITION {t}",
        "ALTER INDEX own.parted_id ATTACH PARTITION {t}_pkey",
        "ALTER INDEX {t}_pkey DEPENDS ON EXTENSION plpgsql",
        "CREATE SCHEMA other CREATE TABLE referring (id uuid REFERENCES {t})",
        "DO $$ BEGIN EXECUTE 'CREATE RULE r AS ON INSERT TO {t} DO ALSO NOTHING'; END $$",
        "SET search_path = control_plane; CREATE TRIGGER t AFTER INSERT ON {u} EXECUTE FUNCTION own.f()",
    ] {
        for table in ["secrets", "audit_logs"] {
            let statement = statement
                .replace("{t}", &format!("control_plane.{table}"))
                .replace("{u}", table);
            let refused = stranger.refused_text(&statement).await;
            assert_eq!(refused.state, NOT_OWNER, "{statement}: {refused:?}");
        }
    }
    // New sessions read the catalogues.
    let refused = stranger
        .refused_text("CREATE RULE r AS ON INSERT TO pg_catalog.pg_class DO ALSO NOTHING")
        .await;
    assert_eq!(refused.state, NOT_OWNER, "{refused:?}");
    // What is the stranger's own stays so, whatever it is called.
    stranger
        .run(
            "SET search_path = own, control_plane;
             CREATE TABLE own.secrets (id uuid PRIMARY KEY);
             CREATE RULE r AS ON INSERT TO secrets DO ALSO NOTHING;
             CREATE TRIGGER t AFTER INSERT ON secrets EXECUTE FUNCTION own.f();
             CREATE TABLE own.referring (id uuid REFERENCES secrets)",
        )
        .await?;
    holder.run("ROLLBACK").await?;
    // The owner may, as ever.
    sql.run("CREATE RULE r AS ON UPDATE TO control_plane.tokens WHERE false DO ALSO NOTHING; DROP RULE r ON control_plane.tokens")
        .await?;
    sql.rows("SELECT control_plane.get_secret($1)", &[&id])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_name_that_changes_its_meaning_while_a_statement_waits_leads_to_no_table_of_ours() -> Proof
{
    let (cluster, sql, id) = start("pg_secrets.audit_timeout = '2s'").await?;
    sql.run(
        "CREATE ROLE stranger LOGIN;
         GRANT USAGE ON SCHEMA control_plane TO stranger;
         CREATE SCHEMA own AUTHORIZATION stranger",
    )
    .await?;
    let holder = cluster.connect("stranger", "postgres").await?;
    let dropper = cluster.connect("stranger", "postgres").await?;
    let stranger = cluster.connect("stranger", "postgres").await?;
    for prepared in [false, true] {
        dropper.run("CREATE TABLE own.secrets (id uuid)").await?;
        holder
            .run("BEGIN; PREPARE a AS SELECT FROM control_plane.secrets")
            .await?;
        dropper.run("BEGIN; DROP TABLE own.secrets").await?;
        let pid: i32 = stranger.one("SELECT pg_backend_pid()", &[]).await?;
        stranger
            .run("SET search_path = own, control_plane; SET lock_timeout = '10s'")
            .await?;
        let rule = "CREATE RULE r AS ON INSERT TO secrets DO ALSO NOTHING";
        let waiting = async {
            if prepared {
                // By the extended protocol, which keeps the statement as it is.
                stranger.refused(rule, &[]).await
            } else {
                stranger.refused_text(rule).await
            }
        };
        let change = async {
            eventually("a statement that waits", || async {
                let statement = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted";
                let waits: i64 = sql.one(statement, &[&pid]).await.ok()?;
                (waits == 1).then_some(())
            })
            .await;
            dropper.run("COMMIT").await
        };
        let (refused, changed) = tokio::join!(waiting, change);
        changed?;
        // undefined_table: its own is gone, and no other was taken in its place.
        assert_eq!(refused.state, "42P01", "{refused:?}");
        sql.rows("SELECT control_plane.get_secret($1)", &[&id])
            .await?;
        holder.run("ROLLBACK; DEALLOCATE ALL").await?;
    }
    Ok(())
}

#[tokio::test]
async fn whoever_reads_by_a_token_waits_no_longer_either() -> Proof {
    let settings = "pg_secrets.audit_timeout = '500ms'\npg_secrets.trusted_logins = 'web'";
    let (cluster, sql, _) = start(settings).await?;
    sql.run("CREATE ROLE web LOGIN; GRANT USAGE ON SCHEMA control_plane TO web; GRANT EXECUTE ON FUNCTION control_plane.authenticate TO web")
        .await?;
    let token: String = sql
        .one("SELECT control_plane.create_token('somebody')", &[])
        .await?;
    let web = cluster.connect("web", "postgres").await?;
    sql.run("BEGIN; LOCK TABLE control_plane.tokens IN ACCESS EXCLUSIVE MODE")
        .await?;
    web.run("SET statement_timeout = '5s'").await?;
    let refused = web
        .refused("SELECT control_plane.authenticate($1)", &[&token])
        .await;
    assert_eq!(refused.state, "PT503", "{refused:?}");
    sql.run("ROLLBACK").await?;
    web.rows("SELECT control_plane.authenticate($1)", &[&token])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_read_waits_for_no_lock_longer_than_for_its_record() -> Proof {
    let (cluster, sql, id) = start("pg_secrets.audit_timeout = '500ms'").await?;
    sql.run("CREATE ROLE app LOGIN; SELECT control_plane.grant_project('app', 'read', 'p')")
        .await?;
    let reader = cluster.connect("app", "postgres").await?;
    let get = "SELECT control_plane.get_secret($1)";
    for table in ["secrets", "grants"] {
        sql.run(&format!(
            "BEGIN; LOCK TABLE control_plane.{table} IN ACCESS EXCLUSIVE MODE"
        ))
        .await?;
        let mut times = Vec::new();
        for _ in 0..3 {
            let began = Instant::now();
            let refused = reader.refused(get, &[&id]).await;
            times.push(began.elapsed());
            assert_eq!(refused.state, "PT503", "{table}: {refused:?}");
            assert!(refused.hint.contains("pg_blocking_pids"), "{refused:?}");
        }
        // The middle one: a machine that is busy with other tests delays one now and then.
        times.sort();
        assert!(times[1] < Duration::from_millis(700), "{table}: {times:?}");
        // Somebody's own limit holds where it is shorter, and says what it always says.
        reader.run("SET lock_timeout = '50ms'").await?;
        assert_eq!(reader.refused(get, &[&id]).await.state, "55P03");
        reader.run("RESET lock_timeout").await?;
        sql.run("ROLLBACK").await?;
        reader.rows(get, &[&id]).await?;
    }
    let left: String = reader
        .one("SELECT current_setting('lock_timeout')", &[])
        .await?;
    assert_eq!(left, "0", "the limit ends with the read");
    Ok(())
}
