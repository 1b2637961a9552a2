//! What is written is what is read, and mistakes of the writer are told.

use std::fs;
use std::path::Path;

use mobillm_weights::{
    Bits, Blocks, Dtype, Encoded, Encoding, Planned, Tensor, WeightFormat, WeightsError,
    WeightsFile, WeightsWriter, encode,
};
use proptest::prelude::*;
use safetensors::SafeTensors;

use crate::setup::{file, formats, matrices, safetensors, says};

/// Matrices in several formats; the last one in 8 bit blocks of 16 columns.
fn models() -> impl Strategy<Value = Vec<Encoded>> {
    let encoded = (matrices(), formats()).prop_map(|(([rows, columns], values), format)| {
        encode(values, rows, columns, format).unwrap()
    });
    let six_bits = Blocks::new(Bits::Eight, 16, [3, 32], vec![7; 96], vec![0.5; 6], None).unwrap();
    let q4_1 = Blocks::new(Bits::Four, 32, [1, 64], vec![7; 32], vec![0.5; 2], Some(vec![1.0; 2]));
    let q4_1 = Encoded::from(q4_1.unwrap());
    prop::collection::vec(encoded, 1..5).prop_map(move |mut matrices| {
        matrices.extend([q4_1.clone(), Encoded::from(six_bits.clone())]);
        matrices
    })
}

fn name(index: usize) -> String {
    format!("layers.{index}.up.weight")
}

/// Writes `matrices` and a vector of `vector` values in the order of `order`.
fn write(path: &Path, matrices: &[Encoded], vector: usize, order: impl Iterator<Item = usize>) {
    let mut planned: Vec<Planned> = matrices
        .iter()
        .enumerate()
        .map(|(index, encoded)| {
            let matrix = encoded.matrix();
            Planned::matrix(name(index), [matrix.rows(), matrix.columns()], matrix.encoding())
        })
        .collect();
    planned.push(Planned::tensor("norm.weight", Dtype::F32, [vector]));
    let mut writer = WeightsWriter::create(path, &planned).unwrap();
    for index in order {
        match matrices.get(index) {
            Some(matrix) => writer.write(&name(index), matrix).unwrap(),
            None => writer.write_f32("norm.weight", &vec![0.5; vector]).unwrap(),
        }
    }
    writer.finish().unwrap();
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read(matrices in models(), vector in 0usize..100) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        write(&path, &matrices, vector, 0..=matrices.len());
        let read = WeightsFile::open(&path).unwrap();
        for (index, matrix) in matrices.iter().enumerate() {
            prop_assert_eq!(read.matrix(&name(index)).unwrap(), matrix.matrix());
        }
        prop_assert_eq!(read.vector("norm.weight").unwrap(), vec![0.5; vector]);
        let (whole, backwards) = (fs::read(&path).unwrap(), folder.path().join("backwards"));
        write(&backwards, &matrices, vector, (0..=matrices.len()).rev());
        prop_assert!(whole == fs::read(backwards).unwrap(), "the order of writing shows");
    }

    #[test]
    fn the_format_s_own_library_reads_it_and_tensors_are_aligned(
        matrices in models(),
        vector in 0usize..100,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        write(&path, &matrices, vector, 0..=matrices.len());
        let (bytes, read) = (fs::read(&path).unwrap(), WeightsFile::open(&path).unwrap());
        let reference = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(reference.len(), read.names().count());
        for (name, view) in reference.iter() {
            let tensor = read.tensor(name).unwrap();
            prop_assert_eq!((tensor.dtype, tensor.shape), (view.dtype(), view.shape()));
            prop_assert_eq!(tensor.bytes, view.data());
            let place = read.location(name).unwrap();
            prop_assert_eq!(&bytes[place.offset..][..place.length], view.data());
            let even = place.length.is_multiple_of(64);
            let alignment = if even { 64 } else { view.dtype().bitsize() / 8 };
            prop_assert!(place.offset.is_multiple_of(alignment), "{} at {}", name, place.offset);
        }
    }
}

