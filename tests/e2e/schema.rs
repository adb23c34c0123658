//! The install script makes exactly what tests/regress/schema.expected lists.

use pg_secrets_patterns::is_sensitive_statement;
use pg_secrets_tests::{Proof, Session, TestApp, extension_library, repository};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

/// Each part of the schema, and the query that lists it, one line a thing.
const PARTS: [(&str, &str); 10] = [
    (
        "relations",
        "SELECT format('%s %s owner=%s acl=%s options=%s', c.relkind, c.relname, c.relowner::regrole, c.relacl, c.reloptions)
         FROM pg_class AS c WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relkind <> 'i'",
    ),
    (
        "columns",
        "SELECT format('%s.%s %s %s%s%s storage=%s statistics=%s', c.relname, lpad(a.attnum::text, 2, '0'), a.attname,
             format_type(a.atttypid, a.atttypmod),
             CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
             coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''), a.attstorage, a.attstattarget)
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
         LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
         WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relkind IN ('r', 'v', 'c')
           AND a.attnum > 0 AND NOT a.attisdropped",
    ),
    (
        "constraints",
        "SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
         FROM pg_constraint WHERE connamespace = 'control_plane'::regnamespace",
    ),
    (
        "indexes",
        "SELECT pg_get_indexdef(c.oid) FROM pg_class AS c
         WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relkind = 'i'",
    ),
    (
        "views",
        "SELECT format('%s %s', c.relname, regexp_replace(pg_get_viewdef(c.oid), '\\s+', ' ', 'g'))
         FROM pg_class AS c WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relkind = 'v'",
    ),
    (
        "functions",
        "SELECT format('%s(%s) returns %s %s volatile=%s strict=%s definer=%s parallel=%s config=%s acl=%s owner=%s source=%s %s',
             p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname,
             p.provolatile, p.proisstrict, p.prosecdef, p.proparallel, p.proconfig, p.proacl,
             p.proowner::regrole, CASE l.lanname WHEN 'c' THEN p.prosrc ELSE md5(p.prosrc) END, p.probin)
         FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
         WHERE p.pronamespace = 'control_plane'::regnamespace",
    ),
    (
        "row security",
        "SELECT format('%s forced=%s %s', c.oid::regclass, c.relforcerowsecurity,
             (SELECT string_agg(format('%s %s %s %s %s', p.polname, p.polcmd, p.polpermissive, p.polroles,
                 pg_get_expr(p.polqual, p.polrelid)), ', ' ORDER BY p.polname)
              FROM pg_policy AS p WHERE p.polrelid = c.oid))
         FROM pg_class AS c WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relrowsecurity",
    ),
    (
        "triggers",
        "SELECT format('%s %s enabled=%s %s', t.tgrelid::regclass, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid))
         FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'control_plane'::regnamespace AND NOT t.tgisinternal",
    ),
    (
        "schema",
        "SELECT format('%s owner=%s acl=%s', nspname, nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname = 'control_plane'",
    ),
    (
        "extension",
        "SELECT format('%s %s relocatable=%s dumped=%s', e.extname, e.extversion, e.extrelocatable,
             ARRAY(SELECT oid::regclass::text FROM unnest(e.extconfig) AS oid ORDER BY 1))
         FROM pg_extension AS e WHERE e.extname = 'pg_secrets'",
    ),
];

async fn describe(sql: &Session) -> Proof<String> {
    let mut text = String::new();
    for (part, query) in PARTS {
        writeln!(text, "# {part}").expect("a String takes everything");
        let mut lines: Vec<String> = sql.all(query, &[]).await?;
        lines.sort();
        for line in lines {
            writeln!(text, "{line}").expect("a String takes everything");
        }
    }
    Ok(text)
}

#[tokio::test]
async fn a_fresh_install_is_what_the_repository_lists() -> Proof {
    let cluster = pg_secrets_tests::Cluster::start(pg_secrets_tests::Key::None, "");
    let sql = cluster.sql().await?;
    sql.run("CREATE EXTENSION pg_secrets").await?;
    let found = describe(&sql).await?;
    let path = repository().join("tests/regress/schema.expected");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &found)?;
    }
    let expected = std::fs::read_to_string(&path)?;
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let missing: Vec<_> = lines(&expected)
        .difference(&lines(&found))
        .cloned()
        .collect();
    let unlisted: Vec<_> = lines(&found)
        .difference(&lines(&expected))
        .cloned()
        .collect();
    assert!(
        found == expected,
        "missing: {missing:#?}\nnot listed: {unlisted:#?}\nIf it is meant so: UPDATE_EXPECT=1 and this test write the list anew."
    );
    Ok(())
}

