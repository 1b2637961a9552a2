//! What plugins that are loaded cost: a call through the door, the start of the program, a new plugin from nothing.
//!
//! The door's cost is that of a quantizer that is there twice, linked in and loaded, called in turns. The program and
//! the libraries lie side by side, where `cargo xtask bench` has built them.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mobillm_bundle::fixture::TinyBert;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{Cleared, ClearedRows};
use mobillm_core::quantizer::{
    Payload, PayloadFormat, QuantizeError, Quantizer, QuantizerConfig, encode,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_plugin::Library;
use mobillm_quantizers::Nf4Config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;

use crate::Error;
use crate::figure::Figure;
use crate::program;
use crate::quantizers::{cleared, median};

/// Rows of 768 values that are 1 MB.
const ROWS: usize = 341;
/// Calls on each side.
const CALLS: usize = 3001;
/// Starts of the program.
const STARTS: usize = 31;

/// All of them.
pub fn run() -> Result<Vec<Figure>, Error> {
    let mut figures = vec![call()?, copies()?];
    figures.extend(starts()?);
    figures.push(new_plugin()?);
    Ok(figures)
}

/// The library of the crate `name`, beside the program.
fn library(name: &str) -> Result<PathBuf, Error> {
    let program = PathBuf::from(program::mobillm()?.get_program());
    Ok(program.with_file_name(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}")))
}

/// The quantizer `tag` of a library that is loaded.
fn loaded(tag: &str) -> Result<Box<dyn Quantizer>, Error> {
    let config = json!({ "type": "loaded", "tag": tag, "options": {} });
    let config: Box<dyn QuantizerConfig> = serde_json::from_value(config)?;
    match config.check(768).first() {
        None => Ok(config.build()),
        Some(wrong) => Err(wrong.to_string().into()),
    }
}

/// What a call through the door costs beside one that is linked in.
fn call() -> Result<Figure, Error> {
    // SAFETY: it is the library of this repository, with the components that are linked into this program too.
    unsafe { Library::load(&library("mobillm_plugin_builtins")?) }?;
    let (linked, loaded) = (Nf4Config::default().build(), loaded("nf4")?);
    let rows = cleared(ROWS)?;
    let mut payload = Vec::new();
    let mut time = |quantizer: &dyn Quantizer| -> Result<Duration, Error> {
        payload.clear();
        let began = Instant::now();
        encode(quantizer, black_box(&rows), &mut payload)?;
        let took = began.elapsed();
        black_box(&payload);
        Ok(took)
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..CALLS {
        // Whichever is second finds the caches warm, so they take turns in that too.
        let first_ours = number % 2 == 0;
        if first_ours {
            ours.push(time(&*linked)?);
        }
        theirs.push(time(&*loaded)?);
        if !first_ours {
            ours.push(time(&*linked)?);
        }
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (ours, theirs) = (micros(median(ours)), micros(median(theirs)));
    let note = format!(
        "nf4 of 1 MB: {theirs:.2} us loaded, {ours:.2} us linked; medians of {CALLS} calls in turns"
    );
    Ok(Figure::new("a call of a loaded quantizer over a linked one", theirs - ours, "us more")
        .at_most(1.0)
        .note(note))
}

/// Where a [`Probe`] saw its rows.
static SEEN: AtomicUsize = AtomicUsize::new(0);

/// A quantizer that notes where its rows are.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
struct ProbeConfig {}

impl Plugin for ProbeConfig {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "bench.probe";
}

struct Probe;

#[typetag::serde(name = "bench.probe")]
impl QuantizerConfig for ProbeConfig {
    fn check(&self, _: usize) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        Box::new(Probe)
    }
}

impl Quantizer for Probe {
    fn format(&self) -> PayloadFormat {
        PayloadFormat { name: *b"prob", version: 1, flags: 0, block: 0 }
    }

    fn row_bytes(&self, _: usize) -> usize {
        0
    }

    fn error_bound(&self, row: &[f32]) -> Vec<f32> {
        vec![f32::INFINITY; row.len()]
    }

    fn encode_rows(&self, cleared: ClearedRows<'_>, _: &mut [u8]) -> Result<(), QuantizeError> {
        SEEN.store(cleared.rows().as_ptr().addr(), Ordering::Relaxed);
        Ok(())
    }

    fn decode_rows(&self, _: &Payload<'_>, _: &mut [f32]) -> Result<(), QuantizeError> {
        Ok(())
    }
}

mobillm_plugin::door! { fn probe; quantizers: [ProbeConfig] }

/// Bytes of a tensor that are copied on its way through the door.
fn copies() -> Result<Figure, Error> {
    // SAFETY: the door is of `door!`.
    unsafe { Library::linked("bench", probe) }?;
    let rows: Cleared = cleared(ROWS)?;
    encode(&*loaded(ProbeConfig::TAG)?, &rows, &mut Vec::new())?;
    let is_same = SEEN.load(Ordering::Relaxed) == rows.rows().as_ptr().addr();
    let (copied, note) = match is_same {
        true => (0, "a plugin behind the door sees the address that the host lent"),
        false => (ROWS * 768 * size_of::<f32>(), "a plugin behind the door sees another address"),
    };
    Ok(Figure::count("bytes of a tensor that are copied at the door", copied as u64, "B")
        .at_most(0.0)
        .note(note))
}

/// The program's start, alone and with three libraries to load.
fn starts() -> Result<Vec<Figure>, Error> {
    let folder = TempDir::new()?;
    let help = start(&|| {
        let mut help = program::mobillm()?;
        help.arg("--help");
        Ok(help)
    })?;
    TinyBert::default().bundle(&folder.path().join("bundle"))?;
    let c = c_selector(folder.path())?;
    // No two texts are the same: of those one would be left.
    let rows: String = (0..20).map(|row| format!("yes {row}\ta\nno {row}\tb\n")).collect();
    fs::write(folder.path().join("rows.tsv"), "text\tlabel\n".to_owned() + &rows)?;
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins/c/acme_bf16.c");
    let bf16 = folder.path().join("bf16.so");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../framework/plugin/include");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O2", "-fPIC", "-shared", "-I"])
        .arg(include)
        .arg(example)
        .arg("-o")
        .arg(&bf16);
    succeed(&mut cc)?;
    let libraries = [library("acme_codes")?, bf16, c];
    let config = folder.path().join("three.toml");
    fs::write(
        &config,
        format!(
            r#"schema = 1
            [plugins]
            load = {libraries:?}
            [task]
            name = "three"
            train = "rows.tsv"
            columns = {{ text = "text", label = "label" }}
            labels = ["a", "b"]
            [device]
            bundle = "bundle"
            backbone = {{ type = "candle" }}
            selector = {{ type = "acme.selector" }}
            privacy = {{ type = "acme.clip", norm = 30.0 }}
            quantizer = {{ type = "acme.bf16" }}
            "#
        ),
    )?;
    let check = start(&|| {
        let mut check = program::mobillm()?;
        check.arg("check").arg(&config);
        Ok(check)
    })?;
    let figure = |name: &str, time: Duration, goal: f64| {
        Figure::new(name, time.as_secs_f64() * 1e3, "ms")
            .at_most(goal)
            .note(format!("median of {STARTS} processes, from start to end"))
    };
    Ok(vec![
        figure("`mobillm --help`", help, 20.0),
        figure("`mobillm check` of a config with three dynamic plugins", check, 100.0),
    ])
}

/// The median time of a process, after one that warms the caches.
fn start(command: &dyn Fn() -> Result<Command, Error>) -> Result<Duration, Error> {
    succeed(&mut command()?)?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut command = command()?;
        let began = Instant::now();
        succeed(&mut command)?;
        times.push(began.elapsed());
    }
    Ok(median(times))
}

