//! `plugins check`: a library judged by the laws of what it has, in processes of its own.
//!
//! This process never loads the library. Each look at it and each law is tried by a child, the same program as
//! `mobillm plugins trial`: so a crash, an abort or a hang is told of the law that it came with, and the other laws are
//! tried all the same. What the host itself needs for a law is made here: if it cannot be made, no plugin is to blame.

mod child;
mod suite;
mod trial;

use std::fs;
use std::path::Path;
use std::time::Duration;

use mobillm::RunError;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::BackboneContext;
use mobillm_core::registry::{Registry, Slot};
use mobillm_plugin::{Component, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tempfile::TempPath;

use self::child::Child;
use self::trial::{Seen, Task};
use super::super::{Outcome, print};
use crate::arguments::Arguments;
use crate::arguments::plugins::{CheckArguments, TaggedOptions};
use crate::display;
use crate::machine::environment;
use crate::watcher::Watcher;
use crate::{CommandError, with_builtins};

pub(super) use trial::trial;

/// Whom a law is about that is about none of its components.
const LIBRARY: &str = "library";

/// Laws of a library.
const LOADS: &str = "it loads";
const MANIFEST: &str = "it is what its manifest says";
const COMPONENTS: &str = "it has components";

/// Mobillm's own libraries whose tags have no vendor: the adapter for libtorch, and what is built in as tests load it.
const OURS: [&str; 2] = ["mobillm-adapter-libtorch", "mobillm-plugin-builtins"];

/// The vendor that nobody else is.
pub(super) const US: &str = "mobillm";

/// How a component fares under a law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "reason")]
pub(crate) enum Verdict {
    /// It keeps the law.
    Passed,
    /// It breaks it: what was seen.
    Failed(String),
    /// It was not tried, or is not for it: why not.
    Skipped(String),
}

/// A law that was tried.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The library, or one of its components.
    pub(crate) of: String,
    /// The law.
    pub(crate) law: String,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What the library says of itself, if it could be loaded.
    pub(crate) library: Option<Seen>,
    /// Every law.
    pub(crate) laws: Vec<Row>,
}

impl Report {
    fn add(&mut self, of: &str, law: &str, verdict: Verdict) {
        self.laws.push(Row { of: of.to_owned(), law: law.to_owned(), verdict });
    }

    fn failed(&self) -> usize {
        self.laws.iter().filter(|row| matches!(row.verdict, Verdict::Failed(_))).count()
    }

    /// Writes the manifest of the library, which has passed, beside `file`.
    fn seal(&mut self, file: &Path) -> Outcome {
        let Some(seen) = &mut self.library else { return Ok(()) };
        let written = file.canonicalize().and_then(|library| seen.manifest.write(&library));
        written.map_err(|error| CommandError::Seal {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        seen.sealed = true;
        let of_manifest = self.laws.iter_mut().filter(|row| row.law == MANIFEST);
        of_manifest.for_each(|row| row.verdict = Verdict::Passed);
        Ok(())
    }
}

pub(super) fn check(arguments: &Arguments, check: &CheckArguments) -> Outcome {
    let CheckArguments { file, .. } = check;
    let watcher = Watcher::of_run(arguments.quiet)?;
    let copy = check.seal.then(|| copy(file)).transpose()?;
    let child = Child {
        file: copy.as_deref().unwrap_or(file),
        name: file,
        patience: Duration::from_secs(check.patience),
        stop: watcher.watch().stop,
    };
    let mut report = Report::default();
    match child.run::<Seen>(&Task::Look)? {
        Err(reason) => {
            report.add(LIBRARY, LOADS, Verdict::Failed(reason));
            for law in [MANIFEST, COMPONENTS] {
                report.add(LIBRARY, law, Verdict::Skipped("it does not load".to_owned()));
            }
        }
        Ok(seen) => {
            try_library(&child, &seen, check, &mut report, &watcher)?;
            report.library = Some(seen);
        }
    }
    let failed = report.failed();
    if check.seal && failed == 0 {
        report.seal(file)?;
    }
    print(arguments.json, &report, || display::laws(&report))?;
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::Laws { file: file.clone(), failed, laws: report.laws.len() }),
    }
}

