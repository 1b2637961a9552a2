//! Values of a column to the texts of cells.

use std::borrow::Cow;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type};

use super::pages::Pages;
use super::{damaged, reason};
use crate::config::{Column, quoted};
use crate::table::named;

/// Rows that one call decodes. It bounds what the count in a page's header can make it allocate.
const STEP: usize = 1024;

/// The text of a cell, or what is wrong with it.
pub(super) type Cell = Result<String, Cow<'static, str>>;

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

/// The `rows` cells of a column chunk.
pub(super) fn decode(
    source: &Source,
    column: ColumnDescPtr,
    pages: Pages,
    rows: usize,
) -> Result<Vec<Cell>, String> {
    let shown = |text: String| Ok(text);
    let values = Values { column, pages, rows, expected: source.expected };
    match source.kind {
        Kind::Text => values.cells::<ByteArrayType>(utf8),
        Kind::Boolean => values.cells::<BoolType>(|value| shown(value.to_string())),
        Kind::Int32 => values.cells::<Int32Type>(|value| shown(value.to_string())),
        Kind::Uint32 => values.cells::<Int32Type>(|value| shown(value.cast_unsigned().to_string())),
        Kind::Int64 => values.cells::<Int64Type>(|value| shown(value.to_string())),
        Kind::Uint64 => values.cells::<Int64Type>(|value| shown(value.cast_unsigned().to_string())),
        // The shortest text that is this number, `1.0` for a whole one, as JSON has it.
        Kind::Float => values.cells::<FloatType>(|value| shown(format!("{value:?}"))),
        Kind::Double => values.cells::<DoubleType>(|value| shown(format!("{value:?}"))),
    }
}

fn utf8(value: &ByteArray) -> Cell {
    let text = std::str::from_utf8(value.data()).map_err(|error| {
        format!("byte {} of the string is not UTF-8; convert it", error.valid_up_to() + 1)
    })?;
    Ok(text.to_owned())
}

struct Values {
    column: ColumnDescPtr,
    pages: Pages,
    rows: usize,
    expected: &'static str,
}

impl Values {
    fn cells<T: DataType>(self, cell: impl Fn(&T::T) -> Cell) -> Result<Vec<Cell>, String> {
        let Self { column, pages, rows, expected } = self;
        let present = column.max_def_level();
        let null = || Err(format!("expected {expected}, got null; leave the row out").into());
        let mut reader = ColumnReaderImpl::<T>::new(column, Box::new(pages));
        let mut cells = Vec::new();
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        while cells.len() < rows {
            levels.clear();
            values.clear();
            let step = STEP.min(rows - cells.len());
            let (read, _, _) = reader
                .read_records(step, Some(&mut levels), None, &mut values)
                .map_err(|error| reason(&error))?;
            if read == 0 {
                let values = cells.len();
                return Err(damaged(format!("it has {values} values for {rows} rows")));
            }
            // A column without nulls has no levels.
            if present == 0 {
                cells.extend(values.iter().map(&cell));
                continue;
            }
            let mut values = values.iter();
            cells.extend(levels.iter().map(|level| match *level == present {
                true => values.next().map_or_else(null, &cell),
                false => null(),
            }));
        }
        Ok(cells)
    }
}
