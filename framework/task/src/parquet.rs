//! Apache Parquet: the wanted columns, one row group at a time.
//!
//! A cell becomes the text that it would be in CSV or JSONL, so the same rows are the same data in
//! every format. What a file claims of itself is checked before anything is allocated for it: its
//! schema in [`schema`], its pages in [`pages`].

mod codec;
mod decode;
mod pages;
mod schema;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writer;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::config::Columns;
use crate::error::{Place, Problem};
use crate::table::Cells;
use decode::{Cell, Source, decode};
use pages::Pages;

/// The wanted cells of every row. What is wrong with the file or its columns is an error at once,
/// what is wrong with a row or a row group is an item.
pub(crate) fn cells(
    file: File,
    columns: &Columns,
) -> Result<impl Iterator<Item = Result<Cells<'static>, Problem>> + use<>, Problem> {
    let table = Table::open(file, columns).map_err(Problem::in_file)?;
    let mut rows_before = 0;
    Ok((0..table.rows.len()).flat_map(move |group| {
        let first_row = rows_before + 1;
        rows_before += table.rows[group] as u64;
        table.group(group, first_row).unwrap_or_else(|problem| vec![Err(problem)])
    }))
}

/// An open file and where the wanted columns are in it.
struct Table {
    file: Arc<File>,
    length: u64,
    metadata: ParquetMetaData,
    /// Rows of each row group, as the file claims.
    rows: Vec<usize>,
    text: Source,
    pair: Option<Source>,
    label: Source,
}

impl Table {
    fn open(file: File, columns: &Columns) -> Result<Self, String> {
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        schema::check(&file, length)?;
        let metadata = contained(|| {
            ParquetMetaDataReader::new().parse_and_finish(&file).map_err(|error| reason(&error))
        })?;
        let groups = metadata.row_groups();
        let rows = groups.iter().map(|group| {
            let rows = group.num_rows();
            rows.try_into().map_err(|_| damaged(format!("a row group claims to have {rows} rows")))
        });
        let fields = metadata.file_metadata().schema_descr();
        Ok(Self {
            rows: rows.collect::<Result<_, _>>()?,
            text: Source::text(&columns.text, fields)?,
            pair: columns.pair.as_ref().map(|pair| Source::text(pair, fields)).transpose()?,
            label: Source::label(&columns.label, fields)?,
            file: Arc::new(file),
            length,
            metadata,
        })
    }

    /// The cells of the row group `group`, whose first row is `first_row` of the file.
    fn group(
        &self,
        group: usize,
        first_row: u64,
    ) -> Result<Vec<Result<Cells<'static>, Problem>>, Problem> {
        let column = |source: &Source| {
            contained(|| self.column(group, source)).map_err(|message| {
                let (number, groups) = (group + 1, self.rows.len());
                let name = &source.column;
                Problem::in_file(format!(
                    "row group {number} of {groups}, column {name}: {message}"
                ))
            })
        };
        let texts = column(&self.text)?;
        let mut pairs = self.pair.as_ref().map(column).transpose()?.map(Vec::into_iter);
        let labels = column(&self.label)?;
        let rows = (first_row..).zip(texts).zip(labels).map(|((row, text), label)| {
            let place = Place::Row(row);
            let value = |source: &Source, cell: Cell| {
                cell.map_err(|message| {
                    Problem::new(place, format!("column {}: {message}", source.column))
                })
            };
            let text = value(&self.text, text)?;
            let pair = self.pair.as_ref().zip(pairs.as_mut().and_then(Iterator::next));
            let pair = pair.map(|(source, cell)| value(source, cell)).transpose()?;
            let label = value(&self.label, label)?;
            Ok(Cells { place, text: text.into(), pair: pair.map(Into::into), label: label.into() })
        });
        Ok(rows.collect())
    }

    fn column(&self, group: usize, source: &Source) -> Result<Vec<Cell>, String> {
        let rows = self.rows[group];
        let chunks = self.metadata.row_group(group).columns();
        let chunk = chunks.get(source.leaf).ok_or_else(|| damaged("it is not in the row group"))?;
        let pages = Pages::open(&self.file, self.length, chunk, rows)?;
        decode(source, chunk.column_descr_ptr(), pages, rows)
    }
}

/// The outcome of `read`. The decoders answer some damage with a panic: it ends here, and what they
/// were at work on goes with it.
fn contained<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged("it cannot be decoded")))
}

/// What the reader found, in words. "Not yet implemented" is no damage and says itself what to do.
fn reason(error: &ParquetError) -> String {
    match error {
        ParquetError::General(message) | ParquetError::EOF(message) => damaged(message),
        ParquetError::NYI(message) => message.clone(),
        ParquetError::NeedMoreData(_) => damaged("it is shorter than its footer says"),
        other => damaged(other),
    }
}

fn damaged(what: impl std::fmt::Display) -> String {
    format!("{what}; the file is damaged: fetch it or write it again")
}
