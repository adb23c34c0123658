//! `pg-secrets run`: the project's values for a child process, and for nobody else.

use pg_secrets_tests::{Cli, Proof, Ran, TestApp, companion_binary, ended, project, ran};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

/// A project with these secrets.
async fn filled(app: &TestApp, secrets: &[(&str, &str)]) -> Proof<String> {
    let project = project("run");
    let sql = app.sql().await?;
    for (name, value) in secrets {
        sql.rows(
            "SELECT control_plane.create_secret($1, $2, $3)",
            &[&project, name, value],
        )
        .await?;
    }
    Ok(project)
}

fn run(cli: &Cli, project: &str, flags: &[&str], script: &str) -> Ran {
    let base = ["run", "--project", project];
    let command = ["--", "sh", "-c", script];
    cli.run(&[&base, flags, &command[..]].concat())
}

#[tokio::test]
async fn the_command_has_the_values_as_variables_and_no_token() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let secrets = [("stripe-key", "two\nlines '$x'"), ("db.password", "秘密")];
    let project = filled(app, &secrets).await?;
    let script = r#"printf '%s|%s|%s|%s' "$STRIPE_KEY" "$DB_PASSWORD" "${PG_SECRETS_TOKEN-none}" "${PG_SECRETS_URL-none}""#;
    let shown = run(&cli, &project, &[], script).expect(0);
    assert_eq!(shown.out, "two\nlines '$x'|秘密|none|none");
    let kept = run(&cli, &project, &["--keep-token"], script).expect(0);
    assert!(kept.out.contains(&app.token));
    let flags = ["--only", "stripe-key", "--prefix", "APP_"];
    let shown = run(
        &cli,
        &project,
        &flags,
        "env | grep -c _KEY; echo \"$APP_STRIPE_KEY\"",
    );
    assert_eq!(shown.expect(0).out, "1\ntwo\nlines '$x'\n");
    // Input, output and the environment that was there are the command's.
    let base = [
        "run",
        "--project",
        &project,
        "--",
        "sh",
        "-c",
        "cat; echo $HOME >&2",
    ];
    let through = cli.run_with(&base, "input").expect(0);
    assert_eq!(through.out, "input");
    assert_eq!(through.err.trim(), cli.home().display().to_string());
    Ok(())
}

#[tokio::test]
async fn the_exit_code_is_the_commands() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = filled(app, &[("a", "value")]).await?;
    for watch in [&[][..], &["--watch"]] {
        let _ = run(&cli, &project, watch, "exit 42").expect(42);
        let base = ["run", "--project", &project];
        let missing = [&base, watch, &["--", "/no/such/program"]].concat();
        let missing = cli.run(&missing).expect(127);
        assert_eq!(missing.err.lines().count(), 1, "{}", missing.err);
        let _ = cli
            .run(&[&base, watch, &["--", "/etc/passwd"]].concat())
            .expect(126);
    }
    // Ended by a signal: the shell's way to say so, where the process is not the command itself.
    let _ = run(&cli, &project, &["--watch"], "kill -TERM $$").expect(143);
    let wrong = Cli::with(&app.companion.url(), Some("pgs_wrong"));
    let _ = run(&wrong, &project, &[], "echo ran").expect(5);
    let down = Cli::with("http://127.0.0.1:1", Some("pgs_x"));
    let _ = run(&down, &project, &[], "echo ran").expect(3);
    let none = run(&cli, "no such project", &[], "echo ran").expect(4);
    assert!(none.out.is_empty());
    let missing = run(&cli, &project, &["--only", "a", "--only", "b"], "echo ran").expect(4);
    assert!(missing.err.contains("Not there: b"), "{}", missing.err);
    Ok(())
}

