//! Files that are damaged or lie: the error says where, and nothing is allocated on their word.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use mobillm_gguf::fixture::{GgufBuilder, Raw};
use mobillm_gguf::{Array, Gguf, GgufError, GgufFile, TensorType};

fn sound() -> GgufBuilder {
    GgufBuilder::new()
        .metadata("general.architecture", "llama")
        .metadata("tokens", Raw::array(["a", "bc", ""]))
        .metadata("scores", Raw::array([1.0_f32, -2.0]))
        .tensor("first", &[3, 2], TensorType::F32, &[1; 24])
        .tensor("second", &[2, 32], TensorType::Q4_0, &[2; 36])
}

fn complaint(file: &[u8]) -> String {
    Gguf::parse(file).unwrap_err().to_string()
}

/// The file of `builder` with `new` at the only place where `old` is.
fn replaced(builder: &GgufBuilder, old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut file = builder.build();
    let places: Vec<usize> =
        (0..=file.len() - old.len()).filter(|&at| file[at..].starts_with(old)).collect();
    let &[at] = &places[..] else { panic!("{old:?} is at {places:?}") };
    file[at..at + new.len()].copy_from_slice(new);
    file
}

/// A tensor as the header has it, row-major sizes.
fn entry(name: &str, sizes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = (name.len() as u64).to_le_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend((sizes.len() as u32).to_le_bytes());
    bytes.extend(sizes.iter().rev().flat_map(|size| size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// The complaint about `sound` whose tensor `first` is described by other numbers.
fn with_first(sizes: &[u64; 2], kind: u32, offset: u64) -> String {
    let old = entry("first", &[3, 2], 0, 0);
    complaint(&replaced(&sound(), &old, &entry("first", sizes, kind, offset)))
}

#[test]
fn a_sound_file_is_read() {
    for version in [2, 3] {
        let file = sound().version(version).build();
        let gguf = Gguf::parse(&file).unwrap();
        assert_eq!(gguf.text("general.architecture").unwrap(), Some("llama"));
        let tokens = gguf.array("tokens").unwrap().unwrap();
        let expected = ["a", "bc", ""].map(str::to_owned).to_vec();
        assert_eq!((tokens.len(), tokens), (3, &Array::Text(expected)));
        let scores = gguf.array("scores").unwrap().unwrap();
        assert_eq!(scores, &Array::Float(vec![1.0, -2.0]));
        assert_eq!(gguf.text("nothing").unwrap(), None);
        let names: Vec<_> = gguf.tensors().iter().map(|tensor| tensor.name()).collect();
        assert_eq!(names, ["first", "second"]);
        assert_eq!(gguf.tensor("first").unwrap().shape(), [3, 2]);
        assert_eq!(file[gguf.tensor("second").unwrap().range()], [2; 36]);
    }
}

#[test]
fn arrays_of_all_types_are_read_whole() {
    let file = sound()
        .metadata("u16", Raw::array([1_u16, 65535]))
        .metadata("i8", Raw::array([-128_i8, 127]))
        .metadata("i64", Raw::array([i64::MIN, 0, i64::MAX]))
        .metadata("f64", Raw::array([0.1_f64]))
        .metadata("bool", Raw::array([true, false]))
        .metadata("none", Raw::array::<u64>([]))
        .build();
    let gguf = Gguf::parse(&file).unwrap();
    let array = |key: &str| gguf.array(key).unwrap().unwrap();
    assert_eq!(array("u16"), &Array::Unsigned(vec![1, 65535]));
    assert_eq!(array("i8"), &Array::Signed(vec![-128, 127]));
    assert_eq!(array("i64"), &Array::Signed(vec![i64::MIN, 0, i64::MAX]));
    assert_eq!(array("f64"), &Array::Float(vec![0.1]));
    assert_eq!(array("bool"), &Array::Bool(vec![true, false]));
    assert!(array("none").is_empty() && !array("bool").is_empty());
}

#[test]
fn alignment_is_what_the_file_says() {
    let file = sound().alignment(256).build();
    let gguf = Gguf::parse(&file).unwrap();
    assert!(gguf.tensors().iter().all(|tensor| tensor.range().start % 256 == 0));
    assert_eq!(file[gguf.tensor("second").unwrap().range()], [2; 36]);
    for wrong in [0, 24] {
        let message = complaint(&sound().metadata("general.alignment", wrong).build());
        assert!(
            message.contains("`general.alignment`") && message.contains("power of two"),
            "{message}"
        );
    }
    let message = complaint(&sound().metadata("general.alignment", 64).build());
    assert!(message.contains("tensor `second` starts at 32"), "{message}");
}

#[test]
fn every_file_that_is_cut_short_is_refused() {
    let file = sound().build();
    for end in 0..file.len() {
        let error = Gguf::parse(&file[..end]).unwrap_err();
        let expected = matches!(
            error,
            GgufError::Truncated { .. } | GgufError::Count { .. } | GgufError::Tensor { .. }
        );
        assert!(expected && error.to_string().contains("fetch it again"), "{end}: {error}");
    }
}

#[test]
fn other_files_and_versions_are_refused() {
    assert!(complaint(b"PK\x03\x04 and more").contains(r#"starts with "PK\\x03\\x04""#));
    assert!(complaint(&sound().version(1).build()).contains("version 1 cannot"));
    assert!(complaint(&sound().version(4).build()).contains("version 4 cannot"));
    let swapped = sound().version(3_u32.swap_bytes()).build();
    assert!(complaint(&swapped).contains("version 3 in big-endian order"));
}

#[test]
fn lying_counts_are_refused() {
    for claimed in [1 << 20, u64::MAX] {
        let mut file = sound().build();
        file[8..16].copy_from_slice(&claimed.to_le_bytes());
        assert!(complaint(&file).contains(&format!("claims {claimed} tensors")));
        let mut file = sound().build();
        file[16..24].copy_from_slice(&claimed.to_le_bytes());
        assert!(complaint(&file).contains(&format!("claims {claimed} metadata entries")));
    }
    // A number that could be, and is not: what follows is read as something that it is not.
    for (at, count) in [(8, 3_u64), (16, 4), (16, 2)] {
        let mut file = sound().build();
        file[at..at + 8].copy_from_slice(&count.to_le_bytes());
        complaint(&file);
    }
}

#[test]
fn lying_lengths_are_refused() {
    let string = |length: u64, text: &str| [&length.to_le_bytes()[..], text.as_bytes()].concat();
    for length in [1 << 40, u64::MAX] {
        let file = replaced(&sound(), &string(20, "general"), &string(length, "general"));
        let message = complaint(&file);
        assert!(message.contains("the key of metadata entry 0, at byte 32"), "{message}");
        let file = replaced(&sound(), &string(2, "bc"), &string(length, "bc"));
        assert!(complaint(&file).contains("`tokens[1]`"), "{}", complaint(&file));
        let file = replaced(&sound(), &string(6, "second"), &string(length, "second"));
        assert!(complaint(&file).contains("the name of tensor 1"), "{}", complaint(&file));
        for (key, kind, count) in [("tokens", 8_u32, 3_u64), ("scores", 6, 2)] {
            let array = |count: u64| {
                [key.as_bytes(), &9_u32.to_le_bytes(), &kind.to_le_bytes(), &count.to_le_bytes()]
                    .concat()
            };
            let file = replaced(&sound(), &array(count), &array(length));
            assert!(complaint(&file).contains(key), "{}", complaint(&file));
        }
    }
}

#[test]
fn metadata_that_cannot_be_read_is_named() {
    let nested = Raw::array([Raw::array([1_u8])]);
    let message = complaint(&sound().metadata("deep", nested).build());
    assert_eq!(message, "metadata `deep` is an array of arrays, which cannot be read");
    let message = complaint(&replaced(&sound(), b"bc", b"b\xff"));
    assert!(message.starts_with("metadata `tokens[1]` is not UTF-8"), "{message}");
    let message =
        complaint(&replaced(&sound().metadata("b", true), b"b\x07\0\0\0\x01", b"b\x07\0\0\0\x02"));
    assert_eq!(message, "metadata `b` is a truth value of 2, expected 0 or 1");
    let message =
        complaint(&replaced(&sound().metadata("b", true), b"b\x07\0\0\0", b"b\x0d\0\0\0"));
    assert_eq!(message, "metadata `b` has the unknown type 13, expected 0 to 12");
    let twice = sound().metadata("tokenx", 1_u8);
    let message = complaint(&replaced(&twice, b"tokenx", b"tokens"));
    assert_eq!(message, "metadata `tokens` is there twice");
}

#[test]
fn values_of_another_type_are_named() {
    let file = sound().metadata("count", -3_i8).metadata("base", f32::NAN).build();
    let gguf = Gguf::parse(&file).unwrap();
    let message = |error: GgufError| error.to_string();
    assert_eq!(
        gguf.unsigned("count").map_err(message),
        Err("metadata `count` is the integer -3, expected an integer that is not negative".into())
    );
    assert_eq!(
        gguf.number("base").map_err(message),
        Err("metadata `base` is the number NaN, expected a finite number".into())
    );
    assert_eq!(
        gguf.text("tokens").map_err(message),
        Err("metadata `tokens` is an array of 3 elements, expected text".into())
    );
    assert!(gguf.flag("count").is_err() && gguf.array("count").is_err());
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let q5_k = with_first(&[3, 2], 13, 0);
    let known = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K";
    assert_eq!(q5_k, format!("tensor `first` is of Q5_K, which cannot be read, only {known}"));
    assert!(with_first(&[3, 2], 777, 0).contains("is of type 777"));
    assert!(with_first(&[3, 0], 0, 0).contains("is [3, 0] and has a dimension of zero"));
    for sizes in [[u64::MAX, 2], [1 << 62, 4], [1 << 32, 1 << 31]] {
        let message = with_first(&sizes, 0, 0);
        assert!(message.contains("`first`") && message.contains("more"), "{message}");
    }
    assert!(with_first(&[3, 2], 2, 0).contains("rows of Q4_0 are multiples of 32"));
    assert!(with_first(&[3, 2], 0, 7).contains("no multiple of the alignment 32"));
    assert!(with_first(&[3, 2], 0, 1 << 40).contains("`first` ends at byte"));
    assert!(with_first(&[3, 8], 0, u64::MAX - 31).contains("more than any file"));
    assert!(with_first(&[3, 3], 0, 0).contains("tensor `second` shares bytes with tensor `first`"));
    assert!(with_first(&[3, 2], 0, 32).contains("shares bytes"));

    let twice = sound().tensor("fi2st", &[1], TensorType::F32, &[0; 4]);
    assert_eq!(complaint(&replaced(&twice, b"fi2st", b"first")), "tensor `first` is there twice");
    for dimensions in [0_u32, 5, u32::MAX] {
        let old = [&b"first"[..], &2_u32.to_le_bytes()].concat();
        let new = [&b"first"[..], &dimensions.to_le_bytes()].concat();
        let message = complaint(&replaced(&sound(), &old, &new));
        assert!(message.contains(&format!("`first` has {dimensions} dimensions")), "{message}");
    }
}

#[test]
fn a_tensor_is_not_read_from_another_file() {
    let file = sound().build();
    let gguf = Gguf::parse(&file).unwrap();
    let error = gguf.tensor("second").unwrap().read_f32(&file[..file.len() - 1]).unwrap_err();
    assert!(error.to_string().contains("tensor `second` ends at byte"), "{error}");
}

#[test]
fn files_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    assert!(GgufFile::open(&path).is_err());
    std::fs::write(&path, []).unwrap();
    let error = GgufFile::open(&path).unwrap().parse().unwrap_err();
    assert!(matches!(error, GgufError::Truncated { left: 0, .. }), "{error}");
    std::fs::write(&path, sound().build()).unwrap();
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.bytes(), sound().build());
    let gguf = file.parse().unwrap();
    drop(file);
    assert_eq!(
        gguf.text("general.architecture").unwrap(),
        Some("llama"),
        "nothing stays in the map"
    );
    assert_eq!(gguf.tensors().len(), 2);
}
