//! What is laid over what, and where paths start from.

use std::fs;
use std::path::PathBuf;

use mobillm_core::fingerprint::Fingerprint;
use serde_json::json;
use tempfile::TempDir;

use super::{WHOLE, at, lines, load, plugins, whole};
use crate::config::{Config, ConfigErrors, Loaded, Location, Plugins};

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, name: &str) -> Result<Loaded, ConfigErrors> {
        Config::load(&self.path(name), &[], &plugins::registry())
    }

    /// The mistakes with this folder cut from them.
    fn mistakes(&self, name: &str) -> Vec<String> {
        let here = format!("{}/", self.0.path().display());
        let errors = lines(self.load(name).unwrap_err());
        errors.into_iter().map(|line| line.replace(&here, "")).collect()
    }
}

#[test]
fn an_absolute_config_means_the_same_from_everywhere() {
    let folder = Folder::new(&[("deep/whole.toml", WHOLE)]);
    let loaded = folder.load("deep/whole.toml").unwrap();
    let again = load(&loaded.to_absolute_toml().unwrap(), &[]).unwrap();
    let expected = Location::Path(folder.path("deep/data/sms.tsv"));
    assert_eq!(again.location("task.train"), Some(expected));
    assert_eq!(again.location("device.bundle"), Some(Location::Pull("minilm".into())));
    assert_eq!(again.location("task.held_out"), None);
}

#[test]
fn bases_are_merged_and_keep_their_lines_and_folders() {
    let child = "schema = 1\nextends = '../base/whole.toml'\n[task]\nlabels = ['a', 'b']\n\
                 [device]\nbundle = 'bundle'\nquantizer.type = 'test.plain'\n";
    let folder = Folder::new(&[("base/whole.toml", WHOLE), ("top/child.toml", child)]);
    let loaded = folder.load("top/child.toml").unwrap();
    assert_eq!(loaded.config.task.labels, ["a", "b"]);
    assert_eq!(*at(&loaded, "/device/quantizer"), json!({ "type": "test.plain" }));
    let path = |key| match loaded.location(key) {
        Some(Location::Path(path)) => fs::canonicalize(path.parent().unwrap()).ok(),
        _ => None,
    };
    assert_eq!(path("device.bundle"), fs::canonicalize(folder.path("top")).ok());
    assert_eq!(path("task.train"), None, "data/ is not there");
    let place = loaded.locate("task.train").unwrap();
    assert!(place.name().ends_with("base/whole.toml"));
    assert_eq!(place.line_and_column(), Some((4, 9)));
    assert_eq!(place.folder(), folder.path("top/../base"));
}

#[test]
fn mistakes_in_a_base_are_told_where_they_stand() {
    let base = WHOLE.replace("name = \"sms\"", "naem = \"sms\"");
    let child = "schema = 1\nextends = 'base.toml'\n[training]\nepochs = 0\n";
    let folder = Folder::new(&[("base.toml", &base), ("child.toml", child)]);
    assert_eq!(
        folder.mistakes("child.toml"),
        [
            "child.toml:4:10: training.epochs: got `0`; expected a whole number from 1 to 100000",
            "base.toml:2:2: task.name: missing; expected a string",
            "base.toml:3:1: task.naem: unknown key; did you mean `name`?",
        ]
    );
}

#[test]
fn cycles_and_missing_bases_show_the_chain() {
    let extends = |name: &str| format!("schema = 1\nextends = '{name}'\n");
    let folder = Folder::new(&[
        ("a.toml", &extends("b.toml")),
        ("b.toml", &extends("./a.toml")),
        ("c.toml", &extends("d.toml")),
        ("d.toml", &extends("none.toml")),
        ("e.toml", "schema = 1\nextends = 3\n"),
    ]);
    assert_eq!(
        folder.mistakes("a.toml"),
        ["b.toml:2:11: extends: a config cannot extend itself; the chain is a.toml -> b.toml -> \
          ./a.toml"]
    );
    let missing = folder.mistakes("c.toml");
    assert!(missing[0].starts_with("d.toml:2:11: extends: cannot read none.toml: "), "{missing:?}");
    assert!(missing[0].ends_with("; the chain is c.toml -> d.toml -> none.toml"), "{missing:?}");
    assert_eq!(
        folder.mistakes("e.toml"),
        ["e.toml:2:11: extends: this is no file; expected a path as a string"]
    );
}

