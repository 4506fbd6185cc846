//! Rows of words in columns.

use std::fmt::Write as _;

use crate::style::Style;

/// A table with its head. The last column is cut off at `width` columns; `paint` colours a cell by its row and column.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: &[[String; N]],
    width: Option<usize>,
    style: Style,
    paint: impl Fn(usize, usize, String) -> String,
) -> String {
    let head = head.map(str::to_owned);
    let widths: Vec<usize> = (0..N)
        .map(|i| rows.iter().chain([&head]).map(|row| row[i].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    let _ = writeln!(text, "{}", style.dim(&line(&head, &widths, width, |_, cell| cell)));
    for (n, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "{}", line(row, &widths, width, |i, cell| paint(n, i, cell)));
    }
    text
}

/// One line: the columns left-aligned, no blanks at its end, the last column cut where the terminal ends.
fn line(
    cells: &[String],
    widths: &[usize],
    limit: Option<usize>,
    painted: impl Fn(usize, String) -> String,
) -> String {
    let mut text = String::new();
    let mut used = 0;
    for (i, cell) in cells.iter().enumerate() {
        let last = i + 1 == cells.len();
        let room = limit.map_or(usize::MAX, |limit| limit.saturating_sub(used));
        let shown: String = if last { cell.chars().take(room).collect() } else { cell.clone() };
        let pad = if last { 0 } else { widths[i] - shown.chars().count() + 2 };
        used += widths[i] + 2;
        text += &painted(i, shown);
        text += &" ".repeat(pad);
    }
    text.trim_end().to_owned()
}
