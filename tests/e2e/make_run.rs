//! `make run`: what it promises to whoever sits before it.

use crate::clone::Clone;
use pg_secrets_tests::Proof;
use std::os::unix::fs::PermissionsExt;

const STATUS: &str = r#"curl --silent --output /dev/null --write-out '%{http_code}' \
    --header "Authorization: Bearer $PG_SECRETS_TOKEN" "$PG_SECRETS_URL/api/secrets?project_id=p""#;

const VALUE: &str = "psql --tuples-only --no-align --command \"SELECT value FROM control_plane.get_secret_by_name('p', 'n')\"";

#[test]
fn what_it_starts_keeps_its_data_and_its_token_over_stops_and_kills() -> Proof {
    let mut clone = Clone::new();
    clone.start();
    let env = clone.path().join(".local/env");
    assert_eq!(std::fs::metadata(&env)?.permissions().mode() & 0o777, 0o600);
    let settings = std::fs::read_to_string(&env)?;
    clone.answer("psql --quiet --command \"SELECT control_plane.create_secret('p', 'n', 'kept')\"");
    assert_eq!(clone.answer(STATUS), "200");
    assert!(
        clone
            .answer("cat \"$PG_SECRETS_KEY_FILE\"")
            .starts_with("-----BEGIN PGP PRIVATE KEY")
    );
    clone.answer("test -s \"$PG_SECRETS_LOG\" && test -d \"$PG_SECRETS_DATA/base\"");
    // The companion's login has nothing of its own.
    let login = "psql \"$DATABASE_URL\" --command 'SELECT FROM control_plane.secrets'";
    let refused = clone.shell(login).output()?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("permission denied"));

    let (code, said) = clone.start_again();
    assert_eq!(code, Some(1));
    assert!(said.contains("runs already"), "{said}");
    assert_eq!(clone.answer(STATUS), "200");

    assert_eq!(clone.end("TERM"), Some(0), "{}", clone.said());
    let stopped = clone.shell("psql --command 'SELECT 1'").output()?;
    assert!(!stopped.status.success(), "the server still runs");
    clone.start();
    assert_eq!(clone.answer(VALUE), "kept");
    // As Ctrl-C does.
    assert_eq!(clone.end("INT"), Some(0), "{}", clone.said());
    clone.start();
    assert_eq!(clone.answer(VALUE), "kept");

    // Nothing could be tidied up: the next start does it.
    assert_eq!(clone.end("KILL"), None);
    clone.start();
    assert_eq!(clone.answer(VALUE), "kept");
    assert_eq!(clone.answer(STATUS), "200");
    let token = |text: &str| {
        let mut lines = text.lines().map(str::to_owned);
        lines.find(|line| line.contains("PG_SECRETS_TOKEN"))
    };
    assert_eq!(token(&std::fs::read_to_string(&env)?), token(&settings));
    let companions = clone.answer("cat .local/companion.pid");
    assert!(std::path::Path::new(&format!("/proc/{companions}")).exists());
    Ok(())
}
