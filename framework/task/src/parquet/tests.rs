mod claims;

use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

use super::writer::{Values, file};
use super::*;
use crate::config::{Column, TaskConfig};
use crate::dataset::{Dataset, load};
use crate::fixtures::{Scratch, classification, regression};

const SCHEMA: &str = "required binary text (UTF8); optional binary label (UTF8);";

/// A row's number, text and label.
type Plain = (u64, String, String);

/// The cells of a file with the columns `text` and `label`, or what is wrong with it.
fn read(bytes: &[u8]) -> Result<Vec<Result<Plain, String>>, String> {
    let folder = Scratch::new();
    let path = folder.write("a.parquet", bytes);
    let shown = |problem: Problem| format!("{}: {}", problem.place, problem.message);
    let rows = cells(File::open(path).unwrap(), &classification().columns).map_err(shown)?;
    let plain = |cells: Cells<'static>| {
        let Place::Row(row) = cells.place else { panic!("{:?}", cells.place) };
        (row, cells.text.into_owned(), cells.label.into_owned())
    };
    Ok(rows.map(|row| row.map(plain).map_err(shown)).collect())
}

fn plain() -> WriterProperties {
    WriterProperties::builder().set_dictionary_enabled(false).build()
}

/// What is wrong with a file that has these columns and no row.
fn refused(schema: &str) -> String {
    read(&file(schema, plain(), Vec::new())).unwrap_err()
}

/// The labels of a file whose column `label` has this type and these values.
fn labels(kind: &str, values: Values, rows: usize) -> Vec<String> {
    let texts = Values::texts((0..rows).map(|row| format!("text {row}")));
    let schema = format!("required binary text (UTF8); optional {kind};");
    let rows = read(&file(&schema, plain(), vec![vec![texts, values]])).unwrap();
    rows.into_iter().map(|row| row.map_or_else(|problem| problem, |(.., label)| label)).collect()
}

/// Two row groups of three rows.
fn two_groups(properties: WriterProperties) -> Vec<u8> {
    let group =
        |texts: [&str; 3]| vec![Values::texts(texts), Values::texts(["ham", "spam", "ham"])];
    file(SCHEMA, properties, vec![group(["a", "b", "c"]), group(["d", "e", "a"])])
}

#[test]
fn rows_are_counted_through_the_row_groups() {
    let rows = read(&two_groups(plain())).unwrap();
    let rows: Vec<Plain> = rows.into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[4], (5, "e".into(), "spam".into()));
}

#[test]
fn a_label_is_the_text_that_it_is_in_json() {
    let int = |kind, values: [i32; 2]| labels(kind, Values::Int32(values.map(Some).into()), 2);
    assert_eq!(int("int32 label", [0, -7]), ["0", "-7"]);
    assert_eq!(int("int32 label (INT_8)", [0, -7]), ["0", "-7"]);
    assert_eq!(int("int32 label (UINT_32)", [1, -1]), ["1", "4294967295"]);
    let int = |kind, values: [i64; 2]| labels(kind, Values::Int64(values.map(Some).into()), 2);
    assert_eq!(int("int64 label", [0, i64::MIN]), ["0", "-9223372036854775808"]);
    assert_eq!(int("int64 label (INTEGER(64, false))", [1, -1]), ["1", "18446744073709551615"]);
    let booleans = Values::Boolean(vec![Some(true), Some(false)]);
    assert_eq!(labels("boolean label", booleans, 2), ["true", "false"]);
    let numbers = [1.0, 0.1, 12345.678, -2.5e-9];
    let expected = numbers.map(|number| serde_json::json!(number).to_string());
    let values = Values::Double(numbers.map(Some).into());
    assert_eq!(labels("double label", values, 4), expected);
    let values = Values::Float(vec![Some(1.0), Some(0.1), Some(f32::NAN)]);
    assert_eq!(labels("float label", values, 3), ["1.0", "0.1", "NaN"]);
    assert_eq!(labels("binary label", Values::texts(["é"]), 1), ["é"]);
}

#[test]
fn a_cell_that_is_none_is_a_problem_of_its_row() {
    let text =
        Values::Text(vec![Some(b"a".into()), Some(b"b\xff".into()), None, Some(b"d".into())]);
    let label = Values::Int64(vec![None, Some(1), Some(1), Some(1)]);
    let schema = "optional binary text (UTF8); optional int64 label;";
    let rows = read(&file(schema, plain(), vec![vec![text, label]])).unwrap();
    let problems: Vec<String> = rows[..3].iter().map(|row| row.clone().unwrap_err()).collect();
    let expected = [
        ": row 1: column `label`: expected a string or a number, got null; leave the row out",
        ": row 2: column `text`: byte 2 of the string is not UTF-8; convert it",
        ": row 3: column `text`: expected a string, got null; leave the row out",
    ];
    assert_eq!(problems, expected);
    assert_eq!(rows[3], Ok((4, "d".into(), "1".into())));
}