/// A selector in C as `plugins new` writes it.
fn c_selector(folder: &Path) -> Result<PathBuf, Error> {
    begin(folder, "acme-selector", &["--slot", "selector", "--lang", "c"])?;
    let made = folder.join("acme-selector");
    succeed(Command::new("make").current_dir(&made))?;
    // As its Makefile names it, on every system.
    Ok(made.join("libacme_selector.so"))
}

fn begin(folder: &Path, name: &str, options: &[&str]) -> Result<(), Error> {
    let mut new = program::mobillm()?;
    new.args(["plugins", "new", name]).args(options).current_dir(folder);
    succeed(&mut new)?;
    Ok(())
}

/// From nothing to a quantizer that passed `plugins check`, where the framework is built already.
fn new_plugin() -> Result<Figure, Error> {
    let folder = TempDir::new()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let options = ["--slot", "quantizer", "--framework", &root.display().to_string()];
    let make = |name: &str| -> Result<Duration, Error> {
        let began = Instant::now();
        begin(folder.path(), name, &options)?;
        let crate_folder = folder.path().join(name);
        // What the workspace has downloaded will do.
        fs::copy(root.join("Cargo.lock"), crate_folder.join("Cargo.lock"))?;
        let target = folder.path().join("target");
        let mut build = Command::new("cargo");
        build
            .args(["build", "--offline"])
            .current_dir(&crate_folder)
            .env("CARGO_TARGET_DIR", &target);
        succeed(&mut build)?;
        let library = target
            .join("debug")
            .join(format!("{DLL_PREFIX}{}{DLL_SUFFIX}", name.replace('-', "_")));
        let mut check = program::mobillm()?;
        check.args(["plugins", "check"]).arg(library);
        succeed(&mut check)?;
        Ok(began.elapsed())
    };
    let first = make("acme-first")?;
    let second = make("acme-second")?;
    Ok(Figure::new("from `plugins new` to `plugins check` passed", second.as_secs_f64(), "s")
        .at_most(60.0)
        .note(format!(
            "a quantizer in Rust; {:.0} s where the framework was not built",
            first.as_secs_f64()
        )))
}

fn succeed(command: &mut Command) -> Result<Output, Error> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed with {}: {said}", output.status).into())
}