#[tokio::test]
async fn names_that_clash_or_command_the_program_are_refused() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let clash = filled(app, &[("a-b", "one"), ("a_b", "two")]).await?;
    let refused = run(&cli, &clash, &[], "echo ran").expect(2);
    assert!(
        refused.err.contains("A_B") && refused.out.is_empty(),
        "{refused:?}"
    );
    let script = "printf '%s %s' \"$A_B\" \"$OTHER\"";
    let mapped = run(&cli, &clash, &["--map", "a-b=OTHER"], script).expect(0);
    assert_eq!(mapped.out, "two one");

    for name in [
        "path",
        "ld-preload",
        "bash_env",
        "node-options",
        "https_proxy",
    ] {
        let project = filled(app, &[(name, "evil")]).await?;
        let refused = run(&cli, &project, &[], "echo ran").expect(2);
        assert!(
            refused.out.is_empty() && refused.err.contains("--allow"),
            "{refused:?}"
        );
        assert!(!refused.err.contains("evil"), "{refused:?}");
    }
    let project = filled(app, &[("https_proxy", "allowed")]).await?;
    let allowed = run(
        &cli,
        &project,
        &["--allow", "HTTPS_PROXY"],
        "echo $HTTPS_PROXY",
    );
    assert_eq!(allowed.expect(0).out, "allowed\n");
    Ok(())
}

#[tokio::test]
async fn signals_reach_the_command() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = filled(app, &[("a", "value")]).await?;
    for watch in [&[][..], &["--watch"]] {
        for (signal, code) in [("TERM", 11), ("INT", 12), ("USR1", 13), ("HUP", 14)] {
            // Not in the shell's own wait: it looks at signals between the steps.
            let script = "trap 'exit 11' TERM; trap 'exit 12' INT; trap 'exit 13' USR1; trap 'exit 14' HUP; echo ready >ready; while :; do sleep 0.05; done";
            let base = ["run", "--project", &project];
            let arguments = [&base, watch, &["--", "sh", "-c", script]].concat();
            let mut child = cli.command(&arguments).spawn()?;
            let ready = cli.home().join("ready");
            pg_secrets_tests::eventually("the command", || async { ready.exists().then_some(()) })
                .await;
            std::fs::remove_file(&ready)?;
            let pid = child.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-s", signal, &pid])
                    .status()?
                    .success()
            );
            assert_eq!(ended(&mut child), Some(code), "{signal} {watch:?}");
        }
    }
    Ok(())
}

/// Runs as one ordinary user, looked for by another. The tests of somebody who is not root cannot
/// change users, and look at who may.
#[tokio::test]
async fn nobody_else_sees_the_values() -> Proof {
    let app = TestApp::shared().await;
    let value = "Zq7Xk2Vb9Wm4Rt6Y";
    let project = filled(app, &[("a", value)]).await?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    // Where every user can run it.
    let binary = folder.path().join("pg-secrets");
    std::fs::copy(companion_binary(), &binary)?;
    let root = std::fs::metadata("/proc/self")?.uid() == 0;
    let as_user = |user: &str, program: &std::path::Path| {
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", "nogroup", "--clear-groups"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    for watch in [&[][..], &["--watch"]] {
        let script = "echo $$ >pid.new; mv pid.new pid; printf %s \"$A\" >got; sleep 60; :";
        let base = ["run", "--project", &project];
        let mut child = as_user("nobody", &binary)
            .args([&base, watch, &["--", "sh", "-c", script]].concat())
            .env("PG_SECRETS_URL", app.companion.url())
            .env("PG_SECRETS_TOKEN", &app.token)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()?;
        let got = folder.path().join("got");
        pg_secrets_tests::eventually("the command", || async {
            (std::fs::read_to_string(&got).ok()? == value).then_some(())
        })
        .await;
        std::fs::remove_file(&got)?;
        let pid = std::fs::read_to_string(folder.path().join("pid"))?;
        for pid in [pid.trim(), &child.id().to_string()] {
            let environ = format!("/proc/{pid}/environ");
            assert_eq!(std::fs::metadata(&environ)?.mode() & 0o777, 0o400);
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline"))?;
            let arguments = String::from_utf8_lossy(&arguments).into_owned();
            assert!(!arguments.contains(value) && !arguments.contains(&app.token));
            if root {
                let look = ran(
                    as_user("games", std::path::Path::new("cat")).arg(&environ),
                    b"",
                );
                assert!(look.code != 0 && look.out.is_empty(), "{look:?}");
            }
        }
        let ps = ran(
            as_user("games", std::path::Path::new("ps")).args(["axeww"]),
            b"",
        )
        .expect(0);
        assert!(ps.out.contains("sleep 60"), "{}", ps.out);
        if root {
            assert!(!ps.out.contains(value) && !ps.out.contains(&app.token));
        }
        child.kill()?;
        child.wait()?;
        let _ = ran(Command::new("kill").arg(pid.trim()), b"");
    }
    Ok(())
}