#[test]
fn a_column_that_cannot_be_used_says_what_it_is() {
    let label = "optional int64 label;";
    assert_eq!(
        refused("optional int64 label; optional binary body (UTF8);"),
        ": column `text` is not there; the file has `label`, `body`"
    );
    for (schema, expected) in [
        (format!("optional int32 text; {label}"), "column `text`: expected a string, got INT32"),
        (
            format!("optional binary text (DECIMAL(4, 2)); {label}"),
            "column `text`: expected a string, got DECIMAL (BYTE_ARRAY)",
        ),
        (
            format!(
                "optional group text (LIST) {{ repeated group list {{ optional binary element (UTF8); }} }} {label}"
            ),
            "column `text`: expected a string, got nested values; write them as a column of their own",
        ),
        (
            format!("repeated binary text (UTF8); {label}"),
            "column `text`: expected a string, got nested values; write them as a column of their own",
        ),
        (
            "optional binary text; optional int64 label (TIMESTAMP(MILLIS, true));".into(),
            "column `label`: expected a string or a number, got TIMESTAMP (INT64)",
        ),
        (
            "optional binary text; optional int96 label;".into(),
            "column `label`: expected a string or a number, got INT96",
        ),
    ] {
        assert_eq!(refused(&schema), format!(": {expected}"));
    }
}

#[test]
fn a_column_behind_a_nested_one_is_its_own() {
    let schema = "optional group more { optional int64 a; optional int64 b; } \
                  optional binary text (UTF8); optional int64 label;";
    let number = || Values::Int64(vec![None]);
    let group = vec![number(), number(), Values::texts(["a"]), Values::Int64(vec![Some(1)])];
    let rows = read(&file(schema, plain(), vec![group])).unwrap();
    assert_eq!(rows, [Ok((1, "a".into(), "1".into()))]);
}

#[test]
fn columns_have_names_and_no_numbers() {
    let folder = Scratch::new();
    let path = folder.write("a.parquet", two_groups(plain()));
    let mut columns = classification().columns;
    columns.label = Column::Index(1);
    let problem = cells(File::open(path).unwrap(), &columns).err().unwrap();
    let expected = "column number 1 is a number, but Parquet has names: `text`, `label`";
    assert_eq!(problem.message, expected);
}

#[test]
fn what_is_no_parquet_says_what_it_is() {
    let error = read(b"text,label\nhi,ham\n").unwrap_err();
    assert!(error.contains("it starts with `text`, not with `PAR1`;"), "{error}");
    let error = read(b"").unwrap_err();
    assert!(error.contains("it starts with ``"), "{error}");
    let error = read(b"PARE nobody knows PARE").unwrap_err();
    assert!(error.contains("it is encrypted;"), "{error}");
    let error = read(b"PAR1\0\0\0\x7fPAR1").unwrap_err();
    assert!(error.contains("its footer claims 2130706432 bytes of a file of 12;"), "{error}");
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let whole = two_groups(WriterProperties::default());
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end} bytes");
    }
    let error = read(&whole[..whole.len() / 2]).unwrap_err();
    assert!(error.contains("does not end as one; the file is damaged: fetch it"), "{error}");
}

#[test]
fn a_row_group_that_is_damaged_does_not_take_the_others_with_it() {
    let mut bytes = two_groups(WriterProperties::default());
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes.clone())).unwrap();
    let (start, length) = metadata.row_group(0).column(0).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    let rows = read(&bytes).unwrap();
    assert_eq!(rows.len(), 4);
    let error = rows[0].clone().unwrap_err();
    assert!(error.starts_with(": row group 1 of 2, column `text`: "), "{error}");
    assert!(error.ends_with("; the file is damaged: fetch it or write it again"), "{error}");
    assert_eq!(rows[1], Ok((4, "d".into(), "ham".into())));
}

#[test]
fn a_string_that_is_cut_is_a_problem_of_its_row_group() {
    let mut bytes = two_groups(plain());
    // The second string takes the length of the third with it, but for two bytes.
    let at = bytes.windows(5).position(|bytes| bytes == b"\x01\0\0\0b").unwrap();
    bytes[at] = 4;
    let rows = read(&bytes).unwrap();
    let expected = ": row group 1 of 2, column `text`: insufficient values read from column - \
                    expected: 3, got: 2; the file is damaged: fetch it or write it again";
    assert_eq!(rows[0], Err(expected.into()));
    assert_eq!(rows[1], Ok((4, "d".into(), "ham".into())));
}

#[test]
fn what_no_check_foresees_ends_as_a_message() {
    let outcome: Result<(), String> = contained(|| panic!("a decoder's own"));
    let expected = "it cannot be decoded; the file is damaged: fetch it or write it again";
    assert_eq!(outcome, Err(expected.into()));
}

#[test]
fn an_encoding_that_is_not_read_says_what_to_do() {
    for encoding in [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY] {
        let properties =
            WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding);
        let error = read(&two_groups(properties.build())).unwrap()[0].clone().unwrap_err();
        let expected = format!(
            ": row group 1 of 2, column `text`: it is encoded as {encoding}, which is not read; \
             write the file again as version 1 of the format, whose encodings are PLAIN and \
             RLE_DICTIONARY"
        );
        assert_eq!(error, expected);
    }
}

