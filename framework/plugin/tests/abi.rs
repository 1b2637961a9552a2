//! The layout of what crosses, and the C header that is made of it.
//!
//! `INSTA_UPDATE=always cargo test -p mobillm-plugin --test abi` accepts a change. There may be additions at the
//! end of a table, and nothing else, as long as `MAJOR` stays: `frozen.rs` holds that.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

#[path = "libraries/compiler.rs"]
mod compiler;

use std::fmt::Write;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use mobillm_plugin::abi::*;

/// How a struct lies in memory, in bytes.
struct Layout {
    name: &'static str,
    size: usize,
    align: usize,
    /// Names and offsets.
    fields: Vec<(&'static str, usize)>,
}

macro_rules! layouts {
    ($($name:ident { $($field:ident)* })*) => {
        vec![$({
            // A field that is not named here does not compile.
            const _: fn($name) = |$name { $($field: _),* }| ();
            Layout {
                name: stringify!($name),
                size: size_of::<$name>(),
                align: align_of::<$name>(),
                fields: vec![$((stringify!($field), offset_of!($name, $field))),*],
            }
        }),*]
    };
}

fn layouts() -> Vec<Layout> {
    layouts! {
        MobillmText { data length }
        MobillmBytes { data length }
        MobillmBuffer { data length }
        MobillmWriter { context write }
        MobillmHost { size context log }
        MobillmPlugin { magic major minor size name version built_by start components table }
        MobillmComponent { check build release }
        MobillmDevice { device_type device_id }
        MobillmElement { code bits lanes }
        MobillmTensor { data device ndim dtype shape strides byte_offset }
        MobillmPayloadFormat { name version flags block }
        MobillmQuantizer { size component format row_bytes error_bound encode decode }
        MobillmLayout { offsets samples positions }
        MobillmTap { layer hidden lengths }
        MobillmTapSink { context tap own_prediction }
        MobillmBackbone { size component info forward }
        MobillmSelection { context selected }
        MobillmSelector { size component layers rows select }
        MobillmSupervision { kind label numbers count }
        MobillmSupervisionSink { context supervision }
        MobillmPrivacyPolicy { size component info activations supervise combine }
        MobillmLink { sink source }
        MobillmTransport {
            size component crosses_processes info connect listen accept send close receive
            stop_listener stop_sink stop_source release_listener release_sink release_source
        }
        MobillmSideNetwork {
            size component load info train_step predict adapter checkpoint restore
        }
    }
}

#[test]
fn the_layout_of_every_struct_is_what_it_was() {
    let mut text = format!("abi {MAJOR}.{MINOR}\n");
    for Layout { name, size, align, fields } in layouts() {
        writeln!(text, "\n{name}: {size} bytes, alignment {align}").unwrap();
        for (field, offset) in fields {
            writeln!(text, "  {offset:>4} {field}").unwrap();
        }
    }
    insta::assert_snapshot!("layout", text);
}

const HEADER: &str = "include/mobillm_plugin.h";

/// The sources of the ABI, in the order of the header.
const SOURCES: [&str; 4] =
    ["src/abi/tensor.rs", "src/abi/mod.rs", "src/abi/slots.rs", "src/abi/transport.rs"];

/// Ends in the trailer.
const GUARD: &str = "#ifndef MOBILLM_PLUGIN_H
#define MOBILLM_PLUGIN_H

#if defined(__SIZEOF_POINTER__) && __SIZEOF_POINTER__ != 8
#error \"plugins of mobillm are for systems of 64 bits\"
#endif";

/// What the compiler of a plugin in C needs besides.
const TRAILER: &str = r#"// Elements of a tensor.
#define MOBILLM_F32 {MOBILLM_FLOAT, 32, 1}
#define MOBILLM_I64 {MOBILLM_INT, 64, 1}

// What a header starts with.
#define MOBILLM_MAGIC {'m', 'o', 'b', 'i', 'l', 'l', 'm', 0}

// The exported function, of the type `MobillmEntry`.
#define MOBILLM_SYMBOL "mobillm_plugin"

// A `MobillmText` of a literal.
#define MOBILLM_TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

#if defined(_WIN32)
#define MOBILLM_EXPORT __declspec(dllexport)
#else
#define MOBILLM_EXPORT __attribute__((visibility("default")))
#endif

#if defined(__cplusplus)
extern "C"
#endif
// What every plugin defines.
MOBILLM_EXPORT const MobillmPlugin *mobillm_plugin(void);

#endif
"#;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The header as the sources say.
fn header() -> String {
    let guide = std::fs::read_to_string(here("src/abi/mod.rs")).unwrap();
    let guide = guide.lines().filter_map(|line| line.strip_prefix("//!"));
    let guide: String = guide.map(|line| format!(" *{line}\n")).collect();
    let made = "Made by cbindgen of framework/plugin/src/abi; a test holds it up to date.";
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Type,
        documentation_style: cbindgen::DocumentationStyle::C99,
        header: Some(format!("/*\n{guide} *\n * {made}\n */\n\n{GUARD}")),
        trailer: Some(TRAILER.to_owned()),
        no_includes: true,
        sys_includes: names(&["stddef.h", "stdint.h"]),
        usize_is_size_t: true,
        documentation: true,
        tab_width: 4,
        line_length: 100,
        ..cbindgen::Config::default()
    };
    config.export.include = layouts().iter().map(|layout| layout.name.to_owned()).collect();
    config.export.include.push("MobillmEntry".to_owned());
    for name in ["MAJOR", "MINOR"] {
        config.export.rename.insert(name.to_owned(), format!("MOBILLM_{name}"));
    }
    let sources = SOURCES
        .iter()
        .fold(cbindgen::Builder::new(), |builder, source| builder.with_src(here(source)));
    let mut out = Vec::new();
    sources.with_config(config).generate().unwrap().write(&mut out);
    in_c(&String::from_utf8(out).unwrap())
}

