//! Writes sound files for the fuzzers to start from, into `corpus/` beside this file.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use mobillm_gguf::fixture::{GgufBuilder, every_type};
use mobillm_weights::fixture::{FILE, every_format};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let gguf = [
        ("empty", GgufBuilder::new()),
        ("every-type", every_type()),
        ("old", every_type().version(2)),
    ];
    for (name, file) in gguf {
        write(&corpus.join("gguf").join(name), &file.build())?;
    }
    // Graphs of foreign exporters.
    let exported =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../framework/bundle/golden/foreign");
    for file in fs::read_dir(exported)? {
        let file = file?;
        write(&corpus.join("onnx").join(file.file_name()), &fs::read(file.path())?)?;
    }
    let safetensors = corpus.join("safetensors");
    fs::create_dir_all(&safetensors)?;
    let _ = fs::remove_file(safetensors.join(FILE));
    every_format(&safetensors)?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}