fn properties() -> impl Strategy<Value = WriterProperties> {
    let gzip = Compression::GZIP(Default::default());
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, gzip];
    (prop::sample::select(codecs.to_vec()), any::<bool>(), any::<bool>()).prop_map(
        |(codec, dictionary, second)| {
            let version = match second {
                true => WriterVersion::PARQUET_2_0,
                false => WriterVersion::PARQUET_1_0,
            };
            WriterProperties::builder()
                .set_compression(codec)
                .set_dictionary_enabled(dictionary)
                .set_column_encoding("text".into(), Encoding::PLAIN)
                .set_column_encoding("pair".into(), Encoding::PLAIN)
                .set_writer_version(version)
                // Several pages in a chunk.
                .set_data_page_row_count_limit(3)
                .set_write_batch_size(2)
                .build()
        },
    )
}

/// The data set of the same rows in each format.
fn in_each_format(config: &TaskConfig, files: [(&str, Vec<u8>); 3]) -> [Dataset; 3] {
    let folder = Scratch::new();
    files.map(|(name, bytes)| load(config, &folder.write(name, bytes), None).unwrap())
}

fn csv(rows: impl Iterator<Item = [String; 3]>) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(["text", "pair", "label"]).unwrap();
    rows.for_each(|row| writer.write_record(row).unwrap());
    writer.into_inner().unwrap()
}

proptest! {
    #[test]
    fn the_same_rows_are_the_same_data_in_every_format(
        rows in prop::collection::vec(("[a-z\",\r\n é😀]{1,9}", 0u8..2), 1..30),
        properties in properties(),
        group in 1usize..20,
    ) {
        // Two classes and two texts at least, and no text that is only blank.
        let rows: Vec<(String, i64)> = [("x".to_owned(), 0), ("y".to_owned(), 1)]
            .into_iter()
            .chain(rows.into_iter().map(|(text, label)| (format!("{text}."), label.into())))
            .chain((0..4).map(|label| (format!("{label}"), label % 2)))
            .collect();
        let mut config = classification();
        config.labels = vec!["0".into(), "1".into()];
        config.positive = None;
        config.held_out_share = 0.1;
        let json = |(text, label): &(String, i64)| {
            serde_json::json!({ "label": label, "text": text }).to_string() + "\n"
        };
        let groups = rows.chunks(group).map(|rows| {
            let labels = rows.iter().map(|(_, label)| Some(*label)).collect();
            vec![Values::Int64(labels), Values::texts(rows.iter().map(|(text, _)| text))]
        });
        let schema = "required int64 label; optional binary text (UTF8);";
        let [csv, jsonl, parquet] = in_each_format(&config, [
            ("a.csv", csv(rows.iter().map(|(text, label)| {
                [text.clone(), String::new(), label.to_string()]
            }))),
            ("a.jsonl", rows.iter().map(json).collect::<String>().into()),
            ("a.parquet", file(schema, properties, groups.collect())),
        ]);
        prop_assert_eq!(parquet.fingerprint, csv.fingerprint);
        prop_assert_eq!(parquet.fingerprint, jsonl.fingerprint);
        prop_assert_eq!(&parquet.report.train_file, &csv.report.train_file);
        prop_assert_eq!(&parquet.report.train_file, &jsonl.report.train_file);
    }

    #[test]
    fn the_same_targets_are_the_same_data_in_every_format(
        targets in prop::collection::vec(0.0f32..5.0, 3..30),
        properties in properties(),
    ) {
        let targets: Vec<f32> = [0.0, 5.0].into_iter().chain(targets).collect();
        let rows = || targets.iter().enumerate().map(|(row, target)| {
            [format!("a {row}"), "b".to_owned(), target.to_string()]
        });
        let json = |[text, pair, target]: [String; 3]| {
            format!("{{\"text\": \"{text}\", \"pair\": \"{pair}\", \"label\": {target}}}\n")
        };
        let column = |at: usize| Values::texts(rows().map(move |row| row[at].clone()));
        let labels = Values::Float(targets.iter().copied().map(Some).collect());
        let schema =
            "required binary text (UTF8); required binary pair (UTF8); optional float label;";
        let [csv, jsonl, parquet] = in_each_format(&regression(), [
            ("a.csv", csv(rows())),
            ("a.jsonl", rows().map(json).collect::<String>().into()),
            ("a.parquet", file(schema, properties, vec![vec![column(0), column(1), labels]])),
        ]);
        prop_assert_eq!(parquet.fingerprint, csv.fingerprint);
        prop_assert_eq!(parquet.fingerprint, jsonl.fingerprint);
    }

    #[test]
    fn no_damage_makes_it_panic(
        properties in properties(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of((any::<prop::sample::Index>(), 1usize..9)),
    ) {
        let mut bytes = two_groups(properties);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Some((at, count)) = cut {
            let at = at.index(bytes.len());
            bytes.drain(at..bytes.len().min(at + count));
        }
        // Damage to a value itself cannot be told; any other is a problem, which is enough here.
        let _ = read(&bytes);
    }
}
