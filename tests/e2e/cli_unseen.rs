//! No value and no token in what the command line says, whatever it is asked to log.

use pg_secrets_tests::{Canaries, Cli, Proof, TestApp, project, ran};

#[tokio::test]
async fn nothing_of_a_value_is_said_whatever_is_logged() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("unseen");
    let canaries = Canaries::default();
    let of = ["--project", project.as_str()];
    let mut said = Vec::new();
    let mut call = |arguments: &[&str], input: &str| {
        let mut command = cli.command(&[arguments, &of[..]].concat());
        command
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full");
        let ran = ran(&mut command, input.as_bytes());
        said.extend_from_slice(ran.err.as_bytes());
        if !matches!(arguments[0], "get" | "export" | "run") {
            said.extend_from_slice(ran.out.as_bytes());
        }
        ran
    };
    let _ = call(&["set", "a"], &canaries.fresh("set")).expect(0);
    let _ = call(&["set", "a"], &canaries.fresh("set again")).expect(0);
    let _ = call(&["rotate", "a"], &canaries.fresh("rotate")).expect(0);
    let _ = call(&["set", "a"], &canaries.fresh("too long").repeat(9000)).expect(1);
    let _ = call(&["set", ".."], &canaries.fresh("no name")).expect(1);
    let _ = call(&["rotate", "b"], &canaries.fresh("no secret")).expect(4);
    let _ = call(&["rollback", "a", "--to", "1"], "").expect(0);
    let _ = call(&["get", "a"], "").expect(0);
    let _ = call(&["get", "a", "--json"], "").expect(0);
    let _ = call(&["history", "a"], "").expect(0);
    let _ = call(&["blast-radius", "a"], "").expect(0);
    let _ = call(&["list"], "").expect(0);
    let _ = call(&["export"], "").expect(0);
    let file = format!(
        "B={}\nC='{}'\n",
        canaries.fresh("bare"),
        canaries.fresh("quoted")
    );
    let _ = call(&["import", "-", "--yes"], &file).expect(0);
    let broken = format!(
        "B={}\n{}\n",
        canaries.fresh("before"),
        canaries.fresh("broken")
    );
    let _ = call(&["import", "-", "--yes"], &broken).expect(2);
    let run = ["run", "--project", &project, "--", "true"];
    let run = ran(cli.command(&run).env("RUST_LOG", "trace"), b"").expect(0);
    said.extend_from_slice(run.err.as_bytes());
    let found = canaries.finder().find("what was said", &said);
    assert!(found.is_empty(), "{found:#?}");
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains(&app.token), "the token was said");
    assert!(said.contains("pg-secrets:"), "nothing was said: {said}");
    Ok(())
}

#[tokio::test]
async fn the_process_that_holds_a_value_shows_it_to_nobody_and_leaves_no_core() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::of(app);
    let project = project("unseen");
    let mut child = cli
        .command(&["set", "a", "--project", &project])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    // It waits for the rest of its input with the first part in memory.
    use std::io::Write;
    child
        .stdin
        .as_mut()
        .expect("a pipe")
        .write_all(b"hunter2hunter2")?;
    let limits = format!("/proc/{}/limits", child.id());
    pg_secrets_tests::eventually("no core", || async {
        let limits = std::fs::read_to_string(&limits).ok()?;
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))?;
        // Soft and hard.
        core.contains(" 0                    0 ").then_some(())
    })
    .await;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", child.id()))?;
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    assert!(arguments.contains("set") && !arguments.contains("hunter2"));
    assert!(!arguments.contains(&app.token));
    child.stdin.take();
    assert!(child.wait()?.success());
    Ok(())
}
