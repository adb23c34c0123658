//! Tables for people: columns as wide as they need to be, two blanks between them.

use crate::client::style::{Colour, Style};
use crate::visible::visible;
use unicode_width::UnicodeWidthStr;

/// A text in a table, made visible.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    /// A text of whatever origin.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self::in_colour(Colour::Plain, text)
    }

    /// The same in a colour.
    pub(crate) fn in_colour(colour: Colour, text: impl AsRef<str>) -> Self {
        Self {
            text: visible(text.as_ref()),
            colour,
        }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// Headings and rows as text, a line each.
pub(crate) fn render(headings: &[&str], rows: &[Vec<Cell>], style: Style) -> String {
    let headings = headings
        .iter()
        .map(|text| Cell::in_colour(Colour::Bold, text));
    let lines: Vec<Vec<Cell>> = std::iter::once(headings.collect())
        .chain(rows.iter().cloned())
        .collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(Cell::width).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut blanks = 0;
        for (cell, width) in line.iter().zip(&widths) {
            // Before the next text, so that no line ends in blanks.
            if !cell.text.is_empty() {
                text.push_str(&" ".repeat(blanks));
                blanks = 0;
            }
            text.push_str(&style.paint(cell.colour, &cell.text));
            blanks += width - cell.width() + 2;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_nothing_escapes() {
        let rows = [
            vec![Cell::new("秘密"), Cell::new("1"), Cell::new("x")],
            vec![Cell::new("a\u{1b}[2J"), Cell::new(""), Cell::new("y")],
            vec![Cell::new("longer name"), Cell::new("22"), Cell::new("")],
        ];
        let style = Style::of_stdout();
        let headings = ["NAME", "N", "BY"];
        let plain = render(&headings, &rows, style).replace("\u{1b}[1m", "");
        assert_eq!(
            plain.replace("\u{1b}[0m", ""),
            "NAME         N   BY\n秘密         1   x\na\\u{1b}[2J       y\nlonger name  22\n"
        );
    }
}
