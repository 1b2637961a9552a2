//! `plugins`: what there is and what it takes; the checks of a library; a new one.

mod check;
mod new;

use std::fmt::Write;
use std::path::Path;

use mobillm::RunError;
use mobillm::config::Plugins;
use mobillm::config::reference::{self, ComponentHelp, OptionHelp};
use mobillm_core::registry::{Entry, Registry, Slot};
use serde::Serialize;

use super::{Outcome, print};
use crate::arguments::Arguments;
use crate::arguments::plugins::{PluginSources, PluginsCommand, ShowArguments};
use crate::{CommandError, with_builtins};

pub(crate) use check::{Report, Verdict};
pub(crate) use new::NewError;

pub(super) fn plugins(arguments: &Arguments, command: &PluginsCommand) -> Outcome {
    match command {
        PluginsCommand::List(sources) => list(arguments, &sources.sources),
        PluginsCommand::Show(show) => self::show(arguments, show),
        PluginsCommand::Check(check) => check::check(arguments, check),
        PluginsCommand::New(new) => new::new(arguments, new),
        PluginsCommand::Trial(trial) => check::trial(trial),
    }
}

/// The plugins that are linked in, and those of `sources`.
pub(super) fn known(sources: &PluginSources) -> Result<Plugins, CommandError> {
    let registry = with_builtins()?;
    let mut plugins = match &sources.config {
        Some(config) => Plugins::of_config(config, &registry).map_err(RunError::from)?,
        None => Plugins::new(registry),
    };
    for library in &sources.libraries {
        plugins.load(library)?;
    }
    Ok(plugins)
}

/// The registry of [`known`].
pub(super) fn registry(sources: &PluginSources) -> Result<Registry, CommandError> {
    known(sources).map(|plugins| plugins.registry)
}

/// Where a plugin comes from.
#[derive(Serialize)]
struct Origin<'a> {
    /// The crate or library.
    origin: &'a str,
    version: &'a str,
    /// The file of a dynamic library.
    library: Option<&'a Path>,
    /// The compiler of a dynamic library.
    built_by: Option<&'a str>,
}

impl<'a> Origin<'a> {
    fn of(entry: &Entry, plugins: &'a Plugins) -> Self {
        let mut libraries = plugins.libraries.iter();
        match libraries.find(|library| entry.loaded && library.name == entry.origin) {
            Some(library) => Self {
                origin: &library.manifest.name,
                version: &library.manifest.version,
                library: Some(&library.path),
                built_by: Some(&library.built_by),
            },
            // All crates of ours have one version.
            None => Self {
                origin: entry.origin,
                version: env!("CARGO_PKG_VERSION"),
                library: None,
                built_by: None,
            },
        }
    }

    /// With its version, in few words.
    fn name(&self) -> String {
        let loaded = if self.library.is_some() { " (loaded)" } else { "" };
        format!("{} {}{loaded}", self.origin, self.version)
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    slot: Slot,
    tag: &'a str,
    #[serde(flatten)]
    origin: Origin<'a>,
    /// A line.
    help: String,
}

fn list(arguments: &Arguments, sources: &PluginSources) -> Outcome {
    let plugins = known(sources)?;
    let listed: Vec<Listed<'_>> = plugins
        .registry
        .entries()
        .map(|entry| Listed {
            slot: entry.slot,
            tag: entry.tag,
            origin: Origin::of(entry, &plugins),
            help: reference::summary(&reference::component(entry).help),
        })
        .collect();
    print(arguments.json, &listed, || {
        let rows = listed.iter().map(|Listed { slot, tag, origin, help }| {
            [slot.to_string(), (*tag).to_owned(), origin.name(), help.clone()]
        });
        columns(["slot", "tag", "comes from", "what it is"].map(str::to_owned), rows)
    })
}

/// Rows under a header, every column but the last as wide as its widest cell.
fn columns<const N: usize>(
    header: [String; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header).chain(rows).collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N - 1).filter_map(widest).collect();
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        line + &row[N - 1]
    };
    rows.iter().map(|row| line(row).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    component: ComponentHelp,
    version: &'a str,
    library: Option<&'a Path>,
    built_by: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(entry: &Entry, plugins: &'a Plugins) -> Self {
        let Origin { origin, version, library, built_by } = Origin::of(entry, plugins);
        let component = ComponentHelp { origin: origin.to_owned(), ..reference::component(entry) };
        Self { component, version, library, built_by }
    }
}

