//! The commands about one secret or all of a project, as scripts and people call them.

use pg_secrets_tests::{Cli, Proof, TestApp, eventually, project};
use serde_json::json;

const NASTY: &str = "  two\nlines, \"quotes\", it's \\ $HOME `id` 秘密\r\n\n";

#[tokio::test]
async fn a_value_is_set_rotated_rolled_back_and_read_exactly() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("cli");
    let of = ["--project", project.as_str()];
    let with = |arguments: &[&'static str]| [arguments, &of].concat();

    let set = cli.run_with(&with(&["set", "a/b %"]), NASTY).expect(0);
    assert_eq!(set.out, "created a/b %, now version 1\n");
    assert_eq!(cli.run(&with(&["get", "a/b %"])).expect(0).out, NASTY);

    let set = cli.run_with(&with(&["set", "a/b %", "--reason", "why"]), "second");
    assert_eq!(set.expect(0).out, "rotated a/b %, now version 2\n");
    let old = cli
        .run(&with(&["get", "a/b %", "--version", "1"]))
        .expect(0);
    assert_eq!(old.out, NASTY);
    assert!(old.err.contains("superseded"), "{}", old.err);

    let rotate = ["rotate", "a/b %", "--grace", "7d", "--json", "--trim"];
    let third = cli.run_with(&with(&rotate), "third\n").expect(0).json();
    assert_eq!(third["version"], 3);
    assert_eq!(third["action"], "rotated");
    let kept: i64 = app
        .sql()
        .await?
        .one(
            "SELECT extract(epoch FROM expires_at - superseded_at)::bigint FROM control_plane.secrets
             WHERE project_id = $1 AND version = 2",
            &[&project],
        )
        .await?;
    assert_eq!(kept, 7 * 86_400);

    let back = cli.run(&with(&[
        "rollback", "a/b %", "--to", "1", "--reason", "no good",
    ]));
    assert_eq!(
        back.expect(0).out,
        "rolled back a/b %, now version 4 with the value of version 1\n"
    );
    let value = cli.run(&with(&["get", "a/b %", "--json"])).expect(0).json();
    assert_eq!(value["value"], NASTY);
    assert_eq!(value["version"], 4);

    let history = cli.run(&with(&["history", "a/b %"])).expect(0).out;
    for part in ["active", "grace, ", "no good", "why", "admin@local"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    // Within its first second, or after it.
    let grace = ["7d 0h left", "6d 23h left"];
    assert!(grace.iter().any(|left| history.contains(left)), "{history}");
    assert!(!history.contains('\u{1b}'), "colour in a pipe: {history}");
    let versions = cli
        .run(&with(&["history", "a/b %", "--json"]))
        .expect(0)
        .json();
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(4));

    let list = cli.run(&with(&["list"])).expect(0).out;
    assert!(list.contains("a/b %") && list.contains("NAME"), "{list}");
    let list = cli.run(&with(&["list", "--json"])).expect(0).json();
    assert_eq!(list["secrets"][0]["version"], 4);
    Ok(())
}

#[tokio::test]
async fn a_line_end_is_kept_and_told_of() -> Proof {
    let cli = Cli::of(TestApp::shared().await);
    let project = project("cli");
    let set = ["set", "name", "--project", &project];
    let set = cli.run_with(&set, "value\n").expect(0);
    assert!(set.err.contains("--trim"), "{}", set.err);
    let get = ["get", "name", "--project", &project];
    assert_eq!(cli.run(&get).expect(0).out, "value\n");

    // Nothing for a terminal to act upon in JSON, and the same texts for who reads it.
    let (name, value) = ("a\u{202e}b", "\u{9b}31m\u{1b}[2J\u{e0041}");
    let _ = cli
        .run_with(&["set", name, "--project", &project], value)
        .expect(0);
    let get = cli.run(&["get", name, "--json", "--project", &project]);
    let get = get.expect(0);
    assert!(
        get.out.trim_end().is_ascii() && !get.out.contains('\u{1b}'),
        "{}",
        get.out
    );
    assert_eq!(get.json()["value"], value);
    assert_eq!(get.json()["name"], name);
    Ok(())
}

