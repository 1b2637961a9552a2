//! A sound file and a reader of all that a file has, for tests and fuzzing.

use std::fs;
use std::path::Path;

use safetensors::Dtype;

use crate::blocks::Blocks;
use crate::error::{MatrixError, WeightsError};
use crate::file::WeightsFile;
use crate::format::{Bits, WeightFormat};
use crate::matrix::{Encoded, encode};
use crate::source::SourceFiles;
use crate::writer::{Planned, WeightsWriter};

/// The name of the file in its folder.
pub const FILE: &str = "model.safetensors";

impl Blocks {
    /// The matrix of unpacked codes `[rows, columns]`, one a byte.
    ///
    /// # Errors
    /// As [`Blocks::new`].
    pub fn from_codes(
        bits: Bits,
        block: usize,
        shape: [usize; 2],
        codes: Vec<u8>,
        scales: Vec<f32>,
        offsets: Option<Vec<f32>>,
    ) -> Result<Self, MatrixError> {
        let packed = |&[low, high]: &[u8; 2]| low | high << 4;
        let quants = match bits {
            Bits::Eight => codes,
            Bits::Four => codes.as_chunks::<2>().0.iter().map(packed).collect(),
        };
        Self::new(bits, block, shape, quants, scales, offsets)
    }
}

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
    let planned: Vec<Planned> =
        planned.chain([Planned::tensor("bias", Dtype::F32, [rows])]).collect();
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

/// Takes `bytes` as the [`FILE`] in `folder`: reads all its tensors in every way that they can be read,
/// and says how many are matrices or numbers.
///
/// # Errors
/// If the file cannot be written or is refused as a whole.
pub fn read_all(folder: &Path, bytes: &[u8]) -> Result<usize, WeightsError> {
    let path = folder.join(FILE);
    // A new file each time: over one that is there, some file systems write through to disk.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).map_err(WeightsError::read(&path))?;
    let file = WeightsFile::open(&path)?;
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
