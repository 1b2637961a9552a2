//! The templates: files of `templates/`, with the names that they are written with.

use std::path::{Path, PathBuf};

use mobillm::config::reference::places;
use mobillm_core::registry::Slot;
use mobillm_plugin::HEADER;
use serde_json::json;

use super::NewError;
use super::name::Name;
use crate::arguments::plugins::Language;

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $path))
    };
}

/// What a component in a slot and a language begins as.
pub(super) struct Template {
    language: Language,
    slot: Slot,
    /// Its source.
    source: &'static str,
    /// More files.
    more: &'static [(&'static str, &'static str)],
    /// Features of the kit, in Rust.
    features: &'static str,
    /// More dependencies, in Rust.
    dependencies: &'static str,
    /// The same for its tests.
    dev_dependencies: &'static str,
    /// What its tests say, in Rust.
    tests: &'static str,
}

/// How a config names the component `tag` of `slot`, wherever it has one.
fn example(slot: Slot, tag: &str) -> String {
    let of_table = |place: &&str| {
        let (table, key) = place.split_once('.').unwrap_or_default();
        format!("[{table}]\n{key} = {{ type = \"{tag}\" }}")
    };
    places(slot).iter().map(of_table).collect::<Vec<_>>().join("\n\n")
}

impl Template {
    /// The one of `slot` in `language`.
    pub(super) fn of(slot: Slot, language: Language) -> Self {
        let plain = |source| Self {
            language,
            slot,
            source,
            more: &[],
            features: "",
            dependencies: "",
            dev_dependencies: "",
            tests: "",
        };
        match (language, slot) {
            (Language::Rust, Slot::Quantizer) => Self {
                tests: template!("rust/tests/quantizer.rs"),
                ..plain(template!("rust/quantizer.rs"))
            },
            (Language::Rust, Slot::Selector) => Self {
                tests: template!("rust/tests/selector.rs"),
                ..plain(template!("rust/selector.rs"))
            },
            (Language::Rust, Slot::PrivacyPolicy) => Self {
                tests: template!("rust/tests/privacy_policy.rs"),
                ..plain(template!("rust/privacy_policy.rs"))
            },
            (Language::Rust, Slot::Backbone) => Self {
                dependencies: "ndarray = \"0.17\"\nserde_json = \"1\"\n",
                dev_dependencies: "tempfile = \"3\"\n",
                tests: template!("rust/tests/backbone.rs"),
                ..plain(template!("rust/backbone.rs"))
            },
            (Language::Rust, Slot::Transport) => Self {
                features: ", features = [\"transport\"]",
                dependencies: "async-trait = \"0.1\"\nbytes = \"1\"\nflume = \"0.12\"\n",
                tests: template!("rust/tests/transport.rs"),
                ..plain(template!("rust/transport.rs"))
            },
            (Language::Rust, Slot::SideNetwork) => Self {
                more: &[("src/file.rs", template!("rust/side_network_file.rs"))],
                // Numbers of a context must come back as they were.
                dependencies: "ndarray = \"0.17\"\nserde_json = { version = \"1\", features = [\"float_roundtrip\"] }\n",
                tests: template!("rust/tests/side_network.rs"),
                ..plain(template!("rust/side_network.rs"))
            },
            (Language::C, Slot::Quantizer) => plain(template!("c/quantizer.c")),
            (Language::C, Slot::Selector) => plain(template!("c/selector.c")),
            (Language::C, Slot::PrivacyPolicy) => plain(template!("c/privacy_policy.c")),
            (Language::C, Slot::Transport) => plain(template!("c/transport.c")),
            (Language::C, Slot::Backbone) => plain(template!("c/backbone.c")),
            (Language::C, Slot::SideNetwork) => Self {
                more: &[
                    ("head.h", template!("c/side_network_head.h")),
                    ("file.h", template!("c/side_network_file.h")),
                ],
                ..plain(template!("c/side_network.c"))
            },
        }
    }

