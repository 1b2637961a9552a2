//! Headers that lie.

use mobillm_weights::WeightsFile;

use crate::setup::{file, safetensors, says};

#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) {
    let (_folder, path) = file("model.safetensors", bytes);
    let error = WeightsFile::open(&path).unwrap_err();
    says(error, &[&["model.safetensors"], words].concat());
}

/// A header with the tensors x and y, of which `second` is the entry of y.
fn two(second: &str) -> String {
    format!(r#"{{"x":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},"y":{second}}}"#)
}

#[test]
fn places_outside_the_file() {
    let outside = two(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,16]}"#);
    refused(&safetensors(&outside, 15), &["tensor y", "8..16 of 15", "cut short"]);
    let far = two(
        r#"{"dtype":"U8","shape":[9],"data_offsets":[18446744073709551606,18446744073709551615]}"#,
    );
    refused(&safetensors(&far, 16), &["tensor y", "of 16"]);
    let backwards = two(r#"{"dtype":"U8","shape":[4],"data_offsets":[8,4]}"#);
    refused(&safetensors(&backwards, 16), &["tensor y", "8..4"]);
    let huge = two(r#"{"dtype":"U8","shape":[4],"data_offsets":[8,99999999999999999999]}"#);
    refused(&safetensors(&huge, 16), &["y", "damaged header"]);
}

#[test]
fn tensors_that_overlap_or_leave_gaps() {
    let overlap = two(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#);
    refused(&safetensors(&overlap, 12), &["tensor y", "4..12", "start at 8"]);
    let same = two(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#);
    refused(&safetensors(&same, 8), &["0..8", "start at 8"]);
    let gap = two(r#"{"dtype":"F32","shape":[2],"data_offsets":[12,20]}"#);
    refused(&safetensors(&gap, 20), &["tensor y", "12..20", "start at 8"]);
    let rest = two(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,16]}"#);
    refused(&safetensors(&rest, 17), &["17 bytes", "end at 16"]);
}

#[test]
fn lengths_that_are_not_those_of_the_shapes() {
    for shape in ["[1]", "[3]", "[2,2]", "[0]", "[4294967296,4294967296,4294967296]", "[]"] {
        let lie = two(&format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[8,16]}}"#));
        refused(&safetensors(&lie, 16), &["tensor y", "8 bytes", "F32"]);
    }
    let negative = two(r#"{"dtype":"F32","shape":[-1],"data_offsets":[8,16]}"#);
    refused(&safetensors(&negative, 16), &["damaged header", "y"]);
    let bits = two(r#"{"dtype":"F4","shape":[3],"data_offsets":[8,9]}"#);
    refused(&safetensors(&bits, 9), &["tensor y", "F4"]);
}

#[test]
fn lengths_of_the_header_that_the_file_does_not_have() {
    for length in [1, 3, 1_000, 99_999_999, 100_000_001, u64::MAX / 2, u64::MAX] {
        let mut bytes = length.to_le_bytes().to_vec();
        refused(&bytes, &[&length.to_string(), "0 follow"]);
        bytes.extend(b"{}");
        if length != 1 {
            refused(&bytes, &[&length.to_string(), "2 follow", "cut short"]);
        }
    }
    refused(&[], &["0 bytes"]);
    refused(b"{}", &["2 bytes", "no safetensors"]);
}

#[test]
fn text_that_is_no_header() {
    refused(&safetensors("", 0), &["damaged header"]);
    refused(&safetensors("[]", 0), &["damaged header", "tensors by name"]);
    refused(&safetensors("{\"x\":\u{0}", 0), &["damaged header"]);
    refused(&safetensors(&"[".repeat(100_000), 0), &["damaged header"]);
    refused(&safetensors(&format!("{{\"x\":{}", "[".repeat(100_000)), 0), &["damaged header"]);
    let mut no_text = safetensors("{\"??\":1}", 0);
    no_text[10] = 0xff;
    refused(&no_text, &["damaged header"]);
    refused(&safetensors(r#"{"__metadata__":{"a":1}}"#, 0), &["__metadata__"]);
    let unknown = two(r#"{"dtype":"Q4_0","shape":[2],"data_offsets":[8,16]}"#);
    refused(&safetensors(&unknown, 16), &["y", "Q4_0", "BF16"]);
    let twice = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
        "x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    refused(&safetensors(twice, 2), &["two tensors x"]);
}
