//! Each function of the schema, with a value in the place of each parameter that can be given one.

use crate::loud::Loud;
use pg_secrets_tests::{Proof, SqlError, Wire};

/// Texts that are kept secret, or are one of a few words and else refused.
const SECRET: &[&str] = &[
    "answer",
    "body",
    "status",
    "value",
    "values",
    "data",
    "keys",
    "password",
    "token",
    "permission",
    "kind",
    "state",
    "outcome",
    "action",
    "head",
    "verb",
    "role",
];

/// Texts that are kept or told as they are: names, reasons, filters, addresses.
const OPEN: &[&str] = &[
    "actor",
    "after_name",
    "alphabet",
    "error",
    "etag",
    "event_types",
    "grantee",
    "key",
    "location",
    "name",
    "name_prefix",
    "names",
    "prefix",
    "project_id",
    "reason",
    "service",
    "subject",
    "url",
];

/// One parameter of a function.
struct Parameter {
    name: String,
    kind: String,
}

impl Parameter {
    /// Whether a value in its place is either kept secret or refused.
    fn may_hold_a_value(&self) -> bool {
        let is_text = matches!(self.kind.as_str(), "text" | "text[]");
        let is_open = OPEN.contains(&self.name.as_str());
        assert!(
            !is_text || is_open || SECRET.contains(&self.name.as_str()),
            "may {} hold a value? It belongs into one of the lists above",
            self.name
        );
        !is_text || !is_open
    }

    /// Something that its type takes.
    fn filler(&self) -> &'static str {
        match self.kind.as_str() {
            "uuid" => "00000000-0000-4000-8000-000000000000",
            "integer" | "bigint" | "smallint" => "1",
            "interval" => "1h",
            "boolean" => "false",
            "timestamp with time zone" => "2026-01-01",
            "bytea" => "\\x00",
            "jsonb" | "json" | "text[]" | "uuid[]" => "{}",
            "text" => "x",
            other => panic!("what does a {other} look like?"),
        }
    }

    /// A value as it would be written there.
    fn holding(&self) -> &'static str {
        match self.kind.as_str() {
            // No JSON, and JSON that says nothing.
            "jsonb" | "json" => r#"{"{}": {}}"#,
            _ => "{}",
        }
    }
}

/// Calls all of them as text, with bound parameters, prepared, and with variables of PL/pgSQL.
pub(crate) async fn call_all(loud: &Loud) -> Proof {
    let sql = loud.cluster.sql().await?;
    let mut wire = Wire::connect(&loud.cluster)?;
    let mut called = 0;
    for line in functions(loud).await? {
        let (function, parameters) = line;
        for (at, parameter) in parameters.iter().enumerate() {
            if !parameter.may_hold_a_value() {
                continue;
            }
            let how = format!("{function}({})", parameter.name);
            let given: Vec<&str> = (0..parameters.len())
                .map(|other| {
                    let parameter = &parameters[other];
                    if other == at {
                        parameter.holding()
                    } else {
                        parameter.filler()
                    }
                })
                .collect();
            let list = |each: &dyn Fn(usize) -> String| {
                let each: Vec<String> = (0..given.len()).map(each).collect();
                each.join(", ")
            };
            let literals = list(&|at| format!("'{}'", given[at]));
            let bound = list(&|at| format!("${}::{}", at + 1, parameters[at].kind));
            let untyped = list(&|at| format!("${}", at + 1));
            let declared = list(&|_| "text".to_owned());
            let variables = list(&|at| format!("v[{}]::{}", at + 1, parameters[at].kind));
            for (form, template) in [
                (
                    "",
                    format!("SELECT * FROM control_plane.{function}({literals})"),
                ),
                (
                    "executed",
                    format!(
                        "PREPARE one AS SELECT * FROM control_plane.{function}({untyped}); EXECUTE one({literals}); DEALLOCATE one"
                    ),
                ),
                (
                    "executed with a cast",
                    format!(
                        "PREPARE two({declared}) AS SELECT * FROM control_plane.{function}({bound}); EXECUTE two({literals}); DEALLOCATE two"
                    ),
                ),
                (
                    "in a DO block",
                    format!(
                        "DO $do$ DECLARE v text[] := ARRAY[{literals}]; BEGIN PERFORM * FROM control_plane.{function}({variables}); END $do$"
                    ),
                ),
            ] {
                let outcome = sql
                    .run(&loud.filled(&format!("{how} {form}"), &template))
                    .await;
                if outcome.is_err() {
                    sql.run("DEALLOCATE ALL").await?;
                }
            }
            for (form, list) in [("bound", &untyped), ("bound with a cast", &bound)] {
                let how = format!("{how} {form}");
                let values: Vec<String> =
                    given.iter().map(|value| loud.filled(&how, value)).collect();
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let statement = format!("SELECT * FROM control_plane.{function}({list})");
                wire.execute("", &statement, &values)?;
            }
            called += 1;
        }
        loud.look(&sql).await;
    }
    assert!(called > 40, "{called}");
    Ok(())
}

/// Each function that a statement can call, with its parameters.
async fn functions(loud: &Loud) -> Result<Vec<(String, Vec<Parameter>)>, SqlError> {
    let sql = loud.cluster.sql().await?;
    let lines: Vec<String> = sql
        .all(
            "SELECT p.proname || coalesce((
                 SELECT string_agg('|' || coalesce(p.proargnames[t.number], '') || '|' || t.type::regtype, '' ORDER BY t.number)
                 FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, number)), '')
             FROM pg_proc p
             WHERE p.pronamespace = 'control_plane'::regnamespace AND p.prorettype <> 'trigger'::regtype
             ORDER BY p.proname",
            &[],
        )
        .await?;
    let functions = lines.iter().map(|line| {
        let mut fields = line.split('|').map(str::to_owned);
        let function = fields.next().unwrap_or_default();
        let mut parameters = Vec::new();
        while let (Some(name), Some(kind)) = (fields.next(), fields.next()) {
            parameters.push(Parameter { name, kind });
        }
        (function, parameters)
    });
    Ok(functions.collect())
}