    /// Its files, by their path in the folder of `name`; in Rust with the crates of `framework`.
    ///
    /// # Errors
    /// If there is no `framework`, or it does not have them.
    pub(super) fn files(
        &self,
        name: &Name<'_>,
        framework: Option<&Path>,
    ) -> Result<Vec<(String, String)>, NewError> {
        let fill = |text: &str| self.fill(text, name);
        let identifier = name.identifier();
        let mut files = match self.language {
            Language::Rust => vec![
                ("Cargo.toml".to_owned(), self.manifest(name, framework)?),
                ("README.md".to_owned(), fill(template!("rust/README.md"))),
                (".gitignore".to_owned(), fill(template!("rust/gitignore"))),
                ("src/lib.rs".to_owned(), fill(self.source)),
                ("tests/conformance.rs".to_owned(), fill(self.tests)),
            ],
            Language::C => vec![
                ("Makefile".to_owned(), fill(template!("c/Makefile"))),
                ("README.md".to_owned(), fill(template!("c/README.md"))),
                (".gitignore".to_owned(), fill(template!("c/gitignore"))),
                (format!("{identifier}.c"), fill(&self.with_door())),
                ("kit.h".to_owned(), fill(template!("c/kit.h"))),
                ("mobillm_plugin.h".to_owned(), HEADER.to_owned()),
            ],
        };
        files.extend(self.more.iter().map(|(path, text)| ((*path).to_owned(), fill(text))));
        Ok(files)
    }

    /// Where the library is once it is built to be tried.
    pub(super) fn library(&self, name: &Name<'_>) -> String {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let identifier = name.identifier();
        match self.language {
            Language::Rust => format!("target/debug/{prefix}{identifier}{suffix}"),
            // As the Makefile says.
            Language::C => format!("lib{identifier}.so"),
        }
    }

    /// The `Cargo.toml` of `name`.
    fn manifest(&self, name: &Name<'_>, framework: Option<&Path>) -> Result<String, NewError> {
        let manifest = template!("rust/Cargo.toml.template")
            .replace("DEV_MORE\n", self.dev_dependencies)
            .replace("MORE\n", self.dependencies)
            .replace(" FEATURES", self.features);
        with_crates(&self.fill(&manifest, name), framework.ok_or(NewError::Unpublished)?)
    }

    /// The C source with the door that the host comes in by.
    fn with_door(&self) -> String {
        let (slot, table) = match self.slot {
            Slot::Backbone => ("MOBILLM_SLOT_BACKBONE", "BACKBONE"),
            Slot::Selector => ("MOBILLM_SLOT_SELECTOR", "SELECTOR"),
            Slot::PrivacyPolicy => ("MOBILLM_SLOT_PRIVACY_POLICY", "POLICY"),
            Slot::Quantizer => ("MOBILLM_SLOT_QUANTIZER", "QUANTIZER"),
            Slot::Transport => ("MOBILLM_SLOT_TRANSPORT", "TRANSPORT"),
            Slot::SideNetwork => ("MOBILLM_SLOT_SIDE_NETWORK", "SIDE_NETWORK"),
        };
        let door = template!("c/door.c").replace("SLOT_CODE", slot).replace("TABLE", table);
        self.source.to_owned() + &door
    }

    fn fill(&self, text: &str, name: &Name<'_>) -> String {
        let tag = name.tag();
        text.replace("plugin-name", name.folder())
            .replace("plugin.tag", &tag)
            .replace("plugin_ident", &name.identifier())
            .replace("PluginType", &name.type_name(self.slot))
            .replace("QUAD", &name.payload())
            .replace("SLOTNAME", &self.slot.to_string())
            .replace("EXAMPLE", &example(self.slot, &tag))
    }
}

/// `manifest` with the crates of `framework` where it says `MOBILLM/name`.
fn with_crates(manifest: &str, framework: &Path) -> Result<String, NewError> {
    let mut text = String::new();
    for line in manifest.lines() {
        match line.split_once("MOBILLM/") {
            None => text.push_str(line),
            Some((before, after)) => {
                let (name, more) = after.split_at(after.find(',').unwrap_or(after.len()));
                // A text of JSON is one of TOML.
                let path = json!(crate_of(framework, name)?);
                text += &format!("{before}{{ path = {path}{more} }}");
            }
        }
        text.push('\n');
    }
    Ok(text)
}

/// Where the crate `name` is.
fn crate_of(framework: &Path, name: &str) -> Result<PathBuf, NewError> {
    let path = framework.join("framework").join(name);
    match path.canonicalize() {
        Ok(whole) if whole.join("Cargo.toml").exists() => Ok(whole),
        _ => Err(NewError::Framework { path: framework.to_owned(), missing: path }),
    }
}
