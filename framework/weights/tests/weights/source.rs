//! Weights as strangers save them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use mobillm_weights::{Dtype, SourceFiles};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;

use crate::setup::{bits, says};

/// Values, their bytes as `dtype`, and what those bytes are as f32.
fn stored(dtype: Dtype, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let half = |value: &f32| f16::from_f32(*value);
    let brain = |value: &f32| bf16::from_f32(*value);
    match dtype {
        Dtype::F16 => (
            values.iter().flat_map(|value| half(value).to_le_bytes()).collect(),
            values.iter().map(|value| half(value).to_f32()).collect(),
        ),
        Dtype::BF16 => (
            values.iter().flat_map(|value| brain(value).to_le_bytes()).collect(),
            values.iter().map(|value| brain(value).to_f32()).collect(),
        ),
        _ => (values.iter().flat_map(|value| value.to_le_bytes()).collect(), values.to_vec()),
    }
}

/// Saves `tensors` with the format's own library.
fn save(path: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
    let tensors = tensors.iter().map(|&(name, dtype, shape, bytes)| {
        (name.to_owned(), TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
    });
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

proptest! {
    #[test]
    fn parts_are_those_of_the_whole(
        (rows, columns) in (1usize..150, 1usize..40),
        dtype in prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::BF16]),
        seed in any::<u32>(),
        parts in prop::array::uniform4(any::<prop::sample::Index>()),
    ) {
        let values: Vec<f32> =
            (0..rows * columns).map(|i| ((i as u32 ^ seed) as f32).sin() * 3.0).collect();
        let (bytes, expected) = stored(dtype, &values);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        // A tensor of 1 byte before it in the order of names: nothing is aligned.
        save(&path, &[("a", Dtype::U8, &[1], &[1]), ("w", dtype, &[rows, columns], &bytes)]);
        let source = SourceFiles::open(folder.path()).unwrap();
        prop_assert_eq!(bits(&source.values("w").unwrap()), bits(&expected));

        let range = |from: usize, to: usize| from.min(to)..from.max(to);
        let some = range(parts[0].index(rows + 1), parts[1].index(rows + 1));
        let got = source.rows("w", some.clone()).unwrap();
        prop_assert_eq!(bits(&got), bits(&expected[some.start * columns..some.end * columns]));

        let some = range(parts[2].index(columns + 1), parts[3].index(columns + 1));
        let transposed: Vec<f32> = some
            .clone()
            .flat_map(|column| (0..rows).map(move |row| (row, column)))
            .map(|(row, column)| expected[row * columns + column])
            .collect();
        prop_assert_eq!(bits(&source.transposed("w", some).unwrap()), bits(&transposed));
    }
}

/// A model in two shards with this index.
fn sharded(weight_map: &BTreeMap<&str, &str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let one = 1f32.to_le_bytes();
    save(&folder.path().join("1.safetensors"), &[("a", Dtype::F32, &[1], &one)]);
    let two = [2f32.to_le_bytes(), 3f32.to_le_bytes()].concat();
    save(&folder.path().join("2.safetensors"), &[("b", Dtype::F32, &[2], &two)]);
    let index = json!({"metadata": {"total_size": 12}, "weight_map": weight_map});
    let path = folder.path().join("model.safetensors.index.json");
    fs::write(path, index.to_string()).unwrap();
    folder
}

#[track_caller]
fn refused(folder: &Path, words: &[&str]) {
    says(SourceFiles::open(folder).unwrap_err(), words);
}

#[test]
fn shards_are_one_model() {
    let folder = sharded(&BTreeMap::from([("a", "1.safetensors"), ("b", "2.safetensors")]));
    let source = SourceFiles::open(folder.path()).unwrap();
    assert_eq!(source.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(source.values("a").unwrap(), [1.0]);
    assert_eq!(source.rows("b", 1..2).unwrap(), [3.0]);
    assert_eq!(source.tensor("b").unwrap().shape, [2]);
    assert!(source.tensor("c").is_none());
}

#[test]
fn an_index_that_lies_is_refused() {
    let index = BTreeMap::from([("a", "1.safetensors"), ("c", "2.safetensors")]);
    refused(sharded(&index).path(), &["index.json", "tensor c", "2.safetensors"]);
    let swapped = BTreeMap::from([("a", "2.safetensors"), ("b", "1.safetensors")]);
    refused(sharded(&swapped).path(), &["index.json", "tensor a", "2.safetensors"]);
    refused(sharded(&BTreeMap::from([("a", "3.safetensors")])).path(), &["3.safetensors"]);
    for outside in ["../1.safetensors", "/etc/passwd", "..", ".", "", "x/"] {
        refused(sharded(&BTreeMap::from([("a", outside)])).path(), &["index.json", "file name"]);
    }
    let folder = sharded(&BTreeMap::from([("a", "1.safetensors"), ("b", "2.safetensors")]));
    fs::write(folder.path().join("model.safetensors.index.json"), "{\"weight_map\": 1}").unwrap();
    refused(folder.path(), &["index.json", "line 1"]);
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let folder = sharded(&BTreeMap::from([("a", "1.safetensors"), ("b", "2.safetensors")]));
    let one = 1f32.to_le_bytes();
    let again = [("a", Dtype::F32, &[1][..], &one[..]), ("b", Dtype::F32, &[1][..], &one[..])];
    save(&folder.path().join("2.safetensors"), &again);
    refused(folder.path(), &["2.safetensors", "tensor a", "another file"]);
}

#[test]
fn a_folder_without_weights_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["model.safetensors", "save_pretrained"]);
}

#[test]
fn what_is_not_there_or_no_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tensors =
        [("ids", Dtype::I64, &[1][..], &[0; 8][..]), ("w", Dtype::F16, &[2, 3][..], &[0; 12][..])];
    save(&folder.path().join("model.safetensors"), &tensors);
    let source = SourceFiles::open(folder.path()).unwrap();
    let refused = |result: Result<Vec<f32>, _>, words: &[&str]| says(result.unwrap_err(), words);
    refused(source.values("v"), &["model.safetensors", "tensor v", "not there"]);
    refused(source.values("ids"), &["tensor ids", "I64", "BF16"]);
    refused(source.rows("w", 1..3), &["tensor w", "2 rows", "1..3"]);
    refused(source.transposed("w", 0..4), &["tensor w", "3 columns", "0..4"]);
    assert!(source.rows("w", 2..2).unwrap().is_empty());
}
