//! What an editor makes of the schema in `docs`, and what the reference says of options. That `docs` has what the
//! program prints is held by adapters/libtorch/tests/plugin/docs.rs: the plugin that is not linked in is in it, too.
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use mobillm::config::{Config, reference, schema};
use mobillm_cli::with_builtins;
use mobillm_core::registry::Registry;
use mobillm_snapshots::{DOCS, NEEDS_LIBTORCH, config, configs};
use serde_json::Value;

use crate::load;

/// What every config must say, before a table of its own.
const LEAST: &str = "schema = 1\n[task]\nname = 'least'\ntrain = 'rows.tsv'\nlabels = ['a', 'b']\n\
                     columns = { text = 0, label = 1 }\n[device]\nbundle = 'model'\n\n";

fn registry() -> Registry {
    with_builtins().unwrap()
}

/// The file `text` as an editor sees it, and what its validator says.
fn judged(validator: &Validator, text: &str) -> Result<(), String> {
    let file: Value = toml::from_str(text).unwrap();
    validator.validate(&file).map_err(|error| format!("{}: {error}", error.instance_path()))
}

/// Of the schema that the examples' `.taplo.toml` names.
fn validator() -> Validator {
    let text = fs::read_to_string(Path::new(DOCS).join("mobillm.schema.json")).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn every_example_is_right_in_an_editor() {
    let validator = validator();
    let right = |name: &str, text: &str| {
        judged(&validator, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    for name in &configs("").unwrap() {
        right(name, &fs::read_to_string(config("", name)).unwrap());
        if name != NEEDS_LIBTORCH {
            let loaded = load(&config("", name)).unwrap_or_else(|errors| panic!("{errors}"));
            right(name, loaded.to_toml());
        }
    }
}

#[test]
fn an_editor_sees_the_mistakes_that_stand_in_one_file() {
    let validator = validator();
    let seen = [
        "future-schema",
        "many",
        "misplaced",
        "mixed",
        "not-a-table",
        "out-of-range",
        "schema-as-text",
        "unknown-choice",
        "unknown-key",
        "unknown-option",
        "unknown-plugin",
        "wrong-table",
        "wrong-type",
    ];
    for name in seen {
        let text = fs::read_to_string(config("bad", name)).unwrap();
        assert!(judged(&validator, &text).is_err(), "{name} is right in an editor");
    }
}

#[test]
fn an_editor_forgives_what_a_base_may_hold() {
    let validator = validator();
    for text in [
        "schema = 1\n[device.quantizer]\nblock = 128",
        "schema = 1\n[server.store]\nlimit_mib = 7",
        "schema = 1\n[server.side_network.architecture]\nrank = 8",
        "schema = 1\n[device.selector]\ntype = 'every-nth-layer'",
        "schema = 1\n[link.transport.inner]\naddress = '127.0.0.1:7340'",
    ] {
        judged(&validator, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    for text in
        ["schema = 1\n[device.quantizer]\nblock = 'x'", "schema = 1\n[server.store]\nlimit_mib = 0"]
    {
        assert!(judged(&validator, text).is_err(), "{text}");
    }
}

#[test]
fn an_editor_can_complete_every_option_of_every_plugin() {
    let schema = schema(&registry());
    for entry in registry().entries() {
        let slot = serde_json::to_value(entry.slot).unwrap();
        let component = &schema["$defs"][slot.as_str().unwrap()];
        // What taplo looks at: `properties`, and only where there is no `allOf`.
        assert_eq!(component.get("allOf"), None);
        let tags = component["properties"]["type"]["enum"].as_array().unwrap();
        assert!(tags.iter().any(|tag| *tag == *entry.tag), "{}", entry.tag);
        let options = entry.schema.get("properties").and_then(Value::as_object);
        for option in options.into_iter().flatten().map(|(key, _)| key) {
            assert!(component["properties"].get(option).is_some(), "{}: {option}", entry.tag);
        }
    }
}

/// The example of a plugin is a config, and what it says of defaults is what a config gets that leaves
/// them out.
#[test]
fn the_reference_says_what_configs_get() {
    for entry in registry().entries() {
        let help = reference::component(entry);
        let text = format!("{LEAST}{}", help.example);
        let loaded = Config::from_toml(&text, Path::new(""), &[], &registry());
        let loaded = loaded.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        let written: Value = toml::from_str(&text).unwrap();
        let pointer = format!("/{}", reference::places(entry.slot)[0].replace('.', "/"));
        let (resolved, example) = (loaded.resolved().pointer(&pointer), written.pointer(&pointer));
        assert_eq!(resolved, example, "the whole of `{}` is not in its example", help.tag);
    }
}

#[test]
fn every_default_of_a_table_is_what_a_config_gets() {
    let loaded = Config::from_toml(LEAST, Path::new(""), &[], &registry()).unwrap();
    // Written only where it says something.
    let mut resolved = loaded.resolved().clone();
    resolved["plugins"] = serde_json::to_value(&loaded.config.plugins).unwrap();
    let mut defaults = 0;
    for (table, options) in reference::tables() {
        for option in options.into_iter().filter(|option| option.of.is_empty()) {
            let pointer = format!("/{table}/{}", option.key.replace('.', "/"));
            let resolved = resolved.pointer(&pointer);
            match (&option.default, option.slot) {
                (Some(default), None) => {
                    assert_eq!(resolved, Some(default), "{table}.{}", option.key)
                }
                (Some(default), Some(_)) => assert_eq!(resolved.unwrap()["type"], default["type"]),
                (None, _) => continue,
            }
            defaults += 1;
        }
    }
    assert!(defaults > 20, "{defaults}");
}
