//! The figures for a terminal.

use std::iter;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use crate::comparison::Comparison;
use crate::rows::{Row, groups, target_in_words};

/// Columns of the terminal.
const WIDTH: u16 = 100;
/// What a variant's column is wrapped to, if it is wider.
const VARIANT: u16 = 32;
/// Columns that a cell has around it: a border and a blank on each side.
const AROUND: u16 = 3;

/// The figures, variants side by side as far as they fit, with what does not count below.
pub(crate) fn table(comparison: &Comparison) -> String {
    let names: Vec<String> =
        comparison.variants.iter().map(|variant| printable(&variant.name)).collect();
    let groups = groups(comparison);
    let rows: Vec<&Row> = groups.iter().flatten().collect();
    let mut text = format!("target: {}\n", printable(&target_in_words(comparison)));
    for columns in chunks(&names, &rows) {
        text += &format!("{}\n", chunk(&names, &rows, &columns));
    }
    for excluded in &comparison.figures.excluded {
        let (variant, reason) = (printable(&excluded.variant), printable(&excluded.reason));
        text += &format!("not counted: {variant}, seed {}: {reason}\n", excluded.seed);
    }
    text.trim_end().to_owned()
}

/// `text` without what a terminal would obey.
fn printable(text: &str) -> String {
    let line = text.lines().collect::<Vec<_>>().join("; ");
    line.replace(char::is_control, "\u{fffd}")
}

/// The variants of each table: as many as fit beside the labels, at least one.
fn chunks(names: &[String], rows: &[&Row]) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..names.len()).collect();
    let widths = chunk(names, rows, &all).column_max_content_widths();
    let Some((labels, variants)) = widths.split_first() else { return Vec::new() };
    let room = WIDTH.saturating_sub(labels + AROUND + 1);
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let mut left = 0;
    for (column, &content) in variants.iter().enumerate() {
        let needed = content.min(VARIANT) + AROUND;
        match chunks.last_mut().filter(|_| needed <= left) {
            Some(chunk) => chunk.push(column),
            None => {
                chunks.push(vec![column]);
                left = room;
            }
        }
        left = left.saturating_sub(needed);
    }
    chunks
}

fn chunk(names: &[String], rows: &[&Row], columns: &[usize]) -> Table {
    let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let header = columns.iter().map(|&column| right(&names[column]));
    table.set_header(iter::once(Cell::new("")).chain(header));
    for row in rows {
        let cells = columns.iter().map(|&column| right(&row.cells[column]));
        table.add_row(iter::once(Cell::new(printable(&row.label))).chain(cells));
    }
    let widest = ColumnConstraint::UpperBoundary(Width::Fixed(VARIANT + AROUND - 1));
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_constraint(widest);
    });
    table
}