#[test]
fn files_that_are_no_configs_are_refused() {
    let folder = Folder::new(&[]);
    fs::write(folder.path("latin.toml"), b"schema = 1\n# \xe4").unwrap();
    fs::write(folder.path("large.toml"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    let refused = |name: &str| folder.mistakes(name).join("\n");
    assert!(refused("latin.toml").contains("byte 13 is not UTF-8"));
    assert!(refused("large.toml").contains("over 1048576 bytes"));
    assert!(refused("none.toml").starts_with("none.toml: cannot read this file: "));
}

#[test]
fn libraries_are_looked_for_beside_the_file_that_names_them() {
    let base = format!("{WHOLE}[plugins]\nload = ['none.so', 'text.so']\n");
    let child = "schema = 1\nextends = '../base/whole.toml'\n";
    let folder = Folder::new(&[
        ("base/whole.toml", &base),
        ("base/text.so", "no library"),
        ("top/child.toml", child),
    ]);
    let found = folder.mistakes("top/child.toml");
    assert_eq!(found.len(), 2, "{found:#?}");
    let at = |line: &str, named: &str, column: usize| {
        line.starts_with(&format!("top/../base/whole.toml:19:{column}: plugins.load"))
            && line.contains(&format!("top/../base/{named}: "))
    };
    assert!(at(&found[0], "none.so", 9) && found[0].contains("[0]"), "{found:#?}");
    assert!(found[0].contains("; is the path right?"), "{found:#?}");
    assert!(at(&found[1], "text.so", 20) && found[1].contains("[1]"), "{found:#?}");
    let expected = "; expected a dynamic library for this system";
    assert!(found[1].contains("/text.so: ") && found[1].contains(expected), "{found:#?}");
    // The system's reason is told, which names the file once more.
    assert_eq!(found[1].matches("text.so: ").count(), 2, "{found:#?}");
    // A config that lays others over it loads those.
    let set = ["plugins.load=['elsewhere.so']".to_owned()];
    let path = folder.path("base/whole.toml");
    let errors = lines(Config::load(&path, &set, &plugins::registry()).unwrap_err());
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let told = "--set plugins.load=['elsewhere.so']: plugins.load[0]: elsewhere.so: ";
    assert!(errors[0].starts_with(told), "{errors:#?}");
}

#[test]
fn what_a_manifest_refuses_is_not_loaded() {
    let with_plugin = format!("{WHOLE}[plugins]\nload = ['libx.so']\n");
    let manifest = |sha256: &str| {
        let known = "format=1\nname='x'\nversion='1'\nabi='1.0'\nslots=['quantizer']";
        format!("{known}\nsha256='{sha256}'\n")
    };
    let folder = |manifest: &str| {
        Folder::new(&[
            ("whole.toml", &with_plugin),
            ("libx.so", "no library"),
            ("libx.so.toml", manifest),
        ])
    };
    let other = folder(&manifest(&"00".repeat(32))).mistakes("whole.toml");
    assert!(other[0].contains("libx.so.toml: sha256 is 0000"), "{other:#?}");
    let none = folder("colour = 'red'").mistakes("whole.toml");
    assert!(none[0].contains("libx.so.toml: it is no manifest of a plugin: "), "{none:#?}");
    // Whatever is wrong with the rest, what is loaded is found alone, too.
    let sealed = folder(&manifest(&Fingerprint::of(b"no library").to_string()));
    let path = sealed.path("whole.toml");
    let errors = lines(Plugins::of_config(&path, &plugins::registry()).unwrap_err());
    assert!(errors[0].contains("expected a dynamic library"), "{errors:#?}");
}

#[test]
fn a_table_of_plugins_is_checked_and_only_shown_if_it_says_something() {
    let text = |plugins: &str| format!("{WHOLE}[plugins]\n{plugins}\n");
    let told = |plugins: &str| lines(load(&text(plugins), &[]).unwrap_err()).join("\n");
    assert!(told("load = 'x.so'").contains("plugins.load: got the string \"x.so\""));
    assert!(told("load = [3]").contains("plugins.load[0]: got `3`"));
    assert!(told("load = ['']").contains("expected a string that is not empty"));
    assert!(told("paths = []").contains("plugins.paths: unknown key"));
    assert!(told("patience_seconds = 0").contains("a whole number from 1 to"));
    assert_eq!(load(&text("load = []"), &[]).unwrap().to_toml(), whole(&[]).to_toml());
    let patient = load(&text("patience_seconds = 3600"), &[]).unwrap();
    assert_eq!(*at(&patient, "/plugins/patience_seconds"), 3600);
}
