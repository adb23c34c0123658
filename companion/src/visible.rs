//! Texts of others on a terminal.

/// A text without what a terminal would act upon: control characters, and those that turn the
/// direction of writing or show nothing.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_terminals(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a terminal would act upon it, or hide what stands around it.
pub(crate) fn acts_on_terminals(c: char) -> bool {
    c.is_control() || is_format(c)
}

/// Characters of the Unicode categories Cf, Zl and Zp that reorder, join or hide what stands around
/// them.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_upon_is_escaped_and_the_rest_stays() {
        assert_eq!(visible("Grüße, 秘密 'x' \\"), "Grüße, 秘密 'x' \\");
        assert_eq!(visible("a\u{1b}[31m\r\n"), "a\\u{1b}[31m\\r\\n");
        assert_eq!(visible("a\u{202e}b\u{feff}"), "a\\u{202e}b\\u{feff}");
    }
}
