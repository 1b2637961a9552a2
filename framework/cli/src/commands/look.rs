//! `inspect`, `check`.

use std::fmt::Write;

use mobillm::assembly::Assembly;
use mobillm::check::sound;
use mobillm::config::Loaded;
use mobillm::egress::Egress;
use mobillm::pipeline::prepare;
use mobillm::{RunError, Stop};
use serde_json::{Value, json};

use super::train::draft;
use super::{Outcome, print};
use crate::arguments::{Arguments, ConfigArguments, Format, InspectArguments, Part};
use crate::hang;
use crate::machine::environment;
use crate::watcher::Watcher;

pub(super) fn inspect(arguments: &Arguments, inspect: &InspectArguments) -> Outcome {
    let environment = environment()?;
    let draft = draft(&inspect.config, &environment)?;
    hang::mind(&draft.plugins, draft.patience_seconds(), &Stop::default())?;
    let loaded = draft.finish().map_err(RunError::from)?;
    let json = arguments.json || inspect.format == Format::Json;
    if inspect.part == Part::Config {
        return print(json, loaded.resolved(), || loaded.to_toml().to_owned());
    }
    let assembly = Assembly::new(&loaded, &environment)?;
    match inspect.part {
        Part::Egress => {
            let leaving = assembly.egress();
            print(json, &leaving, || egress(&leaving))
        }
        Part::Assembly => print(json, &assembly.describe(), || describe(&assembly.describe())),
        _ => {
            let all = json!({ "config": loaded.resolved(), "assembly": assembly.describe() });
            print(json, &all, || whole(&loaded, &assembly))
        }
    }
}

fn whole(loaded: &Loaded, assembly: &Assembly) -> String {
    format!(
        "{}\n{}\n{}",
        loaded.to_toml(),
        describe(&assembly.describe()),
        egress(&assembly.egress())
    )
}

fn describe(assembly: &Value) -> String {
    let mut text = String::new();
    let model = &assembly["model"];
    let _ = writeln!(
        text,
        "model     {}, {} layers of {}, up to {} tokens",
        plain(&model["architecture"]),
        model["layers"],
        model["hidden"],
        model["max_tokens"]
    );
    let _ = writeln!(text, "taps      {}", assembly["taps"]);
    let _ = writeln!(text, "pipeline  {}", plain(&assembly["pipeline"]));
    let _ = writeln!(text, "stages");
    for stage in assembly["components"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "  {:<20} {:<14} {} ({})",
            plain(&stage["key"]),
            plain(&stage["tag"]),
            plain(&stage["origin"]),
            plain(&stage["linkage"])
        );
    }
    if let Some(libraries) = assembly["libraries"].as_array() {
        let _ = writeln!(text, "libraries");
        for library in libraries {
            let name = format!("{} {}", plain(&library["name"]), plain(&library["version"]));
            let _ = writeln!(text, "  {name:<35} sha256 {}", plain(&library["sha256"]));
        }
    }
    let _ = writeln!(text, "edges");
    for edge in assembly["edges"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "  {:>14} -> {:<14} {} {} x {}",
            plain(&edge["from"]),
            plain(&edge["to"]),
            shape(&edge["shape"]),
            plain(&edge["type"]),
            edge["times"]
        );
    }
    let sample = &assembly["bytes_per_sample"];
    let _ = write!(
        text,
        "a sample of {} tokens sends {} rows a tap, {} bytes",
        sample["tokens"], sample["rows"], sample["bytes"]
    );
    text
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shape(shape: &Value) -> String {
    let sides = shape.as_array().into_iter().flatten().map(|side| match side {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    format!("[{}]", sides.collect::<Vec<_>>().join(", "))
}

fn egress(egress: &Egress) -> String {
    let mut text = "leaves the device\n".to_owned();
    for field in &egress.fields {
        let per = serde_json::to_value(field.per).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:<12} {:>7} bytes a {:<12} {}",
            field.frame,
            field.bytes,
            plain(&per),
            field.field
        );
    }
    let _ = write!(text, "guarantee: {}", egress.guarantee);
    text
}

pub(super) fn check(arguments: &Arguments, config: &ConfigArguments) -> Outcome {
    let environment = environment()?;
    let draft = draft(config, &environment)?;
    let watcher = Watcher::new(true);
    hang::mind(&draft.plugins, draft.patience_seconds(), &watcher.watch().stop)?;
    let loaded = sound(draft, &environment)?;
    let (_, prepared) = prepare(&loaded, &environment, &watcher.watch())?;
    print(arguments.json, &prepared.report, || {
        let warnings: String = prepared
            .report
            .data
            .warnings
            .iter()
            .map(|warning| format!("\nwarning: {warning}"))
            .collect();
        format!("{}{warnings}\n{}: no mistakes", prepared.report, config.config.display())
    })
}
