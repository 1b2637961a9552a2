//! The option reference as a page.

use std::fmt::Write;

use mobillm_core::registry::{Registry, Slot};
use serde_json::{Value, json};

use super::super::schema::{self, SLOTS, Subschema};
use super::{ComponentHelp, OptionHelp, component, help, options_of, places, summary, toml};

/// Everything that a config may say, table by table and plugin by plugin.
pub fn markdown(registry: &Registry) -> String {
    let mut page = "# Options\n\nWhat a config may say: first its tables, then the plugins that fill a slot of it, each \
                    with an example in which\nevery default is written out. `mobillm schema --reference` prints this \
                    page from what the program checks configs\nwith; given a config, with the plugins that it loads.\n"
        .to_owned();
    tables(&mut page);
    for slot in SLOTS {
        let places: Vec<String> = places(slot).iter().map(|place| format!("`{place}`")).collect();
        let _ = write!(page, "\n## {}\n\nAt {}.\n", title(slot), places.join(" and "));
        for entry in registry.of(slot) {
            plugin(&mut page, &component(entry));
        }
    }
    page
}

fn title(slot: Slot) -> &'static str {
    match slot {
        Slot::Backbone => "Backbones",
        Slot::Selector => "Selectors",
        Slot::PrivacyPolicy => "Privacy policies",
        Slot::Quantizer => "Quantizers",
        Slot::Transport => "Transports",
        Slot::SideNetwork => "Side networks",
    }
}

fn tables(page: &mut String) {
    let of_a_file = json!({ "properties": schema::keys_of_a_file(), "required": ["schema"] });
    page.push_str("\n## Above all tables\n");
    options(page, &options_of(Subschema::root(&of_a_file)));
    let skeleton = schema::skeleton();
    let root = Subschema::root(&skeleton);
    for key in root.names() {
        let Some(table) = root.child(key) else { continue };
        let about = root.member_keyword(key, "description").and_then(Value::as_str);
        let _ = write!(
            page,
            "\n## `[{key}]`\n\n{}\n",
            about.map_or_else(|| help(table), str::to_owned)
        );
        options(page, &options_of(table));
    }
}

fn plugin(page: &mut String, plugin: &ComponentHelp) {
    let ComponentHelp { tag, help, example, origin, .. } = plugin;
    let linkage = if plugin.loaded { ", loaded" } else { "" };
    let _ = write!(page, "\n### `{tag}`\n\n{help}\n\nFrom `{origin}`{linkage}.\n");
    options(page, &plugin.options);
    let _ = write!(page, "\n```toml\n{example}```\n");
}

fn options(page: &mut String, options: &[OptionHelp]) {
    if options.is_empty() {
        return;
    }
    page.push_str("\n| option | takes | default | |\n|---|---|---|---|\n");
    for option in options {
        let cells = [key(option), takes(option), default(option), about(option)];
        let _ = writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

fn key(option: &OptionHelp) -> String {
    let of: Vec<String> = option.of.iter().map(|choice| format!("`{choice}`")).collect();
    match of.is_empty() {
        true => format!("`{}`", option.key),
        false => format!("`{}`, of {}", option.key, of.join(", ")),
    }
}

fn takes(option: &OptionHelp) -> String {
    match option.slot {
        Some(slot) => {
            let anchor = title(slot).to_lowercase().replace(' ', "-");
            format!("[{}](#{anchor})", option.takes)
        }
        None => option.takes.clone(),
    }
}

fn default(option: &OptionHelp) -> String {
    match &option.default {
        Some(value) => format!("`{}`", toml(value)),
        None if option.required => "must be given".to_owned(),
        None => String::new(),
    }
}

fn about(option: &OptionHelp) -> String {
    let choice = |value: &str, help: &str| format!("`{value}`: {}", summary(help));
    let choices = option.choices.iter().map(|found| choice(&found.value, &found.help));
    let mut lines: Vec<String> = choices.collect();
    if !option.help.is_empty() {
        lines.insert(0, summary(&option.help));
    }
    lines.join("<br>")
}