/// A table of the product's promise with the columns that the promise names.
const PROMISED: [(&str, &[&str]); 4] = [
    (
        "secrets",
        &[
            "id uuid",
            "chain_id uuid",
            "project_id text",
            "name text",
            "value_encrypted bytea",
            "version integer",
            "active boolean",
            "rotated_from uuid",
            "rotation_reason text",
            "created_by text",
            "created_at timestamp with time zone",
        ],
    ),
    (
        "secret_consumers",
        &[
            "secret_id uuid",
            "service character varying(50)",
            "last_used_at timestamp with time zone",
        ],
    ),
    (
        "secret_names",
        &["project_id text", "name text", "last_version integer"],
    ),
    (
        "audit_logs",
        &[
            "id uuid",
            "at timestamp with time zone",
            "action text",
            "outcome text",
            "actor text",
            "login text",
            "project_id text",
            "secret_id uuid",
            "name text",
            "version integer",
            "service text",
            "client_address inet",
            "application_name text",
            "request_id text",
            "detail jsonb",
        ],
    ),
];

#[tokio::test]
async fn the_promised_tables_have_the_promised_columns() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    for (table, columns) in PROMISED {
        let found: Vec<String> = sql
            .all(
                "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                 WHERE attrelid = ('control_plane.' || $1)::regclass AND attnum > 0",
                &[&table],
            )
            .await?;
        for column in columns {
            assert!(found.iter().any(|one| one == column), "{table}: {column}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_record_is_answered_as_it_stands_in_the_table() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let columns = "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                   WHERE attrelid = ('control_plane.' || $1)::regclass AND attnum > 0 ORDER BY attnum";
    let mut stored: Vec<String> = sql.all(columns, &[&"audit_logs"]).await?;
    // The last one is for the workers.
    assert_eq!(stored.pop().as_deref(), Some("arrival bigint"));
    let answered: Vec<String> = sql.all(columns, &[&"audit_record"]).await?;
    assert_eq!(answered, stored);
    Ok(())
}

/// Every function whose body has a pinned search path and that only the owner may call.
#[tokio::test]
async fn every_function_pins_its_search_path_and_none_is_publics() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let loose: Vec<String> = sql
        .all(
            "SELECT p.oid::regprocedure::text FROM pg_proc AS p
             WHERE p.pronamespace = 'control_plane'::regnamespace
               AND (array_position(p.proconfig, 'search_path=pg_catalog, pg_temp') IS NULL
                    OR p.prosecdef OR p.proisstrict
                    OR EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0))",
            &[],
        )
        .await?;
    assert!(loose.is_empty(), "{loose:?}");
    let overloaded: Vec<String> = sql
        .all(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'control_plane'::regnamespace
             GROUP BY proname HAVING count(*) > 1",
            &[],
        )
        .await?;
    assert!(overloaded.is_empty(), "{overloaded:?}");
    Ok(())
}

/// What takes or gives a value, a password or a token makes a statement sensitive by its own name, also
/// where the schema is not named.
#[tokio::test]
async fn what_takes_or_gives_values_is_known_by_name_to_those_who_mask() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let functions: Vec<String> = sql
        .all(
            "SELECT DISTINCT p.proname::text FROM pg_proc AS p LEFT JOIN pg_type AS t ON t.oid = p.prorettype
             WHERE p.pronamespace = 'control_plane'::regnamespace
               AND (p.proargnames && ARRAY['value', 'password', 'token'] OR t.typname = 'secret_value' OR p.proname = 'create_token')",
            &[],
        )
        .await?;
    assert!(functions.len() > 8, "{functions:?}");
    for function in functions {
        for written in [
            format!("select {function}('x')"),
            format!("SELECT {}(", function.to_uppercase()),
        ] {
            assert!(is_sensitive_statement(written.as_bytes()), "{written}");
        }
    }
    Ok(())
}

#[test]
fn the_functions_of_sql_and_the_symbols_of_the_library_are_the_same() {
    let symbol = regex::Regex::new("'(pgs_[a-z_]+)'").expect("a pattern");
    let mut declared = BTreeSet::new();
    for entry in std::fs::read_dir(repository().join("sql"))
        .expect("sql/")
        .flatten()
    {
        if entry.path().is_file() {
            let text = std::fs::read_to_string(entry.path()).expect("a script");
            declared.extend(symbol.captures_iter(&text).map(|found| found[1].to_owned()));
        }
    }
    let output = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=posix"])
        .arg(extension_library())
        .output()
        .expect("nm runs: dev/prerequisites.sh --for-tests");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let symbols: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    // Postgres calls a function of SQL only where the library describes it too.
    let callable: BTreeSet<String> = symbols
        .iter()
        .filter_map(|name| name.strip_prefix("pg_finfo_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(declared, callable);
    let other: Vec<_> = symbols
        .iter()
        .filter(|name| name.starts_with("pgs_") && !callable.contains(**name))
        .collect();
    assert!(
        other.iter().all(|name| name.ends_with("_main")),
        "neither functions nor workers: {other:?}"
    );
}
