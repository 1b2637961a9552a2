//! Values of a column to the texts of cells.

use std::borrow::Cow;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type};

use super::limits::Budget;
use super::pages::Pages;
use super::{damaged, reason};
use crate::config::{Column, quoted};
use crate::table::named;

/// The text of a cell, or what is wrong with it.
pub(super) type Cell = Result<String, Cow<'static, str>>;

/// Reads as many more cells of a column chunk as it is told to.
pub(super) type Reader = Box<dyn FnMut(usize, &mut Budget) -> Result<Vec<Cell>, String>>;

/// Where a wanted column is and what it holds.
pub(super) struct Source {
    pub column: Column,
    /// Its number among the columns that hold values; a nested one holds none itself.
    pub leaf: usize,
    kind: Kind,
    expected: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Boolean,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Float,
    Double,
}

impl Source {
    pub(super) fn text(column: &Column, schema: &SchemaDescriptor) -> Result<Self, String> {
        Self::new(column, schema, "a string", |kind| kind == Kind::Text)
    }

    pub(super) fn label(column: &Column, schema: &SchemaDescriptor) -> Result<Self, String> {
        Self::new(column, schema, "a string or a number", |_| true)
    }

    fn new(
        column: &Column,
        schema: &SchemaDescriptor,
        expected: &'static str,
        fits: fn(Kind) -> bool,
    ) -> Result<Self, String> {
        let fields = schema.root_schema().get_fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        let Column::Name(name) = column else {
            return Err(format!(
                "column {column} is a number, but Parquet has names: {}",
                quoted(names)
            ));
        };
        let at = named(name, &names)?;
        let kind = kind(&fields[at]).filter(|kind| fits(*kind)).ok_or_else(|| {
            format!("column {column}: expected {expected}, got {}", describe(&fields[at]))
        })?;
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == at);
        let leaf = leaf.ok_or_else(|| damaged(format!("column {column} holds no values")))?;
        Ok(Self { column: column.clone(), leaf, kind, expected })
    }

    /// A reader of the column chunk of `rows` rows with these `pages`.
    pub(super) fn reader(&self, column: ColumnDescPtr, pages: Pages, rows: u64) -> Reader {
        let chunk = Chunk { column, pages, rows, expected: self.expected };
        match self.kind {
            Kind::Text => chunk.reader::<ByteArrayType>(utf8),
            Kind::Boolean => chunk.reader::<BoolType>(|value| Ok(value.to_string())),
            Kind::Int32 => chunk.reader::<Int32Type>(|value| Ok(value.to_string())),
            Kind::Uint32 => {
                chunk.reader::<Int32Type>(|value| Ok(value.cast_unsigned().to_string()))
            }
            Kind::Int64 => chunk.reader::<Int64Type>(|value| Ok(value.to_string())),
            Kind::Uint64 => {
                chunk.reader::<Int64Type>(|value| Ok(value.cast_unsigned().to_string()))
            }
            // The shortest text that is this number, `1.0` for a whole one, as JSON has it.
            Kind::Float => chunk.reader::<FloatType>(|value| Ok(format!("{value:?}"))),
            Kind::Double => chunk.reader::<DoubleType>(|value| Ok(format!("{value:?}"))),
        }
    }
}

fn kind(field: &Type) -> Option<Kind> {
    let info = field.get_basic_info();
    if field.is_group() || info.repetition() == Repetition::REPEATED {
        return None;
    }
    use ConvertedType as Converted;
    match (field.get_physical_type(), info.converted_type(), info.logical_type_ref()) {
        (
            Physical::BYTE_ARRAY,
            Converted::UTF8 | Converted::ENUM | Converted::JSON | Converted::NONE,
            None | Some(LogicalType::String | LogicalType::Enum | LogicalType::Json),
        ) => Some(Kind::Text),
        (physical, converted, None | Some(LogicalType::Integer(_))) => {
            match (physical, converted) {
                (Physical::BOOLEAN, Converted::NONE) => Some(Kind::Boolean),
                (Physical::FLOAT, Converted::NONE) => Some(Kind::Float),
                (Physical::DOUBLE, Converted::NONE) => Some(Kind::Double),
                (
                    Physical::INT32,
                    Converted::NONE | Converted::INT_8 | Converted::INT_16 | Converted::INT_32,
                ) => Some(Kind::Int32),
                (Physical::INT32, Converted::UINT_8 | Converted::UINT_16 | Converted::UINT_32) => {
                    Some(Kind::Uint32)
                }
                (Physical::INT64, Converted::NONE | Converted::INT_64) => Some(Kind::Int64),
                (Physical::INT64, Converted::UINT_64) => Some(Kind::Uint64),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The type of a column for a message.
fn describe(field: &Type) -> String {
    let info = field.get_basic_info();
    if field.is_group() || info.repetition() == Repetition::REPEATED {
        return "nested values; write them as a column of their own".to_owned();
    }
    let physical = field.get_physical_type();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(logical), _) => {
            let name = format!("{logical:?}");
            let name = name.split(|letter: char| !letter.is_alphanumeric()).next();
            format!("{} ({physical})", name.unwrap_or_default().to_uppercase())
        }
        (None, ConvertedType::NONE) => physical.to_string(),
        (None, converted) => format!("{converted} ({physical})"),
    }
}

fn utf8(value: &ByteArray) -> Cell {
    let text = std::str::from_utf8(value.data()).map_err(|error| {
        format!("byte {} of the string is not UTF-8; convert it", error.valid_up_to() + 1)
    })?;
    Ok(text.to_owned())
}

struct Chunk {
    column: ColumnDescPtr,
    pages: Pages,
    rows: u64,
    expected: &'static str,
}

impl Chunk {
    fn reader<T: DataType>(self, cell: fn(&T::T) -> Cell) -> Reader {
        let Self { column, pages, rows, expected } = self;
        let present = column.max_def_level();
        let mut reader = ColumnReaderImpl::<T>::new(column, Box::new(pages));
        let mut before = 0;
        Box::new(move |count, budget| {
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let (read, _, _) = reader
                .read_records(count, Some(&mut levels), None, &mut values)
                .map_err(|error| reason(&error))?;
            before += read;
            if read < count {
                return Err(damaged(format!("it has {before} values for {rows} rows")));
            }
            let mut values = values.iter();
            let cells = (0..count).map(|row| {
                // A column without nulls has no levels.
                let is_null = levels.get(row).is_some_and(|level| *level != present);
                let Some(value) = (!is_null).then(|| values.next()).flatten() else {
                    let message = format!("expected {expected}, got null; leave the row out");
                    return Ok(Err(message.into()));
                };
                let cell = cell(value);
                budget.take(cell.as_ref().map_or(0, String::len))?;
                Ok(cell)
            });
            cells.collect()
        })
    }
}
