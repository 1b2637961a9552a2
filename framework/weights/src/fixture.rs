//! A sound file and a reader of all that a file has, for tests and fuzzing.

use std::path::Path;

use crate::error::WeightsError;
use crate::file::WeightsFile;
use crate::format::WeightFormat;
use crate::matrix::{Encoded, encode};
use crate::source::SourceFiles;
use crate::writer::{Planned, WeightsWriter};

/// The name of the file in its folder.
pub const FILE: &str = "model.safetensors";

/// Writes a small [`FILE`] with a matrix in every format to `folder`.
///
/// # Errors
/// If there is such a file or it cannot be written.
pub fn every_format(folder: &Path) -> Result<(), WeightsError> {
    let (rows, columns) = (3, 32);
    let name = |format: WeightFormat| format!("{format}.weight");
    let plan = |format: WeightFormat| {
        Planned::matrix(name(format), [rows, columns], format.encoding(columns))
    };
    let planned = WeightFormat::ALL.into_iter().map(plan);
    let planned: Vec<Planned> = planned.chain([Planned::vector("bias", rows)]).collect();
    let path = folder.join(FILE);
    let mut writer = WeightsWriter::create(&path, &planned)?;
    for format in WeightFormat::ALL {
        let values = (0..rows * columns).map(|at| (at as f32).sin()).collect();
        let encoded: Result<Encoded, _> = encode(values, rows, columns, format);
        let wrong = |error| WeightsError::tensor(&path, &name(format), error);
        writer.write(&name(format), &encoded.map_err(wrong)?)?;
    }
    writer.write_f32("bias", &[1.0, 2.0, 3.0])?;
    writer.finish()
}

/// Reads all tensors of the [`FILE`] in `folder` in every way that they can be read, and says how many
/// are matrices or numbers.
///
/// # Errors
/// If the file is refused as a whole.
pub fn read_all(folder: &Path) -> Result<usize, WeightsError> {
    let file = WeightsFile::open(&folder.join(FILE))?;
    let source = SourceFiles::open(folder)?;
    let mut read = 0;
    for name in file.names() {
        file.tensor(name)?;
        read += usize::from(file.vector(name).is_ok());
        if let Ok(matrix) = file.matrix(name) {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let mut row = vec![0.0; columns];
            read += usize::from(matrix.dequantize_rows(rows - 1..rows, &mut row).is_ok());
        }
        if source.values(name).is_ok() {
            let _ = source.transposed(name, 0..1);
        }
    }
    Ok(read)
}
