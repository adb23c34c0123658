//! `pg-secrets run --watch`: a command that is started anew when what it was started with is rotated.

use pg_secrets_tests::{Cli, Proof, Session, TestApp, ended, eventually, project};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Writes down its start with the value, and its end by SIGTERM.
const SCRIPT: &str = r#"trap 'echo "end $A" >>log; exit 0' TERM; echo "start $A" >>log; while :; do sleep 0.05; done"#;

async fn create(sql: &Session, project: &str, name: &str) -> Proof {
    sql.rows(
        "SELECT control_plane.create_secret($1, $2, 'one')",
        &[&project, &name],
    )
    .await?;
    Ok(())
}

async fn rotate(sql: &Session, project: &str, name: &str, value: &str) -> Proof {
    sql.rows(
        "SELECT control_plane.rotate_secret(control_plane.secret_id($1, $2), $3)",
        &[&project, &name, &value],
    )
    .await?;
    Ok(())
}

async fn reads(sql: &Session, project: &str) -> Proof<i64> {
    let reads = sql
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE project_id = $1 AND action = 'secret.accessed'",
            &[&project],
        )
        .await?;
    Ok(reads)
}

fn start(cli: &Cli, project: &str, flags: &[&str], script: &str) -> Proof<Child> {
    let base = [
        "run",
        "--project",
        project,
        "--watch",
        "--interval",
        "100ms",
    ];
    let arguments = [&base, flags, &["--", "sh", "-c", script]].concat();
    let noted = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(cli.home().join("noted"))?;
    Ok(cli.command(&arguments).stderr(Stdio::from(noted)).spawn()?)
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

async fn until(cli: &Cli, file: &str, text: &str) {
    eventually(text, || async {
        read(cli.home(), file).contains(text).then_some(())
    })
    .await;
}

async fn end(mut child: Child) -> Proof<Option<i32>> {
    let pid = child.id().to_string();
    std::process::Command::new("kill").arg(&pid).status()?;
    Ok(ended(&mut child))
}

#[tokio::test]
async fn a_rotation_ends_the_command_gracefully_and_starts_it_with_the_new_value() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let cli = Cli::of(app);
    let project = project("watch");
    create(&sql, &project, "a").await?;
    create(&sql, &project, "b").await?;
    let child = start(&cli, &project, &["--only", "a"], SCRIPT)?;
    until(&cli, "log", "start one").await;
    // Another secret of the project, which the command has nothing of.
    rotate(&sql, &project, "b", "other").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(read(cli.home(), "log"), "start one\n");

    // Looking reads nothing.
    assert_eq!(reads(&sql, &project).await?, 1);
    rotate(&sql, &project, "a", "two").await?;
    until(&cli, "log", "start two").await;
    assert_eq!(read(cli.home(), "log"), "start one\nend one\nstart two\n");
    assert_eq!(reads(&sql, &project).await?, 2);
    let noted = read(cli.home(), "noted");
    assert!(
        noted.contains("restarting the command: a changed"),
        "{noted}"
    );
    assert!(!noted.contains("two"), "{noted}");

    assert_eq!(end(child).await?, Some(0));
    assert_eq!(
        read(cli.home(), "log"),
        "start one\nend one\nstart two\nend two\n"
    );
    Ok(())
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_in_the_end() -> Proof {
    let app = TestApp::shared().await;
    let sql = app.sql().await?;
    let cli = Cli::of(app);
    let project = project("watch");
    create(&sql, &project, "a").await?;
    let deaf = r#"trap '' TERM; echo "start $A" >>log; while :; do sleep 0.05; done"#;
    let mut child = start(&cli, &project, &["--stop-timeout", "300ms"], deaf)?;
    until(&cli, "log", "start one").await;
    rotate(&sql, &project, "a", "two").await?;
    until(&cli, "log", "start two").await;
    assert!(read(cli.home(), "noted").contains("is killed"));
    // Told to end, this one waits for as long as the command takes.
    std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status()?;
    rotate(&sql, &project, "a", "three").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(child.try_wait()?.is_none());
    assert!(!read(cli.home(), "log").contains("three"));
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let of_it = std::fs::read_to_string(children)?;
    std::process::Command::new("kill")
        .args(["-KILL", of_it.trim()])
        .status()?;
    assert_eq!(ended(&mut child), Some(137));
    Ok(())
}

#[tokio::test]
async fn a_companion_that_is_down_leaves_the_command_running() -> Proof {
    let mut app = TestApp::start("fsync = off").await;
    let sql = app.sql().await?;
    let cli = Cli::of(&app);
    create(&sql, "p", "a").await?;
    let child = start(&cli, "p", &[], SCRIPT)?;
    until(&cli, "log", "start one").await;
    app.kill_companion();
    until(&cli, "noted", "goes on with what it has").await;
    rotate(&sql, "p", "a", "two").await?;
    assert_eq!(read(cli.home(), "log"), "start one\n");
    app.resume_companion();
    until(&cli, "log", "start two").await;
    // Said once, however often it was tried.
    let noted = read(cli.home(), "noted");
    assert_eq!(noted.matches("goes on with").count(), 1, "{noted}");
    // New secrets that cannot be variables are no reason to stop what runs.
    create(&sql, "p", "path").await?;
    until(&cli, "noted", "--allow PATH").await;
    assert!(!read(cli.home(), "log").contains("end two"));
    assert_eq!(end(child).await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn who_may_not_look_hears_of_it_before_the_command_starts() -> Proof {
    let app = TestApp::shared().await;
    let project = project("watch");
    create(&app.sql().await?, &project, "a").await?;
    let token = app
        .token_for("cli-reader", &["read"], &project, None)
        .await?;
    let cli = Cli::with(&app.companion.url(), Some(&token));
    let run = ["run", "--project", &project];
    let _ = cli.run(&[&run, &["--", "true"][..]].concat()).expect(0);
    let watch = [&run, &["--watch", "--", "touch", "ran"][..]].concat();
    let refused = cli.run(&watch).expect(5);
    assert!(refused.err.contains("permission list"), "{}", refused.err);
    assert!(!cli.home().join("ran").exists());
    Ok(())
}
