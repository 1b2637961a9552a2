//! Finds and makes the libraries that tests load, and asks components of them for.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::BTreeMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, Cleared, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release,
};
use mobillm_plugin::{Library, LibraryError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// `examples/plugins/c`.
pub const EXAMPLE: &str = "examples/plugins/c/acme_bf16.c";
/// The hostile library in C.
pub const HOSTILE: &str = "plugins/hostile/c/hostile.c";

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The library of the crate `name`, a dependency of these tests: cargo built it beside them.
pub fn rust(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"));
    assert!(path.is_file(), "cargo should have built {}", path.display());
    path
}

/// The library that the C compiler makes of `source`, in this process once for the same `flags`.
pub fn c(source: &str, flags: &[&str]) -> PathBuf {
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let source = repository(source);
    let of = format!("{} {flags:?}", source.display());
    let mut made = MADE.lock().unwrap();
    let number = made.len();
    let path = made.entry(of).or_insert_with(|| {
        let name = source.file_stem().unwrap().to_str().unwrap();
        // Tests of other processes make their own.
        let name = format!("{DLL_PREFIX}{name}_{}_{number}{DLL_SUFFIX}", std::process::id());
        let path = scratch().join(name);
        cc(&source, &[&["-fPIC", "-shared", "-fvisibility=hidden", "-O2"], flags].concat(), &path);
        path
    });
    path.clone()
}

/// A folder of this process, emptied of what processes before it with its number left.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// Compiles C11 without a warning.
pub fn cc(source: &Path, flags: &[&str], out: &Path) {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .args(flags)
        .arg("-o")
        .args([out, source])
        .arg("-lm")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", source.display());
}

/// Loads a library that these tests made.
pub fn load(path: &Path) -> Result<&'static Library, LibraryError> {
    // SAFETY: it is of this repository, and as sound as the test that names it says.
    unsafe { Library::load(path) }
}

/// The config twin as the config loader makes it of a component that is loaded.
pub fn config<C: DeserializeOwned>(tag: &str, options: Value) -> C {
    serde_json::from_value(json!({ "type": "loaded", "tag": tag, "options": options })).unwrap()
}

/// Lets everything pass.
struct Open;

impl PrivacyPolicy for Open {
    fn info(&self) -> PolicyInfo {
        PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".to_owned() }
    }
}

/// `values` in `rows` rows, as a policy without objections releases them.
pub fn cleared(values: &[f32], rows: usize) -> Cleared {
    let hidden = values.len() / rows;
    let selected = Selected::new(1, Layout::from_counts([rows]), hidden, values.to_vec()).unwrap();
    let context = ReleaseContext { samples: &[], purpose: Purpose::Predict };
    release(&mut Open, &context, selected).unwrap()
}
