//! The text of a delimited file to the cells of the wanted columns, row by row.

use std::borrow::Cow;
use std::fmt::Display;

use crate::config::{Column, Columns, quoted};
use crate::csv;
use crate::error::{Place, Problem};

/// One row of a delimited file.
pub(crate) struct Record<'a> {
    pub line: u64,
    pub fields: Vec<Cow<'a, str>>,
}

/// The wanted cells of one row.
pub(crate) struct Cells<'a> {
    pub place: Place,
    pub text: Cow<'a, str>,
    pub pair: Option<Cow<'a, str>>,
    pub label: Cow<'a, str>,
}

pub(crate) type CellRows<'a> = Box<dyn Iterator<Item = Result<Cells<'a>, Problem>> + 'a>;

/// The wanted cells of every row of `text`, which is CSV. What is wrong with the header is an error at
/// once, what is wrong with a row is an item.
pub(crate) fn comma_separated<'a>(
    text: &'a str,
    header: bool,
    columns: &'a Columns,
) -> Result<CellRows<'a>, Problem> {
    delimited(csv::Records::new(text), header, columns)
}

/// The wanted cells of every row of `text`, which is TSV. Errors are those of [`comma_separated`].
pub(crate) fn tab_separated<'a>(
    text: &'a str,
    header: bool,
    columns: &'a Columns,
) -> Result<CellRows<'a>, Problem> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty());
    let records = lines.map(|(fields, line)| {
        Ok(Record { line, fields: fields.split('\t').map(Cow::Borrowed).collect() })
    });
    delimited(records, header, columns)
}

fn delimited<'a>(
    mut records: impl Iterator<Item = Result<Record<'a>, Problem>> + 'a,
    header: bool,
    columns: &Columns,
) -> Result<CellRows<'a>, Problem> {
    let names = match header {
        true => match records.next() {
            Some(names) => Some(names?),
            None => return Ok(Box::new(std::iter::empty())),
        },
        false => None,
    };
    let place = |column: &Column| place(column, names.as_ref());
    let text = place(&columns.text)?;
    let pair = columns.pair.as_ref().map(place).transpose()?;
    let label = place(&columns.label)?;
    let wanted = text.max(label).max(pair.unwrap_or(0)) + 1;
    let mut width = names.map(|names| names.fields.len());
    Ok(Box::new(records.map(move |record| {
        let Record { line, mut fields } = record?;
        let width = *width.get_or_insert(fields.len());
        if fields.len() != width || width < wanted {
            let expected = width.max(wanted);
            let message = format!("expected {expected} columns, got {}", fields.len());
            return Err(Problem::in_line(line, message));
        }
        let mut take = |at: usize| std::mem::take(&mut fields[at]);
        let place = Place::Line(line);
        Ok(Cells { place, text: take(text), pair: pair.map(&mut take), label: take(label) })
    })))
}

/// Where `column` is, by the names in the header if there is one.
fn place(column: &Column, names: Option<&Record<'_>>) -> Result<usize, Problem> {
    match (column, names) {
        (Column::Index(index), None) => Ok(*index),
        (Column::Name(_), None) => {
            let message = format!(
                "column {column} is asked for by name, but `task.header = false` says that there \
                 are no names; give its number, from 0"
            );
            Err(Problem::in_line(1, message))
        }
        (Column::Index(_), Some(names)) => {
            let message = format!(
                "column {column} is asked for by number, but the first row names the columns: {}; \
                 use a name, or set `task.header = false`",
                quoted(&names.fields)
            );
            Err(Problem::in_line(names.line, message))
        }
        (Column::Name(name), Some(names)) => {
            named(name, &names.fields).map_err(|message| Problem::in_line(names.line, message))
        }
    }
}

/// Where the column `name` is among `names`.
pub(crate) fn named(name: &str, names: &[impl AsRef<str> + Display]) -> Result<usize, String> {
    let mut found = names.iter().enumerate().filter(|(_, field)| field.as_ref() == name);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => Err(format!("column `{name}` is not there; the file has {}", quoted(names))),
        (Some((first, _)), Some((second, _))) => Err(format!(
            "column `{name}` is there twice, as number {first} and {second} from 0; rename one"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::classification;

    fn numbers(text: usize, label: usize) -> Columns {
        Columns { text: Column::Index(text), pair: None, label: Column::Index(label) }
    }

    fn texts(rows: CellRows<'_>) -> Vec<(u64, String, String)> {
        rows.map(|cells| {
            let Cells { place, text, label, .. } = cells.unwrap();
            let Place::Line(line) = place else { panic!("{place:?}") };
            (line, text.into_owned(), label.into_owned())
        })
        .collect()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let columns = classification().columns;
        let rows = comma_separated("label,id,text\nham,1,hi\n", true, &columns).unwrap();
        assert_eq!(texts(rows), [(2, "hi".into(), "ham".into())]);
    }

    #[test]
    fn tsv_is_never_quoted_and_may_lack_a_header() {
        let columns = numbers(1, 0);
        let rows = tab_separated("ham\t\"hi, you\r\n\nspam\tb\"\n", false, &columns).unwrap();
        let expected = [(1, "\"hi, you".into(), "ham".into()), (3, "b\"".into(), "spam".into())];
        assert_eq!(texts(rows), expected);
    }

    #[test]
    fn a_file_without_rows_has_none() {
        let columns = classification().columns;
        for text in ["", "\n\n", "text,label\n"] {
            let rows = comma_separated(text, true, &columns).unwrap();
            assert_eq!(texts(rows), [], "{text:?}");
        }
    }

    #[test]
    fn a_wrong_header_lists_what_is_there() {
        let named = classification().columns;
        let message = |text: &str, header: bool, columns: &Columns| {
            comma_separated(text, header, columns).err().unwrap().message
        };
        assert_eq!(
            message("body,label\n", true, &named),
            "column `text` is not there; the file has `body`, `label`"
        );
        assert_eq!(
            message("text,label,text\n", true, &named),
            "column `text` is there twice, as number 0 and 2 from 0; rename one"
        );
        assert!(message("a,b\n", false, &named).contains("give its number"));
        assert!(message("a,b\n", true, &numbers(0, 1)).contains("`a`, `b`; use a name"));
    }

    #[test]
    fn a_row_with_too_few_or_too_many_columns_is_a_problem_of_its_line() {
        let columns = numbers(0, 1);
        let rows: Vec<_> = comma_separated("a,b\nc\nd,e,f\ng,h", false, &columns)
            .unwrap()
            .map(|row| row.map(|_| ()).map_err(|problem| (problem.place, problem.message)))
            .collect();
        assert_eq!(rows[1], Err((Place::Line(2), "expected 2 columns, got 1".into())));
        assert_eq!(rows[2], Err((Place::Line(3), "expected 2 columns, got 3".into())));
        assert!(rows[0].is_ok() && rows[3].is_ok());
        let short: Vec<_> = tab_separated("a\n", false, &columns).unwrap().collect();
        assert_eq!(short[0].as_ref().err().unwrap().message, "expected 2 columns, got 1");
    }
}