fn show(arguments: &Arguments, show: &ShowArguments) -> Outcome {
    let plugins = known(&show.sources)?;
    let named = plugins.registry.entries().filter(|entry| entry.tag == show.tag);
    let shown: Vec<Shown<'_>> = named.map(|entry| Shown::of(entry, &plugins)).collect();
    if shown.is_empty() {
        return Err(CommandError::NoPlugin { tag: show.tag.clone() });
    }
    print(arguments.json, &shown, || shown.iter().map(described).collect::<Vec<_>>().join("\n\n"))
}

fn described(Shown { component, version, library, built_by }: &Shown<'_>) -> String {
    let mut text = format!("{} `{}`\n", component.slot, component.tag);
    let _ = write!(text, "{} {version}, ", component.origin);
    let _ = match (library, built_by) {
        (Some(path), Some(compiler)) => {
            writeln!(text, "loaded from {}, built by {compiler}", path.display())
        }
        _ => writeln!(text, "linked in"),
    };
    if !component.help.is_empty() {
        let _ = writeln!(text, "\n{}", component.help.trim_end());
    }
    text.push_str(if component.options.is_empty() { "\nno options\n" } else { "\noptions\n" });
    for option in &component.options {
        text.push_str(&of_option(option));
    }
    let _ = write!(text, "\nexample\n{}", indented(&component.example, 2));
    text
}

fn of_option(option: &OptionHelp) -> String {
    let mut text = format!("  {}: {}", option.key, option.takes);
    match &option.default {
        Some(default) => {
            let _ = write!(text, "; default {}", reference::toml(default));
        }
        None if option.required => text.push_str("; required"),
        None => {}
    }
    if !option.of.is_empty() {
        let _ = write!(text, " (with `{}`)", option.of.join("`, `"));
    }
    text.push('\n');
    if !option.help.is_empty() {
        let _ = writeln!(text, "{}", indented(&option.help, 6));
    }
    for choice in &option.choices {
        let _ = writeln!(
            text,
            "{}",
            indented(&format!("`{}`: {}", choice.value, reference::summary(&choice.help)), 6)
        );
    }
    text
}

/// Every line of `text` that is not empty, moved to the right.
fn indented(text: &str, by: usize) -> String {
    let moved = |line: &str| match line.is_empty() {
        true => String::new(),
        false => format!("{:by$}{line}", ""),
    };
    text.trim_end().lines().map(moved).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["größer", "b", "a line"], ["c", "", ""]].map(|row| row.map(str::to_owned));
        let text = columns(["x", "yy", "z"].map(str::to_owned), rows);
        assert_eq!(text, "x       yy  z\ngrößer  b   a line\nc");
    }

    #[test]
    fn a_tag_of_two_slots_is_shown_for_both() {
        let plugins = Plugins::new(with_builtins().unwrap());
        let of = |tag| plugins.registry.entries().filter(move |entry| entry.tag == tag);
        let slots: Vec<Slot> = of("candle").map(|entry| entry.slot).collect();
        assert_eq!(slots, [Slot::Backbone, Slot::SideNetwork]);
        for entry in of("candle") {
            let text = described(&Shown::of(entry, &plugins));
            assert!(text.starts_with(&format!("{} `candle`\nmobillm-", entry.slot)), "{text}");
            assert!(text.contains(", linked in\n") && text.contains("\nexample\n  ["), "{text}");
        }
    }
}