#[tokio::test]
async fn the_blast_radius_is_shown_and_a_dry_run_changes_nothing() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("cli");
    let of = ["--project", project.as_str()];
    let with = |arguments: &[&'static str]| [arguments, &of].concat();
    let _ = cli.run_with(&with(&["set", "name"]), "value").expect(0);
    let none = cli.run(&with(&["blast-radius", "name"])).expect(0);
    assert!(none.out.starts_with("Nobody"), "{}", none.out);
    let _ = cli
        .run(&with(&["get", "name", "--service", "billing"]))
        .expect(0);
    eventually("the consumer", || async {
        let shown = cli.run(&with(&["blast-radius", "name"])).expect(0).out;
        (shown.contains("billing") && shown.contains("version 1 (active)")).then_some(())
    })
    .await;
    let dry = cli.run(&with(&["rotate", "name", "--dry-run"])).expect(0);
    assert!(dry.out.contains("billing"), "{}", dry.out);
    let dry = cli
        .run(&with(&["rotate", "name", "--dry-run", "--json"]))
        .expect(0);
    assert_eq!(dry.json()["consumers"][0]["service"], "billing");
    let list = cli.run(&with(&["list", "--json"])).expect(0).json();
    assert_eq!(list["secrets"][0]["version"], 1);
    assert_eq!(list["secrets"][0]["consumers"], 1);
    Ok(())
}

#[tokio::test]
async fn each_end_has_its_exit_code() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("cli");
    let of = ["--project", project.as_str()];
    let with = |arguments: &[&'static str]| [arguments, &of].concat();
    let _ = cli.run_with(&with(&["set", "name"]), "value").expect(0);

    let _ = cli.run(&["list"]).expect(2);
    let _ = cli.run_with(&with(&["set", "name"]), "").expect(2);
    let _ = cli.run_with(&with(&["set", "name"]), b"\xff").expect(2);
    let _ = cli.run_with(&with(&["set", ".."]), "value").expect(1);
    let _ = cli.run(&with(&["get", ".."])).expect(2);
    let large = cli.run_with(&with(&["set", "name"]), "x".repeat(70_000));
    assert!(large.expect(1).err.contains("65536"));
    let _ = cli.run(&with(&["get", "another"])).expect(4);
    let _ = cli
        .run(&with(&["rotate", "another", "--generate"]))
        .expect(4);
    let _ = cli.run(&with(&["history", "another"])).expect(4);
    let _ = cli.run(&with(&["rollback", "name", "--to", "9"])).expect(4);
    let _ = cli.run(&with(&["rollback", "name", "--to", "1"])).expect(6);
    let none = "00000000-0000-0000-0000-000000000000";
    let _ = cli
        .run_with(&with(&["rotate", "name", "--if-current", none]), "x")
        .expect(6);
    let _ = cli
        .run_with(&with(&["rotate", "name", "--grace", "0"]), "x")
        .expect(0);
    // Destroyed.
    let _ = cli.run(&with(&["get", "name", "--version", "1"])).expect(4);

    let token = app
        .token_for("cli-writer", &["write"], &project, None)
        .await?;
    let writer = Cli::with(&app.companion.url(), Some(&token));
    let _ = writer.run_with(&with(&["set", "name"]), "again").expect(0);
    let _ = writer.run(&with(&["get", "name"])).expect(5);
    let refused = writer.run_with(&with(&["rotate", "name"]), "x").expect(5);
    assert!(refused.err.contains("permission list"), "{}", refused.err);
    Ok(())
}

#[tokio::test]
async fn a_generator_makes_the_value() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("cli");
    let made = app
        .api()
        .post(
            "/api/secrets",
            json!({"project_id": project, "name": "name", "value": "by hand"}),
        )
        .await?
        .expect(201)?;
    app.api()
        .put_json(
            &format!("/api/secrets/{}/rotation", made.id()),
            json!({"length": 40, "alphabet": "hex"}),
        )
        .await?
        .expect(200)?;
    let of = ["--project", project.as_str()];
    let _ = cli
        .run(&[&["rotate", "name", "--generate"], &of[..]].concat())
        .expect(0);
    let value = cli.run(&[&["get", "name"], &of[..]].concat()).expect(0).out;
    assert_eq!(value.len(), 40, "{value}");
    Ok(())
}

#[test]
fn completion_knows_the_commands_of_every_shell() {
    let cli = Cli::with("", None);
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.run(&["completion", shell]).expect(0).out;
        for word in ["blast-radius", "rollback", "if-current"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // The shell itself reads it, and asks the function that it names for the command.
    let script = cli.run(&["completion", "bash"]).out;
    let mut bash = std::process::Command::new("bash");
    bash.args(["--noprofile", "--norc"]);
    let asked = r#"
function=$(complete -p pg-secrets | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_WORDS=(pg-secrets hist); COMP_CWORD=1
"$function" pg-secrets hist pg-secrets
echo "${COMPREPLY[*]}"
"#;
    let shown = pg_secrets_tests::ran(&mut bash, format!("{script}{asked}").as_bytes());
    assert_eq!(shown.out.trim(), "history", "{shown:?}");
}

#[test]
fn help_tells_the_exit_codes() {
    let cli = Cli::with("", None);
    for command in ["get", "run", "import", "login"] {
        let help = cli.run(&[command, "--help"]).expect(0).out;
        assert!(help.contains("3    the server cannot be reached"), "{help}");
    }
}
