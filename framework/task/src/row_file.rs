//! One labelled file to its rows, by the format that the config or the file's name says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::config::{Format, TaskConfig};
use crate::encoding::decode;
use crate::error::{DataError, LISTED_PROBLEMS, Problem};
use crate::report::FileReport;
use crate::rows::{Row, row};
use crate::table::{CellRows, Cells, comma_separated, tab_separated};
use crate::{jsonl, parquet};

/// All rows of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct RowFile {
    /// Where it is.
    pub path: PathBuf,
    /// The rows, duplicates included.
    pub rows: Vec<Row>,
    /// What was found.
    pub report: FileReport,
}

/// Reads all rows of one labelled file.
///
/// # Errors
/// If the file cannot be read, has no row, or has rows that cannot be used.
pub fn load_rows(config: &TaskConfig, path: &Path) -> Result<RowFile, DataError> {
    let diagnostics = config.check();
    if !diagnostics.is_empty() {
        return Err(DataError::Config { diagnostics });
    }
    let (rows, byte_order_mark) = match format(config, path)? {
        Format::Jsonl => text_rows(config, path, |text, config| {
            Ok(Box::new(jsonl::cells(text, &config.columns)))
        })?,
        Format::Csv => text_rows(config, path, |text, config| {
            comma_separated(text, config.header, &config.columns)
        })?,
        Format::Tsv => text_rows(config, path, |text, config| {
            tab_separated(text, config.header, &config.columns)
        })?,
        Format::Parquet => (parquet_rows(config, path)?, false),
    };
    if rows.is_empty() {
        return Err(DataError::Empty { path: path.into() });
    }
    let report = FileReport::new(&rows, byte_order_mark);
    Ok(RowFile { path: path.into(), rows, report })
}

fn format(config: &TaskConfig, path: &Path) -> Result<Format, DataError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let by_name = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("jsonl") => Some(Format::Jsonl),
        Some("csv") => Some(Format::Csv),
        Some("tsv") => Some(Format::Tsv),
        Some("parquet") => Some(Format::Parquet),
        _ => None,
    };
    config.format.or(by_name).ok_or_else(|| DataError::Format { path: path.into() })
}

/// The rows of a text file, and whether it starts with a byte order mark.
fn text_rows(
    config: &TaskConfig,
    path: &Path,
    cells: for<'a> fn(&'a str, &'a TaskConfig) -> Result<CellRows<'a>, Problem>,
) -> Result<(Vec<Row>, bool), DataError> {
    let in_file = |problem| DataError::File { path: path.into(), problem };
    let bytes = fs::read(path).map_err(|source| DataError::Read { path: path.into(), source })?;
    let decoded = decode(&bytes).map_err(in_file)?;
    let cells = cells(decoded.text, config).map_err(in_file)?;
    Ok((usable_rows(config, path, cells)?, decoded.byte_order_mark))
}

fn parquet_rows(config: &TaskConfig, path: &Path) -> Result<Vec<Row>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Read { path: path.into(), source })?;
    let cells = parquet::cells(file, &config.columns)
        .map_err(|problem| DataError::File { path: path.into(), problem })?;
    usable_rows(config, path, cells)
}

/// The rows of `cells`, or what is wrong with each that cannot be used.
fn usable_rows<'a>(
    config: &TaskConfig,
    path: &Path,
    cells: impl Iterator<Item = Result<Cells<'a>, Problem>>,
) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    let mut total = 0;
    for cells in cells {
        match cells.and_then(|cells| row(config, cells)) {
            Ok(row) => rows.push(row),
            Err(problem) => {
                total += 1;
                if problems.len() < LISTED_PROBLEMS {
                    problems.push(problem);
                }
            }
        }
    }
    match total {
        0 => Ok(rows),
        _ => Err(DataError::Rows { path: path.into(), problems, total }),
    }
}
