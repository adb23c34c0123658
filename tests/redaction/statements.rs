//! Every way in which a statement can hold a value. `{}` is one.

/// What it is, its text, and with which SQLSTATE it ends: empty where it succeeds.
pub(crate) type Line = (&'static str, &'static str, &'static str);

/// As text, one after the other in one session.
pub(crate) const SIMPLE: &[Line] = &[
    (
        "create",
        "SELECT control_plane.create_secret('p', 'seen', '{}')",
        "",
    ),
    (
        "create in a comment",
        "SELECT control_plane.secret_id('p', 'seen') /* {} */ -- {}",
        "",
    ),
    (
        "create again",
        "SELECT control_plane.create_secret('p', 'seen', '{}')",
        "PT409",
    ),
    (
        "rotate",
        "SELECT control_plane.rotate_secret(control_plane.secret_id('p', 'seen'), '{}', 'why')",
        "",
    ),
    (
        "read",
        "SELECT * FROM control_plane.get_secret_by_name('p', 'seen')",
        "",
    ),
    (
        "read many",
        "SELECT * FROM control_plane.get_secrets('p')",
        "",
    ),
    (
        "read a view",
        "SELECT * FROM app.seen WHERE value <> '{}'",
        "",
    ),
    ("encrypt", "SELECT control_plane.pgp_encrypt('{}')", ""),
    (
        "encrypt and decrypt",
        "SELECT control_plane.pgp_decrypt(control_plane.pgp_encrypt('{}'))",
        "",
    ),
    (
        "a password",
        "SELECT control_plane.pgp_decrypt('\\x00', '{}')",
        "PT422",
    ),
    (
        "a wrong token",
        "SELECT control_plane.authenticate('{}')",
        "PT403",
    ),
    (
        "an escaped literal",
        "SELECT control_plane.pgp_encrypt(E'{}\\'{}')",
        "",
    ),
    (
        "a dollar-quoted literal",
        "SELECT control_plane.pgp_encrypt($v${}$v$)",
        "",
    ),
    (
        "a literal in pieces",
        "SELECT control_plane.pgp_encrypt('{}'\n '{}')",
        "",
    ),
    (
        "a Unicode literal",
        "SELECT control_plane.pgp_encrypt(U&'{}')",
        "",
    ),
    (
        "a second statement",
        "SELECT 1; SELECT control_plane.pgp_encrypt('{}'); SELECT 2",
        "",
    ),
    (
        "an error behind it",
        "SELECT control_plane.pgp_encrypt('{}'); SELECT 1 / 0",
        "22012",
    ),
    (
        "an error in it",
        "SELECT control_plane.pgp_encrypt('{}'), 1 / (random() * 0)::int",
        "22012",
    ),
    (
        "explain",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT control_plane.pgp_encrypt('{}')",
        "",
    ),
    (
        "copy",
        "COPY (SELECT control_plane.pgp_encrypt('{}')) TO '/dev/null'",
        "",
    ),
    (
        "do",
        "DO $$ BEGIN PERFORM control_plane.pgp_encrypt('{}'); END $$",
        "",
    ),
    (
        "do with a variable",
        "DO $$ DECLARE v text := '{}'; BEGIN PERFORM control_plane.pgp_encrypt(v); RAISE LOG 'is %', v; END $$",
        "",
    ),
    (
        "do with an error",
        "DO $$ DECLARE v text := '{}'; BEGIN PERFORM control_plane.pgp_encrypt(v); RAISE EXCEPTION 'is %', v; END $$",
        "P0001",
    ),
    (
        "do with dynamic SQL",
        "DO $$ BEGIN EXECUTE format('SELECT control_plane.pgp_encrypt(%L) / 0', '{}'); END $$",
        "42883",
    ),
    (
        "prepare with a literal",
        "PREPARE held AS SELECT control_plane.pgp_encrypt('{}' || $1::text)",
        "",
    ),
    ("execute", "EXECUTE held('{}')", ""),
    (
        "explain execute",
        "EXPLAIN (ANALYZE, VERBOSE) EXECUTE held('{}')",
        "",
    ),
    (
        "execute with an error",
        "EXECUTE held('{}' || 1 / 0)",
        "22012",
    ),
    ("execute with too many", "EXECUTE held('{}', '{}')", "42601"),
    ("execute behind another", "SELECT 1; EXECUTE held('{}')", ""),
    (
        "execute a quoted name",
        "PREPARE \"My held\" (text) AS SELECT control_plane.pgp_encrypt($1); EXECUTE \"My held\"('{}')",
        "",
    ),
    (
        "prepare a rotation",
        "PREPARE turned(uuid, text) AS SELECT control_plane.rotate_secret($1, $2)",
        "",
    ),
    ("execute swapped", "EXECUTE turned('{}', 'x')", "22P02"),
    (
        "prepare a view",
        "PREPARE viewed(text) AS SELECT * FROM app.seen WHERE value <> $1",
        "",
    ),
    ("execute a view", "EXECUTE viewed('{}')", ""),
    ("begin", "BEGIN", ""),
    ("fail", "SELECT 1 / 0", "22012"),
    (
        "execute in a failed transaction",
        "EXECUTE held('{}')",
        "25P02",
    ),
    (
        "execute a view in a failed transaction",
        "EXECUTE viewed('{}')",
        "25P02",
    ),
    (
        "a call in a failed transaction",
        "SELECT control_plane.pgp_encrypt('{}')",
        "25P02",
    ),
    (
        "a syntax error in a failed transaction",
        "SELECT control_plane.pgp_encrypt('{}'",
        "42601",
    ),
    ("rollback", "ROLLBACK", ""),
    (
        "a cursor",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT control_plane.pgp_encrypt('{}'); COMMIT",
        "",
    ),
    ("fetch", "FETCH ALL FROM c", ""),
    (
        "create table as execute",
        "CREATE TEMP TABLE made AS EXECUTE held('{}')",
        "",
    ),
    ("a wrapper", "SELECT app.wrap('{}')", ""),
    (
        "a wrapper that fails",
        "SELECT app.wrap('{}'), 1 / (random() * 0)::int",
        "22012",
    ),
    (
        "a wrapper with a wrong argument",
        "SELECT app.wrap(lower('{}'), 1)",
        "42883",
    ),
    ("a procedure", "CALL app.store('{}')", ""),
    ("a trigger", "INSERT INTO app.letters VALUES ('{}')", ""),
    (
        "swapped: rotate",
        "SELECT control_plane.rotate_secret('{}', 'x')",
        "22P02",
    ),
    (
        "swapped: read",
        "SELECT control_plane.get_secret('{}')",
        "22P02",
    ),
    (
        "swapped: versions",
        "SELECT control_plane.secret_versions('{}')",
        "22P02",
    ),
    (
        "swapped: delete",
        "SELECT control_plane.delete_secret('{}')",
        "22P02",
    ),
    (
        "swapped: restore",
        "SELECT control_plane.restore_secret('{}')",
        "22P02",
    ),
    (
        "swapped: purge",
        "SELECT control_plane.purge_secret('{}')",
        "22P02",
    ),
    (
        "swapped: roll back",
        "SELECT control_plane.rollback_secret('{}', 1)",
        "22P02",
    ),
    (
        "swapped: extend",
        "SELECT control_plane.extend_grace('{}', '1h')",
        "22P02",
    ),
    (
        "swapped: an interval",
        "SELECT control_plane.extend_grace(control_plane.secret_id('p', 'seen'), '{}')",
        "22007",
    ),
    (
        "swapped: end",
        "SELECT control_plane.end_grace('{}')",
        "22P02",
    ),
    (
        "swapped: register",
        "SELECT control_plane.register_consumer('{}', 's')",
        "22P02",
    ),
    (
        "swapped: unregister",
        "SELECT control_plane.unregister_consumer('{}', 's')",
        "22P02",
    ),
    (
        "swapped: revoke",
        "SELECT control_plane.revoke_token('{}')",
        "22P02",
    ),
    (
        "swapped: a number",
        "SELECT control_plane.get_secret_by_name('p', 'seen', '{}')",
        "22P02",
    ),
    (
        "swapped: a message",
        "SELECT control_plane.pgp_decrypt('\\x{}')",
        "22023",
    ),
    (
        "a wrong column",
        "SELECT control_plane.pgp_encrypt({})",
        "42703",
    ),
    (
        "a quoted column",
        "SELECT control_plane.pgp_encrypt(\"{}\")",
        "42703",
    ),
    (
        "a wrong type",
        "SELECT control_plane.pgp_encrypt('{}'::int::text)",
        "22P02",
    ),
    (
        "a null",
        "SELECT control_plane.create_secret(NULL, 'n', '{}')",
        "PT400",
    ),
    (
        "a constraint",
        "INSERT INTO control_plane.secrets (id, project_id, name, value_encrypted, version) VALUES (gen_random_uuid(), 'p', '{}', '{}', NULL)",
        "23502",
    ),
    (
        "a syntax error",
        "SELECT control_plane.create_secret('p', 'n', '{}'",
        "42601",
    ),
    (
        "an open quote",
        "SELECT control_plane.create_secret('p', 'n', '{}",
        "42601",
    ),
    (
        "a misspelt function",
        "SELECT control_plane.get_secretz('{}')",
        "42883",
    ),
    (
        "a misspelt schema",
        "SELECT control_plan.create_secret('p', 'n', '{}')",
        "3F000",
    ),
    (
        "a search path",
        "SET search_path = control_plane, public",
        "",
    ),
    ("by search path", "SELECT pgp_encrypt('{}')", ""),
    (
        "misspelt by search path",
        "SELECT creat_secret('p', 'n', '{}')",
        "42883",
    ),
    (
        "misspelt by search path, otherwise",
        "SELECT rotate_secrte('{}')",
        "42883",
    ),
    ("no search path", "RESET search_path", ""),
    ("time out", "SET statement_timeout = '100ms'", ""),
    (
        "a cancelled statement",
        "SELECT control_plane.pgp_encrypt('{}'), pg_sleep(30)",
        "57014",
    ),
    (
        "a cancelled execute",
        "PREPARE slow(text) AS SELECT control_plane.pgp_encrypt($1), pg_sleep(30); EXECUTE slow('{}')",
        "57014",
    ),
    ("no time out", "RESET statement_timeout", ""),
    (
        "a memory report",
        "SELECT pg_log_backend_memory_contexts(pg_backend_pid())",
        "",
    ),
];
