//! `pg-secrets login`: where a token comes from, where it is kept, and where it goes.

use pg_secrets_tests::{Cli, Proof, TestApp, project, ran};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

#[tokio::test]
async fn a_login_is_tried_kept_for_its_owner_alone_used_and_forgotten() -> Proof {
    let app = TestApp::shared().await;
    let cli = Cli::with("", None);
    let project = project("login");
    let list = ["list", "--project", &project];
    let before = cli.run(&list).expect(5);
    assert!(before.err.contains("pg-secrets login"), "{}", before.err);

    let url = app.companion.url();
    let wrong = cli.run_with(&["login", &url], "pgs_wrong").expect(5);
    assert!(!wrong.err.contains("pgs_wrong"), "{}", wrong.err);
    assert!(!cli.login_file().exists());

    // A line end behind the token is the pipe's.
    let login = cli.run_with(&["login", &url], format!("{}\n", app.token));
    let login = login.expect(0);
    assert!(!login.err.contains(&app.token) && login.out.is_empty());
    assert_eq!(mode(&cli.login_file()), 0o600);
    let folder = cli.login_file();
    assert_eq!(mode(folder.parent().expect("a folder")), 0o700);
    let _ = cli.run(&list).expect(0);

    // Written anew by rename, whatever it was before.
    fs::set_permissions(cli.login_file(), Permissions::from_mode(0o644))?;
    let seen = cli.run(&list).expect(1);
    assert!(seen.err.contains("revoke that token"), "{}", seen.err);
    let _ = cli.run_with(&["login", &url], &app.token).expect(0);
    assert_eq!(mode(&cli.login_file()), 0o600);
    let _ = cli.run(&list).expect(0);

    let _ = cli.run(&["logout"]).expect(0);
    assert!(!cli.login_file().exists());
    let _ = cli.run(&list).expect(5);
    let _ = cli.run(&["logout"]).expect(0);
    Ok(())
}

#[tokio::test]
async fn nobody_is_recorded_as_refused_because_somebody_logs_in() -> Proof {
    let app = TestApp::shared().await;
    let token = app
        .token_for("who logs in", &[], "no project", None)
        .await?;
    let cli = Cli::with("", None);
    let _ = cli
        .run_with(&["login", &app.companion.url()], &token)
        .expect(0);
    let records: i64 = app
        .sql()
        .await?
        .one(
            "SELECT count(*) FROM control_plane.audit_logs WHERE actor = 'who logs in'",
            &[],
        )
        .await?;
    assert_eq!(records, 0);
    Ok(())
}

#[tokio::test]
async fn the_environment_goes_before_the_login_and_a_kept_token_goes_to_its_own_server_alone()
-> Proof {
    let app = TestApp::shared().await;
    let url = app.companion.url();
    let cli = Cli::with("", None);
    let _ = cli.run_with(&["login", &url], &app.token).expect(0);
    let list = ["list", "--project", "p"];

    let other = "http://127.0.0.1:1";
    let elsewhere = ran(cli.command(&list).env("PG_SECRETS_URL", other), b"").expect(5);
    assert!(
        elsewhere.err.contains("goes nowhere else"),
        "{}",
        elsewhere.err
    );
    let both = [("PG_SECRETS_URL", other), ("PG_SECRETS_TOKEN", "pgs_other")];
    let _ = ran(cli.command(&list).envs(both), b"").expect(3);
    let token = [("PG_SECRETS_TOKEN", "pgs_other")];
    let _ = ran(cli.command(&list).envs(token), b"").expect(5);
    // The same server, and variables that are empty.
    let same = [("PG_SECRETS_URL", url.as_str()), ("PG_SECRETS_TOKEN", "")];
    let _ = ran(cli.command(&list).envs(same), b"").expect(0);
    Ok(())
}

#[tokio::test]
async fn a_token_is_not_sent_in_the_clear_and_never_an_argument() -> Proof {
    let cli = Cli::with("http://192.0.2.1", Some("pgs_token"));
    let refused = cli.run(&["list", "--project", "p"]).expect(2);
    assert!(refused.err.contains("--insecure-http"), "{}", refused.err);
    let refused = cli.run_with(&["login", "http://192.0.2.1"], "pgs_token");
    let _ = refused.expect(2);
    for arguments in [
        &["login", "http://127.0.0.1:1", "hunter2hunter2"][..],
        &["login", "http://127.0.0.1:1", "--token", "hunter2hunter2"],
        &["login", "http://127.0.0.1:1", "--token=hunter2hunter2"],
        &["login", "http://u:hunter2hunter2@127.0.0.1:1"],
        &["set", "--project", "p", "name", "hunter2hunter2"],
        &["set", "--project", "p", "name", "--value=hunter2hunter2"],
        &["rotate", "--project", "p", "name", "hunter2hunter2"],
    ] {
        let refused = cli.run_with(arguments, "x").expect(2);
        assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_and_one_that_is_no_companion_are_told_apart() -> Proof {
    let down = Cli::with("http://127.0.0.1:1", Some("pgs_token"));
    let down = down.run(&["list", "--project", "p"]).expect(3);
    assert_eq!(down.err.lines().count(), 1, "{}", down.err);
    assert!(down.err.contains("cannot be reached"), "{}", down.err);
    // No name of a project or secret, which stand in the address.
    assert!(!down.err.contains("project_id"), "{}", down.err);

    let app = TestApp::shared().await;
    let wrong = Cli::with(&app.companion.url(), Some("pgs_wrong"));
    let wrong = wrong.run(&["list", "--project", "p"]).expect(5);
    assert_eq!(wrong.err.lines().count(), 1, "{}", wrong.err);
    Ok(())
}