/// A copy of the library, beside it for what it looks for there. It has no manifest, so the one that is to be replaced
/// does not keep it from being tried; and what was tried is what is sealed, whatever a build does meanwhile.
fn copy(file: &Path) -> Result<TempPath, CommandError> {
    let library = file.canonicalize().map_err(RunError::file("find", file))?;
    let copy = tempfile::Builder::new()
        .prefix(".mobillm-check-")
        .tempfile_in(library.with_file_name(""))
        .map_err(RunError::file("write a copy beside", &library))?
        .into_temp_path();
    fs::copy(&library, &copy).map_err(RunError::file("copy", library))?;
    Ok(copy)
}

/// A manifest that does not agree keeps a library from being loaded at all.
fn of_manifest(seen: &Seen, is_to_be_sealed: bool) -> Verdict {
    match (is_to_be_sealed, seen.sealed) {
        (true, _) => Verdict::Skipped("it is written once no law is broken".to_owned()),
        (false, true) => Verdict::Passed,
        (false, false) => Verdict::Skipped("it has none; `--seal` writes it".to_owned()),
    }
}

fn of_components(seen: &Seen, given: &[TaggedOptions]) -> Verdict {
    let has = |tag: &str| seen.components.iter().any(|component| component.tag == tag);
    match given.iter().find(|given| !has(&given.tag)) {
        _ if seen.components.is_empty() => Verdict::Failed("it lists none".to_owned()),
        Some(given) => Verdict::Failed(format!("`{}` has options, but is not there", given.tag)),
        None => Verdict::Passed,
    }
}

/// What a component is tried with: what is given, or else its defaults, and the example that its schema has of an option
/// without one.
fn options(component: &Component, given: &[TaggedOptions]) -> Map<String, Value> {
    if let Some(given) = given.iter().find(|given| given.tag == component.tag) {
        return given.options.clone();
    }
    let example = |option: &str| {
        let path = format!("/properties/{option}/examples/0");
        component.schema.pointer(&path).map(|example| (option.to_owned(), example.clone()))
    };
    required(component).filter_map(example).collect()
}

/// The options that must be given.
fn required(component: &Component) -> impl Iterator<Item = &str> {
    let required = component.schema.get("required").and_then(Value::as_array);
    required.into_iter().flatten().filter_map(Value::as_str)
}

/// All laws of a library that loads.
fn try_library(
    child: &Child<'_>,
    seen: &Seen,
    check: &CheckArguments,
    report: &mut Report,
    watcher: &Watcher,
) -> Outcome {
    let builtins = with_builtins()?;
    let given = &check.options;
    report.add(LIBRARY, LOADS, Verdict::Passed);
    report.add(LIBRARY, MANIFEST, of_manifest(seen, check.seal));
    report.add(LIBRARY, COMPONENTS, of_components(seen, given));
    for component in &seen.components {
        let of = format!("{} `{}`", component.slot, component.tag);
        report.add(&of, "its tag is free and well-formed", of_tag(component, &builtins));
        report.add(&of, "its tag names its vendor", of_vendor(component, &seen.manifest));
        report.add(&of, "its schema tells people what there is", of_schema(component));
        try_component(child, component, &options(component, given), &of, report, watcher)?;
    }
    Ok(())
}

