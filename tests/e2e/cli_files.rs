//! `pg-secrets import` and `export`: values from files and into them.

use pg_secrets_tests::{Cli, Proof, TestApp, project, ran};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const NASTY: [(&str, &str); 9] = [
    ("PLAIN", "value"),
    ("BLANKS", "  a  b  "),
    ("QUOTES", "it's \"quoted\""),
    (
        "EXPANSION",
        "$(touch hacked) `touch hacked` ${HOME} $HOME \\ \\n \\' ' !",
    ),
    ("LINES", "-----BEGIN X-----\nabc'def\n\n-----END X-----\n"),
    ("CARRIAGE", "a\r\nb\r\n"),
    ("COMMENT", "# no comment"),
    ("UNICODE", "秘密 🗝️ \u{202e}"),
    ("CONTROL", "\u{1}\u{1b}[31m\u{7f}"),
];

#[tokio::test]
async fn nasty_values_come_back_as_they_were_and_a_shell_reads_them_alike() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let (one, other) = (project("files"), project("files"));
    let sql = app.sql().await?;
    for (name, value) in NASTY {
        sql.rows(
            "SELECT control_plane.create_secret($1, $2, $3)",
            &[&one, &name, &value],
        )
        .await?;
    }
    let export = |project: &str, flags: &[&str]| {
        cli.run(&[&["export", "--project", project], flags].concat())
    };
    let _ = export(&one, &["--output", "values.env"]).expect(0);
    let file = cli.home().join("values.env");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    // Never over a file that is there.
    let _ = export(&one, &["--output", "values.env"]).expect(1);

    let import = ["import", "values.env", "--project", &other];
    let nobody = cli.run(&import).expect(2);
    assert!(nobody.err.contains("--yes"), "{}", nobody.err);
    assert!(
        cli.run(&["list", "--project", &other])
            .expect(0)
            .out
            .is_empty()
    );
    let imported = cli.run(&[&import[..], &["--yes"]].concat()).expect(0);
    assert!(imported.out.contains("9 done"), "{}", imported.out);
    let expected: serde_json::Map<_, _> = NASTY
        .iter()
        .map(|&(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let json = export(&other, &["--format", "json"]).expect(0).json();
    assert_eq!(json, json!(expected));

    let mut shell = Command::new("sh");
    let script: String = NASTY
        .iter()
        .map(|(name, _)| format!("printf '%s\\0' \"${name}\"\n"))
        .collect();
    shell
        .args(["-eu", "-c", &format!(". ./values.env\n{script}")])
        .current_dir(cli.home());
    let read = ran(&mut shell, b"").expect(0).out;
    let values: Vec<&str> = read.split_terminator('\0').collect();
    assert_eq!(values, NASTY.map(|(_, value)| value));
    assert!(!cli.home().join("hacked").exists());
    Ok(())
}

#[tokio::test]
async fn an_import_shows_names_and_no_values_and_rotates_what_is_there() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("files");
    let of = ["--project", project.as_str()];
    let with = |arguments: &[&'static str]| [arguments, &of].concat();
    let _ = cli.run_with(&with(&["set", "stripe-key"]), "old").expect(0);
    fs::write(
        cli.home().join(".env"),
        "export STRIPE_KEY=\"hunter2hunter2\" # the live one\nNEW='hunter3\nhunter3'\nEMPTY=\nURL=http://${NEW}\n",
    )?;
    let shown = cli.run(&with(&["import", ".env"])).expect(2);
    for part in [
        "stripe-key",
        "rotate",
        "NEW",
        "create",
        "left out",
        "not expanded",
    ] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let said = format!("{}{}", shown.out, shown.err);
    assert!(
        !said.contains("hunter") && !said.contains("http://"),
        "{said}"
    );
    assert_eq!(cli.run(&with(&["get", "stripe-key"])).expect(0).out, "old");

    let done = cli.run(&with(&[
        "import", ".env", "--yes", "--json", "--reason", "moved",
    ]));
    let done = done.expect(0).json();
    assert_eq!(
        done["imported"],
        json!([
            {"variable": "STRIPE_KEY", "name": "stripe-key", "action": "rotate", "version": 2},
            {"variable": "NEW", "name": "NEW", "action": "create", "version": 1},
            {"variable": "URL", "name": "URL", "action": "create", "version": 1},
        ])
    );
    assert_eq!(
        cli.run(&with(&["get", "NEW"])).expect(0).out,
        "hunter3\nhunter3"
    );
    let again = cli
        .run(&with(&["import", ".env", "--yes", "--only-new"]))
        .expect(0);
    assert!(again.out.contains("0 done"), "{}", again.out);

    for broken in [
        "A=1\nhunter2hunter2\n",
        "A='hunter2hunter2\n",
        "A=1\nA=hunter2hunter2\n",
    ] {
        let refused = cli
            .run_with(&with(&["import", "-", "--yes"]), broken)
            .expect(2);
        assert!(refused.err.contains("line "), "{}", refused.err);
        assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    }
    let clash = "STRIPE_KEY=1\nstripe-key=2\n";
    let _ = cli
        .run_with(&with(&["import", "-", "--yes"]), clash)
        .expect(2);
    let _ = cli.run(&with(&["import", "missing"])).expect(2);
    Ok(())
}

#[tokio::test]
async fn an_export_goes_into_no_file_that_others_can_read() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("files");
    let _ = cli
        .run_with(&["set", "a", "--project", &project], "value")
        .expect(0);
    for (mode, code) in [(0o644, 2), (0o640, 2), (0o600, 0)] {
        let path = cli.home().join(format!("{mode:o}"));
        let file = fs::File::create(&path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        let status = cli
            .command(&["export", "--project", &project])
            .stdout(file)
            .stderr(Stdio::null())
            .status()?;
        assert_eq!(status.code(), Some(code), "{mode:o}");
        let written = fs::read_to_string(&path)?;
        assert_eq!(written, if code == 0 { "A='value'\n" } else { "" });
    }
    // Names that would be one variable are no loss in JSON.
    let _ = cli
        .run_with(&["set", "A", "--project", &project], "other")
        .expect(0);
    let _ = cli.run(&["export", "--project", &project]).expect(2);
    let both = ["export", "--project", &project, "--format", "json"];
    assert_eq!(
        cli.run(&both).expect(0).json(),
        json!({"A": "other", "a": "value"})
    );
    Ok(())
}