fn planned() -> Vec<Planned> {
    vec![
        Planned::matrix("up.weight", [2, 32], WeightFormat::Q8.encoding(32)),
        Planned::tensor("up.bias", Dtype::F32, [2]),
    ]
}

#[track_caller]
fn refused<T>(result: Result<T, WeightsError>, words: &[&str]) {
    says(result.err().unwrap(), words);
}

#[test]
fn what_was_not_announced_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut writer = WeightsWriter::create(&path, &planned()).unwrap();
    let matrix = |rows, format| encode(vec![0.0; rows * 32], rows, 32, format).unwrap();
    let other = writer.write("down.weight", &matrix(2, WeightFormat::Q8));
    refused(other, &["weights.safetensors", "down.weight", "announced"]);
    refused(writer.write("up.weight", &matrix(2, WeightFormat::F16)), &["U8", "F16", "[2, 1, 32]"]);
    let mut writer = WeightsWriter::create(&folder.path().join("second"), &planned()).unwrap();
    refused(writer.write("up.weight", &matrix(3, WeightFormat::Q8)), &["[2, 1, 32]", "[3, 1, 32]"]);
    refused(writer.write_f32("up.bias", &[1.0]), &["up.bias", "[2]", "4 bytes"]);
    let mut writer = WeightsWriter::create(&folder.path().join("third"), &planned()).unwrap();
    let damaged = writer.write_f32("up.bias", &[1.0, f32::NAN]);
    // The file that is written is not the damaged one.
    assert!(!damaged.as_ref().unwrap_err().to_string().contains("third"));
    refused(damaged, &["up.bias", "column 1", "NaN"]);
    writer.write("up.weight", &matrix(2, WeightFormat::Q8)).unwrap();
    refused(writer.finish(), &["up.bias", "is not written"]);
    let mut writer = WeightsWriter::create(&folder.path().join("fourth"), &planned()).unwrap();
    writer.write_f32("up.bias", &[1.0, 2.0]).unwrap();
    refused(writer.write_f32("up.bias", &[1.0, 2.0]), &["up.bias", "written already"]);
    refused(writer.finish(), &["up.", "is not written"]);
}

#[test]
fn tensors_of_any_type_are_written_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let planned =
        [Planned::tensor("flags", Dtype::BOOL, [3, 1]), Planned::tensor("ids", Dtype::I64, [2])];
    let mut writer = WeightsWriter::create(&path, &planned).unwrap();
    refused(writer.write_bytes("ids", Dtype::U64, &[7; 16]), &["ids", "I64", "U64"]);
    refused(writer.write_bytes("ids", Dtype::I64, &[7; 8]), &["ids", "[2]", "8 bytes"]);
    writer.write_bytes("ids", Dtype::I64, &[7; 16]).unwrap();
    writer.write_bytes("flags", Dtype::BOOL, &[1, 0, 1]).unwrap();
    writer.finish().unwrap();
    let read = WeightsFile::open(&path).unwrap();
    let tensor = |name| read.tensor(name).unwrap();
    let Tensor { dtype, shape, bytes } = tensor("flags");
    assert_eq!((dtype, shape, bytes), (Dtype::BOOL, &[3, 1][..], &[1, 0, 1][..]));
    let Tensor { dtype, shape, bytes } = tensor("ids");
    assert_eq!((dtype, shape, bytes), (Dtype::I64, &[2][..], &[7; 16][..]));
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let create = |planned: &[Planned]| WeightsWriter::create(&path, planned);
    refused(create(&[planned(), planned()].concat()), &["up.weight", "twice"]);
    let matrix = |shape, encoding| [Planned::matrix("x", shape, encoding)];
    refused(create(&matrix([usize::MAX, 32], Encoding::F16)), &["x", "addresses"]);
    let blocks = |block| Encoding::Blocks { bits: Bits::Four, block, offsets: false };
    refused(create(&matrix([2, 80], blocks(32))), &["x", "2 x 80", "power of two"]);
    refused(create(&matrix([2, 32], blocks(0))), &["x", "2 x 32", "power of two"]);
    let tensor = |dtype, shape: &[usize]| [Planned::tensor("x", dtype, shape)];
    refused(create(&tensor(Dtype::F32, &[usize::MAX / 2, 2, 3])), &["x", "addresses"]);
    refused(create(&tensor(Dtype::F4, &[3])), &["x", "a half one"]);
    assert!(!path.exists());
}

