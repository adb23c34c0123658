//! Every way in which a parameter can hold a value. `{}` is one.

/// With parameters of their own, as a driver sends them; all are texts on the wire. Each is what it is,
/// the statement, its parameters, and whether it succeeds.
pub(crate) const EXTENDED: &[(&str, &str, &[&str], bool)] = &[
    (
        "bound: create",
        "SELECT control_plane.create_secret('p', 'bound', $1)",
        &["{}"],
        true,
    ),
    (
        "bound: create again",
        "SELECT control_plane.create_secret('p', 'bound', $1)",
        &["{}"],
        false,
    ),
    (
        "bound: a literal beside",
        "SELECT control_plane.pgp_encrypt('{}' || $1)",
        &["{}"],
        true,
    ),
    (
        "bound: swapped",
        "SELECT control_plane.rotate_secret($1, $2)",
        &["{}", "{}"],
        false,
    ),
    (
        "bound: a cast",
        "SELECT control_plane.rotate_secret($1::text::uuid, 'x')",
        &["{}"],
        false,
    ),
    (
        "bound: an error",
        "SELECT control_plane.pgp_encrypt($1), 1 / $2::int",
        &["{}", "0"],
        false,
    ),
    (
        "bound: a view",
        "SELECT * FROM app.seen WHERE value <> $1",
        &["{}"],
        true,
    ),
    ("bound: a wrapper", "SELECT app.wrap($1)", &["{}"], true),
    (
        "bound: a wrapper that fails",
        "SELECT app.wrap($1), 1 / $2::int",
        &["{}", "0"],
        false,
    ),
    (
        "bound: misspelt",
        "SELECT control_plane.get_secretz($1, '{}')",
        &["{}"],
        false,
    ),
    (
        "bound: a syntax error",
        "SELECT control_plane.pgp_encrypt($1, '{}'",
        &["{}"],
        false,
    ),
    (
        "bound: too many",
        "SELECT control_plane.pgp_encrypt($1)",
        &["{}", "{}"],
        false,
    ),
    (
        "bound: a trigger",
        "INSERT INTO app.letters VALUES ($1)",
        &["{}"],
        true,
    ),
];
