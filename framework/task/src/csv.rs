//! Comma-separated records as RFC 4180 has them.
//!
//! Stricter than most readers on purpose: a quote that is never closed would otherwise swallow the
//! rest of the file into one field of a row that looks sound.

use std::borrow::Cow;

use crate::error::Problem;
use crate::table::Record;

/// The records of a CSV file, blank lines left out.
pub(crate) struct Records<'a> {
    rest: &'a str,
    line: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// Takes a line's end off the front, if there is one.
    fn end_of_line(&mut self) -> bool {
        let rest = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n'));
        if let Some(rest) = rest {
            self.rest = rest;
            self.line += 1;
        }
        rest.is_some()
    }

    fn field(&mut self) -> Result<Cow<'a, str>, Problem> {
        if let Some(inside) = self.rest.strip_prefix('"') {
            return self.quoted(inside);
        }
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        if rest.starts_with(',') {
            self.rest = rest;
            return Ok(field.into());
        }
        let field = field.strip_suffix('\r').unwrap_or(field);
        self.rest = &self.rest[field.len()..];
        if self.rest == "\r" {
            self.rest = "";
        }
        Ok(field.into())
    }

    fn quoted(&mut self, inside: &'a str) -> Result<Cow<'a, str>, Problem> {
        let opened = self.line;
        let Some(end) = closing_quote(inside) else {
            self.rest = "";
            return Err(Problem::in_line(opened, "a quote is opened here and never closed"));
        };
        let field = &inside[..end];
        self.line += field.matches('\n').count() as u64;
        self.rest = &inside[end + 1..];
        if !(self.rest.is_empty() || self.rest.starts_with([',', '\n', '\r'])) {
            let message = "there is text after a closing quote; a quote inside a quoted field is \
                           written twice (\"\")";
            let problem = Problem::in_line(self.line, message);
            self.skip_line();
            return Err(problem);
        }
        Ok(if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() })
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        self.end_of_line();
    }
}

/// Where the quote is that closes a field, two in a row being one of the field itself.
fn closing_quote(inside: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + inside[from..].find('"')?;
        if !inside[at + 1..].starts_with('"') {
            return Some(at);
        }
        from = at + 2;
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.end_of_line() {}
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            match self.field() {
                Ok(field) => fields.push(field),
                Err(problem) => return Some(Err(problem)),
            }
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if self.rest.is_empty() || self.end_of_line() {
                return Some(Ok(Record { line, fields }));
            } else {
                // Only a lone carriage return is left that is neither.
                let message = "there is a carriage return without a line feed after a field";
                self.skip_line();
                return Some(Err(Problem::in_line(line, message)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Result<(u64, Vec<String>), Problem>> {
        let plain = |record: Record<'_>| {
            (record.line, record.fields.into_iter().map(Cow::into_owned).collect())
        };
        Records::new(text).map(|record| record.map(plain)).collect()
    }

    fn row(line: u64, fields: &[&str]) -> Result<(u64, Vec<String>), Problem> {
        Ok((line, fields.iter().map(|&field| field.to_owned()).collect()))
    }

    #[test]
    fn records_know_their_first_line() {
        let text = "a,b\r\n\n\"x\ny\",\"say \"\"hi\"\"\"\r\n,\nlast \"one\",z";
        let expected = [
            row(1, &["a", "b"]),
            row(3, &["x\ny", "say \"hi\""]),
            row(5, &["", ""]),
            row(6, &["last \"one\"", "z"]),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn the_end_of_the_file_may_end_the_line() {
        for end in ["", "\n", "\r\n", "\r"] {
            assert_eq!(read(&format!("a,b{end}")), [row(1, &["a", "b"])], "{end:?}");
        }
        assert_eq!(read("a,"), [row(1, &["a", ""])]);
        assert_eq!(read("a,\"b\""), [row(1, &["a", "b"])]);
    }

    #[test]
    fn an_open_quote_is_an_error_where_it_opens() {
        let rows = read("a,b\nham,\"never closed\nspam,x\n");
        assert_eq!(rows[1].as_ref().unwrap_err().place, Place::Line(2));
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn text_after_a_quote_is_an_error_and_the_next_line_is_read() {
        let rows = read("\"a\"b,c\nd,e");
        assert!(rows[0].as_ref().unwrap_err().message.contains("after a closing quote"));
        assert_eq!(rows[1], row(2, &["d", "e"]));
        assert!(read("\"a\"\rb\nc").remove(0).is_err());
    }

    proptest! {
        #[test]
        fn what_another_writer_wrote_is_read_back(
            rows in prop::collection::vec(prop::collection::vec("[a\",\r\n é]{0,6}", 2), 0..8),
        ) {
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let back: Vec<Vec<String>> =
                read(&text).into_iter().map(|record| record.unwrap().1).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn no_text_makes_it_panic_or_run_for_ever(text in "[a\",\r\n]{0,40}") {
            prop_assert!(Records::new(&text).count() <= text.len() + 1);
        }
    }
}
