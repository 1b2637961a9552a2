//! Apache Parquet: the wanted columns side by side, some rows at a time.
//!
//! A cell becomes the text that it would be in CSV or JSONL, so the same rows are the same data in
//! every format. What a file claims of itself is checked before anything is allocated for it: its
//! schema in [`schema`], its pages in [`pages`], how much it unfolds to in [`limits`].

mod codec;
mod decode;
mod limits;
mod pages;
mod schema;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writer;

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::config::{Column, Columns};
use crate::error::{Place, Problem};
use crate::table::Cells;
use decode::{Cell, Reader, Source};
use limits::{Budget, believed_rows};
use pages::Pages;

/// Rows that are decoded at once. It bounds what a few bytes that stand for many rows can take.
const STEP: u64 = 1024;

/// A row's cells, or what is wrong with it.
type RowCells = Result<Cells<'static>, Problem>;

/// The wanted cells of every row. What is wrong with the file or its columns is an error at once,
/// what is wrong with a row is an item, what is wrong with a row group is its last item.
pub(crate) fn cells(
    file: File,
    columns: &Columns,
) -> Result<impl Iterator<Item = RowCells> + use<>, Problem> {
    let mut rows = Rows::open(file, columns).map_err(Problem::in_file)?;
    Ok(std::iter::from_fn(move || rows.step()).flatten())
}

/// The rows of an open file.
struct Rows {
    table: Table,
    budget: Budget,
    /// How many row groups are over.
    over: usize,
    /// The row group behind them, once it is begun.
    begun: Option<Group>,
}

impl Rows {
    fn open(file: File, columns: &Columns) -> Result<Self, String> {
        let table = Table::open(file, columns)?;
        Ok(Self { budget: Budget::new(table.length), table, over: 0, begun: None })
    }

    /// The next rows; `None` behind the last.
    fn step(&mut self) -> Option<Vec<RowCells>> {
        let number = self.over;
        self.table.rows.get(number)?;
        let group = self.begun.take().map_or_else(|| self.table.group(number), Ok);
        let rows = group.and_then(|mut group| {
            let rows = group.step(&mut self.budget)?;
            self.begun = (!group.rows.is_empty()).then_some(group);
            Ok(rows)
        });
        if self.begun.is_none() {
            self.over += 1;
        }
        Some(rows.unwrap_or_else(|message| {
            let (number, groups) = (number + 1, self.table.rows.len());
            vec![Err(Problem::in_file(format!("row group {number} of {groups}, {message}")))]
        }))
    }
}

/// An open file and where the wanted columns are in it.
struct Table {
    file: Arc<File>,
    length: u64,
    metadata: ParquetMetaData,
    /// The rows of each row group, counted from 1 through the file, as it claims.
    rows: Vec<Range<u64>>,
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
        let fields = metadata.file_metadata().schema_descr();
        Ok(Self {
            rows: rows(&metadata, length)?,
            text: Source::text(&columns.text, fields)?,
            pair: columns.pair.as_ref().map(|pair| Source::text(pair, fields)).transpose()?,
            label: Source::label(&columns.label, fields)?,
            file: Arc::new(file),
            length,
            metadata,
        })
    }

    /// The row group `number` from 0.
    fn group(&self, number: usize) -> Result<Group, String> {
        let chunk = |source: &Source| {
            let column = source.column.clone();
            match contained(|| self.reader(number, source)) {
                Ok(reader) => Ok(Chunk { column, reader }),
                Err(message) => Err(format!("column {column}: {message}")),
            }
        };
        Ok(Group {
            rows: self.rows[number].clone(),
            text: chunk(&self.text)?,
            pair: self.pair.as_ref().map(chunk).transpose()?,
            label: chunk(&self.label)?,
        })
    }

    fn reader(&self, group: usize, source: &Source) -> Result<Reader, String> {
        let rows = self.rows[group].end - self.rows[group].start;
        let chunks = self.metadata.row_group(group).columns();
        let chunk = chunks.get(source.leaf).ok_or_else(|| damaged("it is not in the row group"))?;
        let pages = Pages::open(&self.file, self.length, chunk, rows as usize)?;
        Ok(source.reader(chunk.column_descr_ptr(), pages, rows))
    }
}

/// The rows that each row group of a file of `length` bytes claims, counted from 1.
fn rows(metadata: &ParquetMetaData, length: u64) -> Result<Vec<Range<u64>>, String> {
    let most = believed_rows(length);
    let mut first = 1_u64;
    let groups = metadata.row_groups().iter().map(|group| {
        let claimed = group.num_rows();
        let rows = u64::try_from(claimed)
            .map_err(|_| damaged(format!("a row group claims to have {claimed} rows")))?;
        let end = first.checked_add(rows).filter(|end| end - 1 <= most).ok_or_else(|| {
            let before = first - 1;
            damaged(format!(
                "a row group behind row {before} claims to have {rows} rows, but at most {most} \
                 are read from a file of {length} bytes"
            ))
        })?;
        Ok(std::mem::replace(&mut first, end)..end)
    });
    groups.collect()
}

/// What is left to read of a row group.
struct Group {
    rows: Range<u64>,
    text: Chunk,
    pair: Option<Chunk>,
    label: Chunk,
}

/// One column of it.
struct Chunk {
    column: Column,
    reader: Reader,
}

impl Group {
    /// The next rows, [`STEP`] of them at the most.
    fn step(&mut self, budget: &mut Budget) -> Result<Vec<RowCells>, String> {
        let first = self.rows.start;
        self.rows.start = self.rows.end.min(first + STEP);
        let count = (self.rows.start - first) as usize;
        let mut column = |Chunk { column, reader }: &mut Chunk| {
            contained(|| reader(count, budget))
                .map_err(|message| format!("column {column}: {message}"))
        };
        let texts = column(&mut self.text)?;
        let mut pairs = self.pair.as_mut().map(&mut column).transpose()?.map(Vec::into_iter);
        let labels = column(&mut self.label)?;
        let rows = (first..).zip(texts).zip(labels).map(|((row, text), label)| {
            let place = Place::Row(row);
            let value = |chunk: &Chunk, cell: Cell| {
                cell.map_err(|message| {
                    Problem::new(place, format!("column {}: {message}", chunk.column))
                })
            };
            let text = value(&self.text, text)?;
            let pair = self.pair.as_ref().zip(pairs.as_mut().and_then(Iterator::next));
            let pair = pair.map(|(chunk, cell)| value(chunk, cell)).transpose()?;
            let label = value(&self.label, label)?;
            Ok(Cells { place, text: text.into(), pair: pair.map(Into::into), label: label.into() })
        });
        Ok(rows.collect())
    }
}

/// The outcome of `read`. What is known to make the decoders panic is found before they do; what is
/// not ends here, and what they were at work on goes with it.
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
