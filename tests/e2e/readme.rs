//! The commands of README.md and of pages in docs/, run as they stand there in what `make run`
//! starts, with the answers that stand there. Each page has a clone of its own.
//!
//! A block of `sh` behind a line `<!-- run -->` is run; all of them in their order, in one shell. A
//! block behind `<!-- output -->` is what the block before it prints, but for ids, times, keys and
//! tokens, which differ in every run.

use crate::clone::Clone;
use pg_secrets_tests::{Proof, repository};
use regex::Regex;
use std::fmt::Write;

struct Step {
    script: String,
    output: Option<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let mut block = || -> String {
            let fence = lines.next().unwrap_or_default();
            assert!(fence.starts_with("```"), "no block behind {line}");
            lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .flat_map(|line| [line, "\n"])
                .collect()
        };
        match line.trim() {
            "<!-- run -->" => steps.push(Step {
                script: block(),
                output: None,
            }),
            "<!-- output -->" => {
                let step = steps
                    .last_mut()
                    .expect("an output behind a block that is run");
                step.output = Some(block());
            }
            _ => {}
        }
    }
    steps
}

/// The text without what differs from run to run, and without blanks at the ends of lines.
fn normalised(text: &str) -> Proof<String> {
    let mut text = text.to_owned();
    for (pattern, name) in [
        ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        // In a table, with the blanks that fill its column.
        (
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)? *",
            "<time> ",
        ),
        (
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
            "<date>",
        ),
        (r"@\d{10}", "<seconds>"),
        ("whsec_[A-Za-z0-9+/=]+", "<signing secret>"),
        ("pgs_[A-Za-z0-9_-]{43}", "<token>"),
        (r"\b([0-9A-F]{64}|[0-9A-F]{40})\b", "<key>"),
        (r"(?m)[ \t\r]+$", ""),
    ] {
        text = Regex::new(pattern)?.replace_all(&text, name).into_owned();
    }
    Ok(text.trim_end().to_owned())
}

/// Runs a page, which has at least so many blocks that are run.
fn prove(page: &str, least: usize) -> Proof {
    let steps = steps(&std::fs::read_to_string(repository().join(page))?);
    assert!(steps.len() >= least, "{page}: {} blocks", steps.len());
    let mut clone = Clone::new();
    clone.start();

    let mut session = String::new();
    for (number, step) in steps.iter().enumerate() {
        writeln!(
            session,
            "{{\n{}}} >printed-{number} 2>&1 || {{ echo 'block {number} fails' >&2; exit 1; }}",
            step.script,
        )
        .expect("a String takes everything");
    }
    let ended = clone.shell(&session).output()?;
    for (number, step) in steps.iter().enumerate() {
        let file = clone.path().join(format!("printed-{number}"));
        let printed = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(expected) = &step.output {
            assert_eq!(
                normalised(&printed)?,
                normalised(expected)?,
                "{page}, block {number}:\n{}\nprints:\n{printed}",
                step.script
            );
        }
    }
    let failed = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{page}: {failed}");
    Ok(())
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() -> Proof {
    prove("README.md", 8)
}

#[test]
fn the_commands_of_the_recovery_page_print_what_it_says() -> Proof {
    prove("docs/recovery.md", 6)
}

#[test]
fn the_commands_of_the_page_on_the_audit_print_what_it_says() -> Proof {
    prove("docs/audit.md", 4)
}

#[test]
fn the_commands_of_the_page_on_keys_print_what_it_says() -> Proof {
    prove("docs/keys.md", 3)
}

#[test]
fn the_commands_of_the_page_on_the_command_line_print_what_it_says() -> Proof {
    prove("docs/cli.md", 7)
}
