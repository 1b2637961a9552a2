//! Makes the libraries in C that tests load, and asks for components of those that are loaded.

pub mod compiler;

use std::collections::BTreeMap;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use compiler::{cc, scratch};
use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, Cleared, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
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