/// Comments without the links and the short names that only Rust knows.
fn in_c(text: &str) -> String {
    let mut text = text.replace("[`super::", "`").replace("[`", "`").replace("`]", "`");
    for name in ["MAGIC", "MAJOR", "MINOR", "SYMBOL"] {
        text = text.replace(&format!("`{name}`"), &format!("`MOBILLM_{name}`"));
    }
    text
}

#[test]
fn the_header_is_up_to_date() {
    let made = header();
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(here(HEADER), &made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(here(HEADER)).unwrap_or_default();
    let differs = made.lines().zip(committed.lines()).find(|(made, committed)| made != committed);
    assert!(
        made == committed,
        "{HEADER} is not up to date; the first line that differs: {differs:?}"
    );
}

#[test]
fn the_header_has_every_struct_and_every_constant() {
    let committed = std::fs::read_to_string(here(HEADER)).unwrap();
    let sources = SOURCES.map(|source| std::fs::read_to_string(here(source)).unwrap()).concat();
    let after = |start: &'static str| {
        let rest = sources.lines().filter_map(move |line| line.strip_prefix(start));
        rest.map(|rest| rest.split([' ', ':', '=', ';']).next().unwrap_or_default())
    };
    let structs: Vec<&str> = after("pub struct ").collect();
    let mut listed: Vec<&str> = layouts().iter().map(|layout| layout.name).collect();
    for name in &structs {
        assert!(committed.contains(&format!("}} {name};")), "{name} is not in the header");
        assert!(listed.contains(name), "{name} has no snapshot of its layout");
        listed.retain(|listed| listed != name);
    }
    assert_eq!(listed, Vec::<&str>::new());
    for name in after("pub const ") {
        let prefix = if name.starts_with("MOBILLM_") { "" } else { "MOBILLM_" };
        assert!(
            committed.contains(&format!("#define {prefix}{name} ")),
            "{name} is not in the header"
        );
    }
}

#[test]
fn a_cpp_compiler_takes_it() {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let source = "#include \"mobillm_plugin.h\"\nMobillmElement element = MOBILLM_F32;\n";
    let file = compiler::scratch().join("header.cpp");
    std::fs::write(&file, source).unwrap();
    let output = Command::new(compiler)
        .args(["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
        .args([&here("include"), &file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_c_compiler_lays_out_the_same() {
    let mut source = "#include \"mobillm_plugin.h\"\n".to_owned();
    let mut claim = |what: String, bytes: usize| {
        writeln!(source, "_Static_assert({what} == {bytes}, \"{what}\");").unwrap();
    };
    for Layout { name, size, align, fields } in layouts() {
        claim(format!("sizeof({name})"), size);
        claim(format!("_Alignof({name})"), align);
        for (field, offset) in fields {
            claim(format!("offsetof({name}, {field})"), offset);
        }
    }
    let file = compiler::scratch().join("layout.c");
    std::fs::write(&file, source).unwrap();
    compiler::cc(&file, &["-c"], &file.with_extension("o"));
}
