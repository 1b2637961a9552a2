//! `import`, `pull`.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;

use mobillm_bundle::{ImportOptions, import as import_bundle};
use mobillm_core::backbone::BackboneInfo;
use mobillm_core::registry::Slot;
use mobillm_pull::{Cache, Stage, catalogue, locate};
use mobillm_report::Unit;
use serde_json::json;

use super::{Outcome, print};
use crate::arguments::{Arguments, ImportArguments, PullArguments};
use crate::machine::PulledModel;
use crate::watcher::Watcher;
use crate::{CommandError, with_builtins};

pub(super) fn import(arguments: &Arguments, import: &ImportArguments) -> Outcome {
    let options = ImportOptions { weights: import.weights, taps: import.taps.clone() };
    let bundle = import_bundle(&import.source, &import.out, &options)?;
    let info = bundle.info();
    print(arguments.json, info, || describe(info, &import.out))
}

fn describe(info: &BackboneInfo, out: &Path) -> String {
    format!(
        "{}: {}, {} layers of {}, up to {} tokens, bundle {}",
        out.display(),
        info.architecture,
        info.layers,
        info.hidden,
        info.max_tokens,
        info.bundle.short()
    )
}

pub(super) fn pull(arguments: &Arguments, pull: &PullArguments) -> Outcome {
    let cache = Cache::user()?;
    if pull.names.is_empty() {
        return list(arguments, &cache);
    }
    let watcher = Watcher::new(arguments.quiet);
    let registry = with_builtins()?;
    for name in &pull.names {
        let path = fetch(&cache, name, &watcher)?;
        print(arguments.json, &json!({ "name": name, "path": path }), || {
            format!("{name}: {}", path.display())
        })?;
        if let Some(remedy) = registry.remedy(Slot::SideNetwork, name) {
            let plugin = std::env::current_exe()?
                .with_file_name(format!("{DLL_PREFIX}mobillm_adapter_{name}{DLL_SUFFIX}"));
            watcher.line(&match plugin.is_file() {
                true => format!(
                    "the side network `{name}` is the plugin {}: name it in `[plugins] load`",
                    plugin.display()
                ),
                false => format!("this program has no side network `{name}`; {remedy}"),
            });
        }
    }
    Ok(())
}

/// Fetches `name`; a model is also made a bundle of, which is what configs mean by its name.
fn fetch(cache: &Cache, name: &str, watcher: &Watcher) -> Result<std::path::PathBuf, CommandError> {
    let bar = watcher.bar(name, 0, "bytes");
    let model = PulledModel::named(name)?;
    let item = model.as_ref().map_or(name, |model| model.item);
    let path = mobillm_pull::pull(cache, item, &mut |progress| {
        let stage = match progress.stage {
            Stage::Waiting => "waiting for",
            Stage::Downloading => "fetching",
            Stage::Verifying => "verifying",
            Stage::Unpacking => "unpacking",
        };
        bar.set_message(format!("{stage} {}", progress.package));
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })?;
    bar.finish_and_clear();
    let Some(model) = model else { return Ok(path) };
    let bundle = model.bundle(cache);
    if !bundle.exists() {
        watcher.line(&format!("making a bundle of {name}"));
        let options = ImportOptions { weights: model.weights, ..ImportOptions::default() };
        match import_bundle(&path, &bundle, &options) {
            // Another process has made it in the meantime.
            Err(_) if bundle.exists() => {}
            imported => drop(imported?),
        }
    }
    Ok(bundle)
}

fn list(arguments: &Arguments, cache: &Cache) -> Outcome {
    let items: Vec<_> = catalogue()
        .iter()
        .map(|item| {
            json!({
                "name": item.name,
                "version": item.version,
                "summary": item.summary,
                "license": item.license,
                "download_bytes": item.download_bytes(),
                "path": locate(cache, item.name),
            })
        })
        .collect();
    print(arguments.json, &items, || {
        let lines: Vec<String> = catalogue()
            .iter()
            .map(|item| {
                let size =
                    item.download_bytes().map_or("-".into(), |size| Unit::Bytes.show(size as f64));
                let here = if locate(cache, item.name).is_some() { "here" } else { "" };
                format!(
                    "{:<22} {:<8} {size:>9} {here:<5} {}",
                    item.name, item.version, item.summary
                )
            })
            .collect();
        lines.join("\n")
    })
}
