//! The library in `mobillm` as it is built for everybody, which neither links nor needs libtorch. No variable tells
//! it where libtorch is.

use std::env;
use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mobillm::config::Config;
use mobillm::pipeline::{self, RunOptions};
use mobillm::progress::{Unobserved, Watch};
use mobillm::{Environment, Stop};
use mobillm_bundle::fixture::TinyBert;
use tempfile::TempDir;

/// As it gives the same bits again on one machine.
const LIBTORCH: &str = r#"{ type = "libtorch", device = "cpu", threads = 1 }"#;

/// What builds the program. It is up to date where all of the workspace is tested.
const BUILD: &str = "cargo build --package mobillm-cli";

/// The variables that say where libraries are.
const PLACES: [&str; 3] = ["LIBTORCH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// A folder with a bundle, a task, and the configs `libtorch.toml` and `candle.toml`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    let mut rows = String::from("text\tmood\n");
    for row in 0..40 {
        let (word, mood) = [("bad", "sad"), ("good", "happy")][row % 2];
        writeln!(rows, "the {word} layer {row}\t{mood}").unwrap();
    }
    fs::write(folder.path().join("toy.tsv"), rows).unwrap();
    for (name, network) in [("libtorch", LIBTORCH), ("candle", "{ type = \"candle\" }")] {
        let config = format!(
            "schema = 1\n\
             [task]\nname = \"toy\"\ntrain = \"toy.tsv\"\ncolumns = {{ text = \"text\", label = \"mood\" }}\n\
             labels = [\"sad\", \"happy\"]\n\
             [device]\nbundle = \"bundle\"\nbackbone = {{ type = \"candle\", threads = 1 }}\n\
             [server]\nside_network = {network}\n\
             [training]\nepochs = 2\nbatch = 4\n"
        );
        fs::write(folder.path().join(name).with_extension("toml"), config).unwrap();
    }
    folder
}

/// `mobillm`, which cargo builds in the folder above the one of its tests.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(format!("mobillm{EXE_SUFFIX}"));
    assert!(program.is_file(), "it is not built; {BUILD}");
    program
}

/// What `mobillm` in `folder` prints; it must succeed.
fn mobillm(folder: &TempDir, arguments: &[&str]) -> String {
    succeeded(without_places(&mut Command::new(program())).current_dir(folder).args(arguments))
}

fn without_places(command: &mut Command) -> &mut Command {
    PLACES.iter().fold(command, |command, name| command.env_remove(name))
}

fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// `--set` with what loads the library.
fn load() -> String {
    format!("plugins.load=[{:?}]", super::path())
}

fn adapter(run: &Path) -> Vec<u8> {
    fs::read(run.join("adapter.safetensors")).unwrap()
}

/// What the file of a program or library says that it needs.
fn needed(file: &Path) -> String {
    let (tool, option) =
        if cfg!(target_os = "macos") { ("otool", "-L") } else { ("readelf", "--dynamic") };
    succeeded(Command::new(tool).args([OsStr::new(option), file.as_ref()]))
}

#[test]
fn the_program_links_nothing_of_it() {
    let (program, library) = (needed(&program()), needed(&super::path()));
    for name in ["torch", "c10"] {
        assert!(!program.contains(name), "it is built with libtorch; {BUILD}: {program}");
        assert!(library.contains(name), "{library}");
    }
}

#[test]
fn one_config_gives_one_adapter_linked_in_or_loaded() {
    let folder = folder();
    let here = |name: &str| folder.path().join(name);
    mobillm(&folder, &["run", "libtorch.toml", "--out", "loaded", "--set", &load()]);
    let mut registry = mobillm_cli::with_builtins().unwrap();
    mobillm_adapter_libtorch::register(&mut registry).unwrap();
    let config = Config::load(&here("libtorch.toml"), &[], &registry).unwrap();
    let (out, variant) = (here("linked"), "libtorch".to_owned());
    let options = RunOptions { out, variant, fresh: false, leave: false };
    let watch = Watch { observer: &Unobserved, stop: Stop::default() };
    pipeline::run(&config, &Environment::new(registry), &options, &watch).unwrap();
    assert!(adapter(&here("linked")) == adapter(&here("loaded")));
    // Of what the library trained, candle predicts.
    let answer = mobillm(&folder, &["predict", "loaded", "the good layer"]);
    assert!(answer.starts_with("happy\t") || answer.starts_with("sad\t"), "{answer}");
}

#[test]
fn without_the_library_all_else_runs() {
    let folder = folder();
    mobillm(&folder, &["run", "candle.toml", "--out", "run"]);
    assert!(!adapter(&folder.path().join("run")).is_empty());
}

#[test]
fn it_passes_the_check_of_plugins() {
    let (path, options) = (super::path(), "libtorch={\"threads\":1}");
    let check = ["plugins", "check", path.to_str().unwrap(), "--options", options];
    let table = mobillm(&folder(), &check);
    assert!(table.contains("libtorch"), "{table}");
}

/// Whoever gets the library from elsewhere puts libtorch, or a link to it, beside it.
#[cfg(target_os = "linux")]
#[test]
fn what_stands_beside_the_library_comes_before_what_it_was_built_with() {
    let folder = tempfile::tempdir().unwrap();
    let (library, link) = (folder.path().join("plugin.so"), folder.path().join("libtorch"));
    fs::copy(super::path(), &library).unwrap();
    std::os::unix::fs::symlink(env::var_os("LIBTORCH").unwrap(), &link).unwrap();
    let found = succeeded(without_places(&mut Command::new("ldd")).arg(&library));
    let found = found.lines().find(|line| line.contains("libtorch_cpu")).unwrap();
    assert!(found.contains(&*link.to_string_lossy()), "{found}");
}
