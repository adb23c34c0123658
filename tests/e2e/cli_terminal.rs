//! The command line before a person: prompts that show nothing, colour, and what is not shown at all.

use pg_secrets_tests::{Cli, Proof, Terminal, TestApp, project};

#[tokio::test]
async fn a_typed_token_and_a_typed_value_are_not_seen() -> Proof {
    let app = TestApp::shared().await;
    let project = project("terminal");
    let cli = Cli::with("", None);
    let mut login = Terminal::start(&cli, &["login", &app.companion.url()], &[]);
    login.wait_for("Token (not shown): ");
    login.keys(&format!("{}\r", app.token));
    let (code, seen) = login.end();
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains(&app.token), "{seen}");

    let mut set = Terminal::start(&cli, &["set", "name", "--project", &project], &[]);
    set.wait_for("Value (not shown): ");
    // A mistake, and all of it anew.
    set.keys("wrong\u{15}hunter2x\u{7f}ü\u{7f}\r");
    let (code, seen) = set.end();
    assert_eq!(code, 0, "{seen}");
    assert!(
        !seen.contains("hunter") && !seen.contains("wrong"),
        "{seen}"
    );
    let got = cli.run(&["get", "name", "--project", &project]).expect(0);
    assert_eq!(got.out, "hunter2");
    Ok(())
}

#[tokio::test]
async fn who_gives_up_changes_nothing_and_several_lines_are_not_taken_for_one() -> Proof {
    let app = TestApp::shared().await;
    let project = project("terminal");
    let cli = Cli::of(app);
    let set = ["set", "name", "--project", &project];
    for keys in ["half\u{3}", "half\u{4}", "first\rsecond\rthird\r"] {
        let mut terminal = Terminal::start(&cli, &set, &[]);
        terminal.wait_for("Value (not shown): ");
        terminal.keys(keys);
        let (code, seen) = terminal.end();
        assert_eq!(code, 2, "{seen}");
        for part in ["half", "first", "second", "third"] {
            assert!(!seen.contains(part), "{seen}");
        }
    }
    let _ = cli.run(&["get", "name", "--project", &project]).expect(4);
    Ok(())
}

#[tokio::test]
async fn a_value_ends_in_a_line_end_on_a_terminal_and_tables_have_colour() -> Proof {
    let app = TestApp::shared().await;
    let project = project("terminal");
    let cli = Cli::of(app);
    let _ = cli
        .run_with(&["set", "name", "--project", &project], "value")
        .expect(0);
    let get = ["get", "name", "--project", &project];
    assert_eq!(
        Terminal::start(&cli, &get, &[]).end(),
        (0, "value\r\n".to_owned())
    );
    assert_eq!(cli.run(&get).expect(0).out, "value");

    let history = ["history", "name", "--project", &project];
    let (_, seen) = Terminal::start(&cli, &history, &[]).end();
    assert!(seen.contains("\u{1b}[32mactive\u{1b}[0m"), "{seen}");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (_, seen) = Terminal::start(&cli, &history, &[plain]).end();
        assert!(
            seen.contains("active") && !seen.contains('\u{1b}'),
            "{seen}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_export_to_a_terminal_is_asked_for_twice() -> Proof {
    let app = TestApp::shared().await;
    let project = project("terminal");
    let cli = Cli::of(app);
    let _ = cli
        .run_with(&["set", "name", "--project", &project], "hunter2")
        .expect(0);
    let export = ["export", "--project", &project];
    let (code, seen) = Terminal::start(&cli, &export, &[]).end();
    assert_eq!(code, 2, "{seen}");
    assert!(
        !seen.contains("hunter2") && seen.contains("--to-terminal"),
        "{seen}"
    );

    let export = ["export", "--project", &project, "--to-terminal"];
    for (answer, code) in [("no\r", 2), ("\r", 2), ("yes\r", 0)] {
        let mut terminal = Terminal::start(&cli, &export, &[]);
        terminal.wait_for("Type yes to go on: ");
        assert!(!terminal.screen().contains("hunter2"));
        terminal.keys(answer);
        let (ended, seen) = terminal.end();
        assert_eq!(ended, code, "{seen}");
        assert_eq!(seen.contains("NAME='hunter2'"), code == 0, "{seen}");
    }
    Ok(())
}

#[tokio::test]
async fn an_import_asks_and_does_what_is_said() -> Proof {
    let app = TestApp::shared().await;
    let project = project("terminal");
    let cli = Cli::of(app);
    std::fs::write(cli.home().join(".env"), "A=hunter2\n")?;
    for (answer, found) in [("no\r", 4), ("yes\r", 0)] {
        let import = ["import", ".env", "--project", &project];
        let mut terminal = Terminal::start(&cli, &import, &[]);
        terminal.wait_for("Type yes to go on: ");
        assert!(terminal.screen().contains("create"));
        terminal.keys(answer);
        let (_, seen) = terminal.end();
        assert!(!seen.contains("hunter2"), "{seen}");
        let _ = cli.run(&["get", "A", "--project", &project]).expect(found);
    }
    Ok(())
}
