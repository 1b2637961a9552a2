//! A library that is not the ONNX Runtime we need is refused before it can do harm: in a process of its
//! own, which has loaded none yet.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mobillm_backbone_onnxruntime::OnnxBackboneConfig;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::backbone::{BackboneConfig, BackboneError};

#[path = "all/setup.rs"]
mod setup;

/// A shared library of the C program `source`. Whoever can link Rust has a C compiler.
fn library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (input, output) = (folder.join(name).with_extension("c"), folder.join(name));
    fs::write(&input, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&output).arg(&input);
    assert!(compiler.status().unwrap().success());
    output
}

/// ONNX Runtime's one exported function, of a library of version `version`.
fn pretend(version: &str) -> String {
    format!(
        "static const void *api(unsigned v) {{ return 0; }}
         static const char *version(void) {{ return \"{version}\"; }}
         static const struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base
             = {{ api, version }};
         const void *OrtGetApiBase(void) {{ return &base; }}"
    )
}

#[test]
fn what_is_not_our_onnx_runtime_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bundle = TinyBert::default().bundle(&folder.join("bundle")).unwrap();
    let context = setup::context(&bundle, &[0]);
    let text = folder.join("text.so");
    fs::write(&text, "not a library").unwrap();
    let cases = [
        (folder.join("nowhere.so"), "No such file"),
        (text, "text.so"),
        (library(folder, "other.so", "int f(void) { return 1; }"), "no `OrtGetApiBase`"),
        (library(folder, "null.so", "void *OrtGetApiBase(void) { return 0; }"), "returned null"),
        (
            library(folder, "old.so", &pretend("1.30.2")),
            "expected version 1.31 or later, got 1.30.2",
        ),
        (library(folder, "next.so", &pretend("2.0.0")), "got 2.0.0"),
        (library(folder, "odd.so", &pretend("latest")), "got latest"),
    ];
    for (library, problem) in cases {
        let config = OnnxBackboneConfig { library: Some(library), ..OnnxBackboneConfig::default() };
        let error = config.build(&context).err().unwrap();
        assert!(matches!(&error, BackboneError::Library { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(problem), "{problem:?} is not in: {text}");
        assert!(text.contains("mobillm pull onnxruntime"), "{text}");
    }

    // None of them was kept: the right one still works, and a second one is told apart from it.
    setup::build(&bundle, &[0]);
    let second = library(folder, "second.so", &pretend("1.31.0"));
    let config = OnnxBackboneConfig { library: Some(second), ..OnnxBackboneConfig::default() };
    let error = config.build(&context).err().unwrap().to_string();
    assert!(error.contains("has loaded"), "{error}");
}