/// The laws of its slot.
fn try_component(
    child: &Child<'_>,
    component: &Component,
    options: &Map<String, Value>,
    of: &str,
    report: &mut Report,
    watcher: &Watcher,
) -> Outcome {
    let Component { slot, tag, .. } = component;
    let folder = tempfile::tempdir()?;
    let backbone = match slot {
        Slot::Backbone => Some(Box::new(tiny_model(folder.path())?)),
        _ => None,
    };
    let task = |law: Option<&String>| Task::Try {
        slot: *slot,
        tag: tag.clone(),
        options: options.clone(),
        backbone: backbone.clone(),
        law: law.cloned(),
    };
    let laws: Vec<String> = match child.run(&task(None))? {
        Ok(laws) => laws,
        Err(reason) => {
            report.add(of, "it loads again", Verdict::Failed(reason));
            return Ok(());
        }
    };
    if let Some(missing) = missing(component, options) {
        let reason = format!(
            "`{missing}` has neither default nor example; say what it is to be: --options '{tag}={{\"{missing}\": ...}}'"
        );
        report.add(of, "its options are all there", Verdict::Failed(reason));
        for law in &laws {
            report.add(of, law, Verdict::Skipped(format!("`{missing}` is missing")));
        }
        return Ok(());
    }
    let bar = watcher.bar(tag, laws.len() as u64, "laws");
    for law in &laws {
        let verdict = child.run(&task(Some(law)))?.unwrap_or_else(Verdict::Failed);
        report.add(of, law, verdict);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// What backbones are built from to be tried: a bundle in `folder`.
fn tiny_model(folder: &Path) -> Result<BackboneContext, CommandError> {
    let bundle = TinyBert::default().bundle(&folder.join("bundle"))?;
    Ok(BackboneContext {
        bundle: bundle.path().to_owned(),
        taps: Vec::new(),
        label_tokens: Vec::new(),
        libraries: environment()?.libraries,
    })
}

/// An option that must be given and is not.
fn missing<'a>(component: &'a Component, options: &Map<String, Value>) -> Option<&'a str> {
    required(component).find(|option| !options.contains_key(*option))
}

fn of_tag(Component { slot, tag, .. }: &Component, builtins: &Registry) -> Verdict {
    let is_one = tag.starts_with(|first: char| first.is_ascii_lowercase())
        && tag.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
    match builtins.entry(*slot, tag) {
        Some(entry) => Verdict::Failed(format!(
            "{} has a {slot} of that name; put your name and a dot before yours",
            entry.origin
        )),
        None if !is_one => {
            let expected =
                "expected lower-case letters, digits, hyphens and dots, such as `acme.q6`";
            Verdict::Failed(format!("`{tag}` is no tag; {expected}"))
        }
        None => Verdict::Passed,
    }
}

/// Whoever gives a tag without a vendor may find it taken by another, or by mobillm itself one day.
fn of_vendor(Component { tag, .. }: &Component, library: &Manifest) -> Verdict {
    let is_ours = OURS.contains(&&*library.name);
    let parts = tag.split_once('.').filter(|(vendor, name)| !vendor.is_empty() && !name.is_empty());
    match parts {
        Some((US, _)) if !is_ours => Verdict::Failed(format!(
            "`{tag}` says that it is a part of mobillm; put your own name before the dot"
        )),
        Some(_) => Verdict::Passed,
        None if is_ours => Verdict::Skipped("it is a part of mobillm".to_owned()),
        None => Verdict::Failed(format!(
            "`{tag}` may be another's, too; expected vendor, dot and name, such as `acme.q8`"
        )),
    }
}

/// Configs are checked against the schema, and helps are made of it.
fn of_schema(component: &Component) -> Verdict {
    let schema = component.schema.as_value();
    let described =
        |schema: &Value| schema["description"].as_str().is_some_and(|text| !text.is_empty());
    let properties = schema["properties"].as_object();
    let silent = properties.into_iter().flatten().find(|(_, option)| !described(option));
    match silent {
        _ if schema["type"] != "object" => {
            Verdict::Failed(format!("its `type` is {}, expected \"object\"", schema["type"]))
        }
        _ if !described(schema) => Verdict::Failed(
            "it has no `description`, the line of help in `plugins list`".to_owned(),
        ),
        Some((name, _)) => Verdict::Failed(format!("the option `{name}` has no `description`")),
        None => Verdict::Passed,
    }
}
