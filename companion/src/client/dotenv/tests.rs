use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    let entries = read(text).unwrap();
    let pair = |entry: Entry| (entry.name, entry.value.expose().to_owned());
    entries.into_iter().map(pair).collect()
}

fn one(text: &str) -> String {
    let mut pairs = pairs(text);
    assert_eq!(pairs.len(), 1, "{text}");
    pairs.remove(0).1
}

#[test]
fn values_have_three_forms() {
    for (text, value) in [
        ("A=b", "b"),
        ("A=", ""),
        ("A=b\n", "b"),
        ("A=b\r\n", "b"),
        ("A = b c \t", "b c"),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", ""),
        ("A=b=c", "b=c"),
        ("A=it's", "it's"),
        ("export A=b", "b"),
        ("\texport\tA=b", "b"),
        ("export=b", "b"),
        ("\u{feff}A=b", "b"),
        ("A='b # c' # comment", "b # c"),
        (r"A='a\nb'", r"a\nb"),
        ("A='a\nb'", "a\nb"),
        ("A='a\r\nb'\r\n", "a\r\nb"),
        ("A=''", ""),
        (r#"A="a\nb\t\r\\\"\$\`""#, "a\nb\t\r\\\"$`"),
        (r#"A="a\xb""#, r"a\xb"),
        ("A=\"a\nb\"", "a\nb"),
        ("A=\"\"", ""),
        ("A=\"ü \\\\\"", "ü \\"),
        ("A=${B}", "${B}"),
        ("A.b-c=d", "d"),
    ] {
        assert_eq!(one(text), value, "{text}");
    }
}

#[test]
fn lines_of_all_kinds_follow_each_other() {
    let text = "# first\n\nA=1\n  # second\r\n\r\nB='2\n2'\nC=\"3\n3\" # third\nD=4 # fourth\nE=5";
    let expected = [
        ("A", "1"),
        ("B", "2\n2"),
        ("C", "3\n3"),
        ("D", "4"),
        ("E", "5"),
    ];
    let pairs = pairs(text);
    assert_eq!(pairs.len(), expected.len());
    for ((name, value), expected) in pairs.iter().zip(expected) {
        assert_eq!((name.as_str(), value.as_str()), expected);
    }
    let lines: Vec<usize> = read(text).unwrap().iter().map(|entry| entry.line).collect();
    assert_eq!(lines, [3, 6, 8, 10, 11]);
}

#[test]
fn what_is_no_line_is_named_by_its_number_and_not_quoted() {
    for (text, line) in [
        ("A=1\nhunter2", 2),
        ("=hunter2", 1),
        ("1A=hunter2", 1),
        ("A='hunter2", 1),
        ("A=\"hunter2", 1),
        ("A=\"hunter2\\", 1),
        ("A='b' hunter2", 1),
        ("A=\"b\"hunter2", 1),
        ("A='1\n2'\nhunter2", 3),
        ("A B=hunter2", 1),
        ("ü=hunter2", 1),
    ] {
        let misread = read(text).unwrap_err();
        assert_eq!(misread.line, line, "{text}");
        assert!(!misread.to_string().contains("hunter2"));
    }
}

#[test]
fn only_what_others_would_expand_is_said_to_be_expandable() {
    for (text, expandable) in [
        ("A=${B}", true),
        ("A=\"${B}\"", true),
        ("A='${B}'", false),
        ("A=$B", false),
    ] {
        assert_eq!(read(text).unwrap()[0].expandable, expandable, "{text}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    for value in [
        "plain",
        " blanks ",
        "it's",
        "it's \"$HOME\" `id` \\n \\",
        "two\nlines'\n",
        "\r\n",
        "#",
        "'",
        "\"",
        "\\",
        "${A}'${A}",
        "Grüße 秘密",
    ] {
        let mut written = Zeroizing::new(Vec::new());
        write(&mut written, "A", value);
        assert_eq!(one(std::str::from_utf8(&written).unwrap()), value);
    }
}
