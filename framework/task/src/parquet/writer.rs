//! Parquet files for the tests of this crate, by the writer of the `parquet` crate.

use std::sync::Arc;

use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

/// The values of one column in one row group.
pub enum Values {
    Text(Vec<Option<Vec<u8>>>),
    Boolean(Vec<Option<bool>>),
    Int32(Vec<Option<i32>>),
    Int64(Vec<Option<i64>>),
    Float(Vec<Option<f32>>),
    Double(Vec<Option<f64>>),
}

impl Values {
    /// Strings, none of them null.
    pub fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Text(texts.into_iter().map(|text| Some(text.into().into_bytes())).collect())
    }
}

/// A file with the columns of `schema` and the values of each of its row groups.
pub fn file(schema: &str, properties: WriterProperties, groups: Vec<Vec<Values>>) -> Vec<u8> {
    let schema = parse_message_type(&format!("message rows {{ {schema} }}")).unwrap();
    let mut file =
        SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties)).unwrap();
    for group in groups {
        let mut rows = file.next_row_group().unwrap();
        for values in group {
            let mut column = rows.next_column().unwrap().unwrap();
            match values {
                Values::Text(texts) => {
                    let texts = texts.into_iter().map(|text| text.map(ByteArray::from));
                    write::<ByteArrayType>(&mut column, texts.collect());
                }
                Values::Boolean(values) => write::<BoolType>(&mut column, values),
                Values::Int32(values) => write::<Int32Type>(&mut column, values),
                Values::Int64(values) => write::<Int64Type>(&mut column, values),
                Values::Float(values) => write::<FloatType>(&mut column, values),
                Values::Double(values) => write::<DoubleType>(&mut column, values),
            }
            column.close().unwrap();
        }
        rows.close().unwrap();
    }
    file.into_inner().unwrap()
}

fn write<T: DataType>(column: &mut SerializedColumnWriter<'_>, values: Vec<Option<T::T>>) {
    let levels: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None).unwrap();
}
