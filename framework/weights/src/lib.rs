//! How the matrices of a frozen model are stored: f32, f16, 8 and 4 bit blocks, int8 rows.
//!
//! A bundle keeps its weights in one safetensors file that every backbone maps: an ONNX graph points
//! into it by offset, others read [`Matrix`]. Norms, biases and positions are f32; the matrices of
//! linear maps and the token embedding take the [`WeightFormat`] that was asked for. The matrix
//! `X.weight` of `rows` x `columns` (outputs x inputs) is stored as
//!
//! | format | `X.weight` | beside it | value |
//! |--------|------------|-----------|-------|
//! | f32    | F32 `[rows, columns]` | | as it is |
//! | f16    | F16 `[rows, columns]` | | as it is |
//! | q8     | U8 `[rows, columns / 32, 32]` | `X.scales` F32 `[rows, columns / 32]` | `(code - 128) * scale` |
//! | q4     | U8 `[rows, columns / 32, 16]` | `X.scales` F32 `[rows, columns / 32]` | `(code - 8) * scale`, low nibble first |
//! | int8   | I8 `[columns, rows]`, transposed | `X.scales` F32 `[rows]` | `code * scale` |
//!
//! Matrices whose columns are no multiple of 32 stay f32 where a row would have to be cut into blocks
//! or multiplied as integers. Blocks that come from a GGUF file are kept as they are: they may have
//! `X.offsets`, added to each value of a block, and 8 bit blocks of 16 columns. The shape does not tell
//! those from 4 bit blocks of 32, so the file's metadata says for each matrix of blocks how many bits a
//! value has.
//!
//! ```text
//! f32 values -- encode --> Encoded --+
//! GGUF blocks -- Blocks::new --------+--> WeightsWriter --> weights.safetensors --> WeightsFile
//! ```
//!
//! # Error
//!
//! A value that is read back is off by at most half a step, which is its scale: the largest magnitude
//! of its block (q8) or row (int8) over 127, or of its block over 8 (q4). In q4 the largest value is
//! exact, and those opposite to it can be off by a whole step.
//!
//! # Strange files
//!
//! [`SourceFiles`] reads what others saved, and [`WeightsFile`] trusts no header: each is checked
//! against its file before a tensor is read, and no memory is taken on its word.
//!
//! # Example
//!
//! ```
//! use mobillm_weights::{Dtype, Planned, WeightFormat, WeightsFile, WeightsWriter, encode};
//!
//! let (rows, columns) = (3, 64);
//! let values: Vec<f32> = (0..rows * columns).map(|i| (i as f32).sin()).collect();
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("weights.safetensors");
//! let planned = [
//!     Planned::matrix("up.weight", [rows, columns], WeightFormat::Q4.encoding(columns)),
//!     Planned::tensor("up.bias", Dtype::F32, [rows]),
//! ];
//! let mut writer = WeightsWriter::create(&path, &planned)?;
//! writer.write("up.weight", &encode(values.clone(), rows, columns, WeightFormat::Q4)?)?;
//! writer.write_f32("up.bias", &[1.0, 2.0, 3.0])?;
//! writer.finish()?;
//!
//! let file = WeightsFile::open(&path)?;
//! assert_eq!(file.vector("up.bias")?, [1.0, 2.0, 3.0]);
//! let matrix = file.matrix("up.weight")?;
//! let mut row = [0.0; 64];
//! matrix.dequantize_rows(1..2, &mut row)?;
//! for (value, read) in values[64..128].iter().zip(row) {
//!     assert!((value - read).abs() <= 1.0 / 8.0);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("tensors are read where they lie in the file, and that is little-endian");

mod blocks;
mod error;
mod file;
#[cfg(feature = "fixture")]
pub mod fixture;
mod format;
mod header;
mod int8;
mod matrix;
mod rows;
mod source;
mod writer;

pub use half::f16;
pub use safetensors::Dtype;

pub use blocks::{Blocks, BlocksView};
pub use error::{MatrixError, WeightsError};
pub use file::{Tensor, WeightsFile};
pub use format::{Bits, Encoding, UnknownFormat, WeightFormat};
pub use header::Location;
pub use int8::{Int8Rows, Int8RowsView};
pub use matrix::{Encoded, Matrix, encode};
pub use source::SourceFiles;
pub use writer::{Planned, WeightsWriter};
