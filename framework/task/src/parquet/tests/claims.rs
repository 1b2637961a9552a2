//! Small files that claim, or are, very much.

use parquet::file::metadata::ParquetMetaDataWriter;

use super::*;
use crate::error::{DataError, LISTED_PROBLEMS};

/// The file `bytes` with other numbers of rows in its footer.
fn claiming(bytes: &[u8], rows: [i64; 2]) -> Vec<u8> {
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::copy_from_slice(bytes));
    let mut metadata = metadata.unwrap().into_builder();
    let groups = metadata.take_row_groups().into_iter().zip(rows);
    let groups =
        groups.map(|(group, rows)| group.into_builder().set_num_rows(rows).build().unwrap());
    let metadata = metadata.set_row_groups(groups.collect()).build();
    let (rest, _) = bytes.split_last_chunk::<4>().unwrap();
    let (rest, footer) = rest.split_last_chunk().unwrap();
    let mut claiming = rest[..rest.len() - u32::from_le_bytes(*footer) as usize].to_vec();
    ParquetMetaDataWriter::new(&mut claiming, &metadata).finish().unwrap();
    claiming
}

#[test]
fn rows_that_a_file_cannot_have_are_not_believed() {
    let whole = two_groups(plain());
    for (rows, refused) in [
        ([3, -1], "a row group claims to have -1 rows; the file is damaged"),
        ([1 << 31, 3], "a row group behind row 0 claims to have 2147483648 rows, but at most "),
        (
            [3, i64::MAX - 3],
            "a row group behind row 3 claims to have 9223372036854775804 rows, but",
        ),
        ([200_000, 200_000], "a row group behind row 200000 claims to have 200000 rows, but"),
    ] {
        let error = read(&claiming(&whole, rows)).unwrap_err();
        assert!(error.contains(refused), "{error}");
        let length = claiming(&whole, rows).len();
        let limit = format!(" are read from a file of {length} bytes; the file is damaged");
        assert!(rows[1] < 0 || error.contains(&limit), "{error}");
    }
    let rows = read(&claiming(&whole, [4, 3])).unwrap();
    let error = rows[0].clone().unwrap_err();
    assert!(error.contains("column `text`: it has 3 values for 4 rows; the file is"), "{error}");
    assert_eq!(rows[1].as_ref().unwrap().0, 5, "the next row group goes on");
    assert_eq!(rows.len(), 4);
}

#[test]
fn rows_that_take_no_bytes_are_read_some_at_a_time() {
    const ROWS: usize = 50_000;
    let texts = Values::Text(vec![None; ROWS]);
    let labels = Values::Int64(vec![None; ROWS]);
    let schema = "optional binary text (UTF8); optional int64 label;";
    let bytes = file(schema, WriterProperties::default(), vec![vec![texts, labels]]);
    assert!(bytes.len() < 1000, "{}", bytes.len());
    let folder = Scratch::new();
    let file = File::open(folder.write("a.parquet", &bytes)).unwrap();
    let mut rows = Rows::open(file, &classification().columns).unwrap();
    let steps: Vec<usize> = std::iter::from_fn(|| rows.step()).map(|step| step.len()).collect();
    assert!(steps.iter().all(|step| *step <= STEP as usize));
    assert_eq!(steps.iter().sum::<usize>(), ROWS);

    let problem = load(&classification(), &folder.path().join("a.parquet"), None).unwrap_err();
    let DataError::Rows { problems, total, .. } = problem else { panic!("{problem}") };
    assert_eq!((problems.len(), total), (LISTED_PROBLEMS, ROWS));
    assert_eq!(problems[9].place, Place::Row(10));
}

#[test]
fn one_text_in_every_row_ends_where_memory_would() {
    const ROWS: usize = 100_000;
    let texts = Values::texts(vec!["a".repeat(1000); ROWS]);
    let labels = Values::texts(vec!["ham"; ROWS]);
    let bytes = file(SCHEMA, WriterProperties::default(), vec![vec![texts, labels]]);
    assert!(bytes.len() < 10_000, "{}", bytes.len());
    let rows = read(&bytes).unwrap();
    let error = rows.last().unwrap().clone().unwrap_err();
    assert!(
        error.starts_with(": row group 1 of 1, column `text`: the cells up to here"),
        "{error}"
    );
    assert!((10_000..40_000).contains(&rows.len()), "{}", rows.len());
}
