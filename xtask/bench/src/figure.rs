//! What a benchmark reports: figures with goals, as a table and as JSON.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, ContentArrangement, Table};
use serde::Serialize;

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub figure: String,
    /// The measured value.
    pub measured: Measured,
    /// What is to be reached, in words.
    pub goal: Option<String>,
    /// Whether it was reached; nothing where there is no goal.
    pub met: Option<bool>,
    /// What helps to judge the figure.
    pub note: String,
}

/// A value and how people read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// With its unit.
    pub text: String,
    /// In that unit.
    pub number: f64,
}

impl Figure {
    /// A figure without a goal; `unit` follows the number in its text.
    pub fn new(figure: impl Into<String>, number: f64, unit: &str) -> Self {
        let text = format!("{number:.2} {unit}");
        let measured = Measured { text, number };
        Self { figure: figure.into(), measured, goal: None, met: None, note: String::new() }
    }

    /// The same of what is counted: a whole number of `unit`.
    pub fn count(figure: impl Into<String>, number: u64, unit: &str) -> Self {
        let measured = Measured { text: format!("{number} {unit}"), number: number as f64 };
        Self { measured, ..Self::new(figure, 0.0, unit) }
    }

    /// A figure that could not be measured here, and why.
    pub fn unmeasured(figure: impl Into<String>, why: impl Into<String>) -> Self {
        let measured = Measured { text: "not measured".into(), number: f64::NAN };
        Self { measured, note: why.into(), ..Self::new(figure, 0.0, "") }
    }

    /// The same with what helps to judge it.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The same with a least value to reach.
    pub fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(format!("at least {goal}"));
        self.met = Some(self.measured.number >= goal);
        self
    }

    /// The same with a most value to stay at or below.
    pub fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(format!("at most {goal}"));
        self.met = Some(self.measured.number <= goal);
        self
    }

    /// The same with a least and a most value.
    pub fn within(mut self, least: f64, most: f64) -> Self {
        self.goal = Some(format!("{least} to {most}"));
        self.met = Some((least..=most).contains(&self.measured.number));
        self
    }
}

/// The figures for people.
pub fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(140);
    table.set_header(["figure", "measured", "goal", "", "note"]);
    for figure in figures {
        let met = match figure.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let goal = figure.goal.as_deref().unwrap_or_default();
        table.add_row(
            [&figure.figure, &figure.measured.text, goal, met, &figure.note].map(Cell::new),
        );
    }
    table
}

#[derive(Serialize)]
struct Report<'a> {
    benchmark: &'a str,
    figures: &'a [Figure],
}

/// Writes the figures of `benchmark` for machines: all of `file`, or nothing.
pub fn write_json(benchmark: &str, figures: &[Figure], file: &Path) -> io::Result<()> {
    let with_path = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", file.display()))
    };
    let text = serde_json::to_vec_pretty(&Report { benchmark, figures })?;
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    let partial = Path::new(&name);
    let write = || {
        let mut writer = File::create(partial)?;
        writer.write_all(&text)?;
        writer.write_all(b"\n")?;
        writer.sync_all()?;
        fs::rename(partial, file)
    };
    write().map_err(with_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_or_missed() {
        let figure = Figure::new("speed", 0.5, "of a copy");
        assert_eq!((figure.met, figure.measured.text.as_str()), (None, "0.50 of a copy"));
        assert_eq!(figure.clone().at_least(0.5).met, Some(true));
        assert_eq!(figure.clone().at_most(0.5).met, Some(true));
        assert_eq!(figure.clone().at_most(0.49).met, Some(false));
        let within = figure.clone().within(0.5, 0.6);
        assert_eq!((within.met, within.goal.as_deref()), (Some(true), Some("0.5 to 0.6")));
        assert_eq!(figure.clone().within(0.51, 0.6).met, Some(false));
        let none = Figure::count("rows again", 0, "rows").at_most(0.0);
        assert_eq!((none.met, none.measured.text.as_str()), (Some(true), "0 rows"));
        let missed = figure.at_least(0.51).note("cold");
        let text = table(&[missed]).to_string();
        for part in ["speed", "0.50 of a copy", "at least 0.51", "MISSED", "cold"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn json_says_the_same_and_errors_name_the_file() {
        let folder = std::env::temp_dir().join(format!("mobillm-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("figures.json");
        write_json("b", &[Figure::new("f", 2.0, "s").at_least(3.0)], &file).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let figure = serde_json::json!({
            "figure": "f", "measured": {"text": "2.00 s", "number": 2.0},
            "goal": "at least 3", "met": false, "note": "",
        });
        assert_eq!(json, serde_json::json!({"benchmark": "b", "figures": [figure]}));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the partial file is gone");

        let error = write_json("b", &[], &folder.join("none/f.json")).unwrap_err();
        assert!(error.to_string().contains("none/f.json"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