#[test]
fn a_file_is_never_overwritten_and_errors_name_it() {
    let (folder, path) = file("weights.safetensors", b"mine");
    refused(
        WeightsWriter::create(&path, &planned()),
        &["weights.safetensors", "cannot be written"],
    );
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let nowhere = folder.path().join("no folder").join("weights.safetensors");
    refused(WeightsWriter::create(&nowhere, &planned()), &["no folder", "cannot be written"]);
    refused(WeightsFile::open(&nowhere), &["no folder"]);
}

#[test]
fn parts_that_make_no_matrix_are_refused() {
    let matrix = |entries: &str, data, words: &[&str]| {
        let header = format!("{entries:<width$}", width = entries.len().next_multiple_of(8));
        let (_folder, path) = file("w.safetensors", &safetensors(&header, data));
        let read = WeightsFile::open(&path).unwrap();
        refused(read.matrix("x.weight"), words);
    };
    let weight = r#""x.weight":{"dtype":"U8","shape":[1,2,32],"data_offsets":[0,64]}"#;
    let scales = r#""x.scales":{"dtype":"F32","shape":[1,2],"data_offsets":[64,72]}"#;
    let bits = r#""__metadata__":{"x.weight":"8"}"#;
    matrix(&format!("{{{weight}}}"), 64, &["x.weight", "bits", "metadata"]);
    matrix(&format!("{{{bits},{weight}}}"), 64, &["x.scales", "not there"]);
    let bits_of_5 = bits.replace('8', "5");
    matrix(&format!("{{{bits_of_5},{weight},{scales}}}"), 72, &["Some(\"5\")"]);
    let wrong = scales.replace("F32", "I32");
    matrix(&format!("{{{bits},{weight},{wrong}}}"), 72, &["x.scales", "I32", "F32"]);
    let wrong = scales.replace("[1,2]", "[1,1]").replace("72", "68");
    matrix(&format!("{{{bits},{weight},{wrong}}}"), 68, &["1 scales", "expected 2"]);
    let wrong = weight.replace("[1,2,32]", "[2,32]");
    matrix(&format!("{{{wrong}}}"), 64, &["U8 of shape [2, 32]", "rank 3"]);
    let weight = r#""x.weight":{"dtype":"I8","shape":[3,2],"data_offsets":[0,6]}"#;
    let scales = r#""x.scales":{"dtype":"F32","shape":[1],"data_offsets":[6,10]}"#;
    matrix(&format!("{{{weight}}}"), 6, &["x.scales", "not there"]);
    matrix(&format!("{{{weight},{scales}}}"), 10, &["x.scales", "multiple"]);
    let weight = weight.replace("[3,2]", "[4,2]").replace('6', "8");
    let scales = scales.replace("[6,10]", "[8,12]");
    matrix(&format!("{{{weight},{scales}}}"), 12, &["2 x 4", "1 scales", "one a row"]);
    let empty =
        r#"{"x.weight":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}"#;
    matrix(empty, 0, &["x.weight", "empty"]);
    matrix("{}", 0, &["x.weight", "not there"]);
}

#[test]
fn values_that_start_between_addresses_are_refused() {
    let entries = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
        "x":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#;
    let header = format!("{entries:<width$}", width = entries.len().next_multiple_of(8));
    let (_folder, path) = file("w.safetensors", &safetensors(&header, 5));
    let read = WeightsFile::open(&path).unwrap();
    refused(read.vector("x"), &["x", "multiple"]);
    assert_eq!(read.tensor("x").unwrap().dtype, Dtype::F32);
    refused(read.vector("a"), &["a", "U8", "F32"]);
}
