//! Matrices to store, and files to find wrong.

use std::path::PathBuf;

use mobillm_weights::{Matrix, WeightFormat};
use proptest::prelude::*;
use tempfile::TempDir;

pub fn formats() -> impl Strategy<Value = WeightFormat> {
    proptest::sample::select(WeightFormat::ALL.to_vec())
}

/// Values as those of models, with zeros, and now and then one of any finite size that f16 can hold.
fn value() -> impl Strategy<Value = f32> {
    let halves = any::<u16>().prop_map(|bits| {
        let value = mobillm_weights::f16::from_bits(bits).to_f32();
        if value.is_finite() { value } else { 0.0 }
    });
    prop_oneof![8 => -1.0f32..1.0, 1 => Just(0.0), 1 => halves]
}

/// Shapes of matrices, most of them fit for every format.
pub fn shapes() -> impl Strategy<Value = [usize; 2]> {
    let columns = prop_oneof![3 => (1usize..5).prop_map(|blocks| 32 * blocks), 1 => 1usize..70];
    (1usize..70, columns).prop_map(|(rows, columns)| [rows, columns])
}

/// A shape and its values.
pub fn matrices() -> impl Strategy<Value = ([usize; 2], Vec<f32>)> {
    shapes().prop_flat_map(|[rows, columns]| {
        (Just([rows, columns]), prop::collection::vec(value(), rows * columns))
    })
}

/// All values of `matrix`.
pub fn values(matrix: &Matrix<'_>) -> Vec<f32> {
    let mut values = vec![0.0; matrix.rows() * matrix.columns()];
    matrix.dequantize_rows(0..matrix.rows(), &mut values).unwrap();
    values
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A folder with the file `name` of these `bytes`.
pub fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A safetensors file with this header and so many bytes of data.
pub fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data).map(|at| at as u8));
    bytes
}

/// Requires `error` to say all of `words`.
#[track_caller]
pub fn says(error: impl std::fmt::Display, words: &[&str]) {
    let error = error.to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}
