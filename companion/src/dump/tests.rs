use super::*;

const HEADER: &str = "COPY control_plane.secrets (id, chain_id, project_id, name, value_encrypted, version, active, rotated_from, rotation_reason, created_by, created_at, superseded_at, expires_at, warned_at, destroyed_at, deleted_at, purge_at, key_fingerprint) FROM stdin;\n";

fn id(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

/// A row as pg_dump writes it; `ends` are destroyed_at and deleted_at.
fn row(number: u8, name: &str, message: &str, active: &str, ends: [&str; 2]) -> String {
    let id = id(number);
    let [destroyed_at, deleted_at] = ends;
    format!(
        "{id}\t{id}\tshop\t{name}\t{message}\t1\t{active}\t\\N\tsays \"\\\\\"\tops\t2026-11-24 02:54:05+00\t\\N\t\\N\t\\N\t{destroyed_at}\t{deleted_at}\t\\N\tABC\n"
    )
}

fn plain(number: u8, name: &str) -> String {
    row(number, name, "\\\\xC0ffee", "t", ["\\N", "\\N"])
}

/// The names of the versions, and the error at which reading ended.
fn names(text: &str) -> (Vec<String>, Option<DumpError>) {
    let mut dump = match Dump::new(text.as_bytes()) {
        Ok(dump) => dump,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut names = Vec::new();
    loop {
        match dump
            .next_row()
            .and_then(|row| row.map(|row| row.version()).transpose())
        {
            Ok(Some(version)) => names.push(version.name),
            Ok(None) => return (names, None),
            Err(error) => return (names, Some(error)),
        }
    }
}

fn found(text: &str) -> Vec<String> {
    let (names, error) = names(text);
    assert!(error.is_none(), "{error:?}");
    names
}

#[test]
fn a_row_is_read_by_the_names_of_its_columns() {
    let shuffled = "COPY \"control_plane\".\"secrets\" (\"new column\", deleted_at, destroyed_at, active, \"version\", value_encrypted, name, project_id, id, key_fingerprint, created_at) FROM stdin;\n";
    let row = format!(
        "x\t\\N\t\\N\tt\t7\t\\\\x00ff\tn\\tame\tp\t{}\tABC\tnow\n\\.\n",
        id(1)
    );
    let text = format!("{shuffled}{row}");
    let mut dump = Dump::new(text.as_bytes()).unwrap();
    let row = dump.next_row().unwrap().unwrap();
    assert_eq!(row.message().unwrap(), Some(vec![0x00, 0xff]));
    let version = Version {
        id: id(1),
        project_id: "p".to_owned(),
        name: "n\tame".to_owned(),
        version: "7".to_owned(),
        created_at: "now".to_owned(),
        destroyed_at: None,
        key_fingerprint: Some("ABC".to_owned()),
        state: State::Active,
    };
    assert_eq!(row.version().unwrap(), version);
    assert!(dump.next_row().unwrap().is_none());
}

#[test]
fn a_state_is_told_from_the_columns() {
    let never = "\\N";
    let text = [
        HEADER,
        &row(1, "a", "\\\\x", "t", [never, never]),
        &row(2, "a", "\\\\x", "f", [never, never]),
        &row(3, "a", "\\N", "f", ["then", never]),
        &row(4, "a", "\\\\x", "t", [never, "then"]),
        &row(5, "a", "\\N", "f", ["then", "then"]),
        "\\.\n",
    ]
    .concat();
    let mut dump = Dump::new(text.as_bytes()).unwrap();
    for (state, sealed) in [
        (State::Active, true),
        (State::Superseded, true),
        (State::Destroyed, false),
        (State::Deleted, true),
        (State::Destroyed, false),
    ] {
        let row = dump.next_row().unwrap().unwrap();
        assert_eq!(row.version().unwrap().state, state);
        assert_eq!(row.message().unwrap().is_some(), sealed);
    }
}

#[test]
fn what_only_looks_like_the_table_is_passed_over() {
    let body = format!(
        "CREATE FUNCTION f() RETURNS void AS $_$\n{HEADER}{}\\.\n$_$;\n",
        plain(1, "body")
    );
    let comment = format!(
        "COMMENT ON TABLE t IS 'it''s\n{HEADER}{}\\.\n';\n",
        plain(2, "comment")
    );
    let data = format!(
        "COPY public.t (a) FROM stdin;\n{HEADER}{}\\.\n",
        plain(3, "data")
    );
    let other = format!("{}\\.\n", HEADER.replace("control_plane.", "public."));
    let no_columns = "COPY public.empty  FROM stdin;\n\\.\n".to_owned();
    let ours = format!("{HEADER}{}\\.\n", plain(4, "ours"));
    let text = [body, comment, data, other, no_columns, ours].concat();
    assert_eq!(found(&text), ["ours"]);
}

#[test]
fn a_table_whose_name_spans_lines_hides_nothing_and_passes_for_nothing() {
    let decoy = HEADER.trim_end().replace(", ", ",\t");
    for planted in [
        "it's open\n".to_owned(),
        "$tag$\n".to_owned(),
        format!(
            "{decoy}\n{}",
            row(1, "decoy", "\\N", "f", ["planted", "\\N"])
        ),
    ] {
        let text = [
            "COPY public.\"a\nb\" (t) FROM stdin;\n",
            &planted,
            "\\.\n\n",
            HEADER,
            &plain(1, "ours"),
            "\\.\n",
        ]
        .concat();
        assert_eq!(found(&text), ["ours"], "{planted}");
    }
}

#[test]
fn a_row_of_too_many_fields_is_none() {
    let text = format!("{HEADER}{}\n\\.\n", "\t".repeat(1 << 20));
    assert!(matches!(names(&text).1, Some(DumpError::Row(2))));
}

#[test]
fn every_block_of_the_table_is_read() {
    let text = format!(
        "{HEADER}\\.\n{HEADER}{}\\.\nSELECT 1;\n{HEADER}{}\\.\n",
        plain(1, "one"),
        plain(2, "two")
    );
    assert_eq!(found(&text), ["one", "two"]);
    assert_eq!(found(&text.replace('\n', "\r\n")), ["one", "two"]);
}

#[test]
fn rows_of_others_may_be_of_any_length() {
    let long = "x".repeat(LONGEST_HEADER as usize + 3);
    let text = format!(
        "COPY public.t (a) FROM stdin;\n{long}\n\\.\nSELECT '{long}';\n{HEADER}{}\\.\n",
        plain(1, "ours")
    );
    assert_eq!(found(&text), ["ours"]);
}

#[test]
fn other_formats_are_known_by_their_first_bytes() {
    let error = |start: &[u8]| Dump::new([start, b"and more"].concat().as_slice()).err();
    assert!(matches!(error(b"PGDMP\x01\x0e"), Some(DumpError::Archive)));
    assert!(matches!(error(b"toc.dat\0"), Some(DumpError::Archive)));
    assert!(matches!(
        error(&[0x1f, 0x8b, 8]),
        Some(DumpError::Compressed("gzip -dc"))
    ));
    assert!(error(b"").is_none());
}

#[test]
fn insert_statements_are_refused() {
    for form in [
        "INSERT INTO control_plane.secrets VALUES ('a');\n",
        "INSERT INTO control_plane.secrets (id) VALUES\n\t('a');\n",
        "INSERT INTO \"control_plane\".\"secrets\" VALUES ('a');\n",
    ] {
        let text = format!("INSERT INTO public.t VALUES ('a\nb');\n{form}");
        assert!(
            matches!(names(&text), (_, Some(DumpError::Inserts))),
            "{form}"
        );
    }
    let text = format!(
        "SELECT '\nINSERT INTO control_plane.secrets';\n{HEADER}{}\\.\n",
        plain(1, "ours")
    );
    assert_eq!(found(&text), ["ours"]);
}

#[test]
fn a_dump_that_is_not_whole_says_so() {
    let table = format!("{HEADER}{}", plain(1, "one"));
    assert!(matches!(names(&table), (read, Some(DumpError::Truncated)) if read == ["one"]));
    let cut = &table[..table.len() - 6];
    assert!(matches!(names(cut), (_, Some(DumpError::Row(2)))));
    assert!(matches!(
        names("SELECT 1;\n"),
        (_, Some(DumpError::NoTable))
    ));
    assert!(matches!(names(""), (_, Some(DumpError::NoTable))));
    let renamed = table.replace("value_encrypted", "value");
    assert!(matches!(
        names(&renamed),
        (_, Some(DumpError::NoColumn("value_encrypted")))
    ));
}

#[test]
fn no_error_quotes_a_row() {
    let bad = plain(1, "n").replace("xC0ffee", "xC0ffeg");
    let text = format!("{HEADER}{bad}\\.\n");
    let mut dump = Dump::new(text.as_bytes()).unwrap();
    let error = dump.next_row().unwrap().unwrap().message().unwrap_err();
    assert_eq!(
        error.to_string(),
        "its line 2 is not a row of control_plane.secrets"
    );
}
