//! Writes bundles, whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use mobillm_weights::{Planned, WeightFormat, WeightsFile, WeightsWriter};
use prost::Message;

use crate::bundle::Bundle;
use crate::graph::graph;
use crate::import::ImportError;
use crate::import::source::Source;
use crate::manifest::{Contents, FileDigest, GRAPH, MANIFEST, Manifest, TOKENIZER, WEIGHTS};
use crate::storage::Storage;

/// Writes the bundle of `source` to `out`, with the matrices in `format`, or in the source's own if
/// there is none. One of them and its encoding are in memory at a time.
///
/// # Errors
/// If the source contradicts itself, a tensor cannot be read or stored, or `out` exists or cannot be
/// written.
pub(crate) fn write(
    source: Source,
    out: &Path,
    format: Option<WeightFormat>,
) -> Result<Bundle, ImportError> {
    let padding = source.check()?;
    let weights = format.unwrap_or(source.weights);
    write_whole(out, |folder| {
        write_weights(&source, weights, &folder.join(WEIGHTS))?;
        let file = WeightsFile::open(&folder.join(WEIGHTS))?;
        let graph = graph(&source.network, &source.info, &file)?;
        write_file(&folder.join(GRAPH), &graph.encode_to_vec())?;
        write_file(&folder.join(TOKENIZER), &source.tokenizer.json)?;
        let Source { info, network, own_labels, .. } = source;
        Ok(Contents { info, network: Some(network), weights, own_labels, padding })
    })
}

/// Lets `fill` write the graph, the weights and the tokenizer into a new folder beside `out`, adds the
/// manifest, and moves the folder to its place.
///
/// # Errors
/// If `fill` fails, or `out` exists or cannot be written.
pub(crate) fn write_whole(
    out: &Path,
    fill: impl FnOnce(&Path) -> Result<Contents, ImportError>,
) -> Result<Bundle, ImportError> {
    let failed = |source| ImportError::Write { path: out.to_owned(), source };
    if out.symlink_metadata().is_ok() {
        return Err(ImportError::Exists { path: out.to_owned() });
    }
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed)?;
    let scratch =
        tempfile::Builder::new().prefix(".importing-").tempdir_in(parent).map_err(failed)?;
    // A folder within: the scratch folder itself can be read by its owner only.
    let folder = scratch.path().join("bundle");
    fs::create_dir(&folder).map_err(failed)?;

    let contents = fill(&folder).map_err(|error| error.moved(&folder, out))?;
    let mut files = BTreeMap::new();
    for name in [GRAPH, WEIGHTS, TOKENIZER] {
        files.insert(name.to_owned(), sealed(&folder.join(name)).map_err(failed)?);
    }
    let manifest = folder.join(MANIFEST);
    let text = Bundle::new(out, Manifest::new(contents, files))?.manifest().to_json();
    // As a reader will have it: what does not open never gets to its place.
    let bundle = Bundle::parse(out, &text)?;
    fs::write(&manifest, text).map_err(failed)?;
    sealed(&manifest).map_err(failed)?;
    sync_folder(&folder).map_err(failed)?;
    fs::rename(&folder, out).map_err(failed)?;
    sync_folder(parent).map_err(failed)?;
    Ok(bundle)
}

/// Writes `bytes` to the new file `path`.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    fs::write(path, bytes).map_err(|source| ImportError::Write { path: path.to_owned(), source })
}

/// Makes sure that the names in `folder` survive a power cut, where the system has a way to.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The digest of the file at `path`, once it is on disk.
fn sealed(path: &Path) -> io::Result<FileDigest> {
    File::open(path)?.sync_all()?;
    FileDigest::of(path)
}

fn write_weights(source: &Source, format: WeightFormat, path: &Path) -> Result<(), ImportError> {
    let storages = source.tensors.iter().map(|tensor| Storage::of(tensor, format, source.weights));
    let storages: Vec<Storage> = storages.collect();
    let tensors = || source.tensors.iter().zip(&storages);
    let planned: Vec<Planned> = tensors().map(|(tensor, storage)| storage.plan(tensor)).collect();
    let mut writer = WeightsWriter::create(path, &planned)?;
    for (tensor, storage) in tensors() {
        storage.write(tensor, &source.path, &mut writer)?;
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;
    use std::rc::Rc;

    use mobillm_weights::{Bits, Blocks, Dtype, Encoding};

    use super::*;
    use crate::fixture::TinyDecoder;
    use crate::import::source::{SourceTensor, Values};

    /// The matrix `[rows, columns]` as a quantized file would have it.
    fn blocks(bits: Bits, block: usize, rows: usize, columns: usize, offsets: bool) -> Blocks {
        let parts = rows * columns / block;
        let quants = (0..rows * bits.bytes(columns)).map(|at| (at * 37 % 251) as u8).collect();
        let part = |scale: f32| (0..parts).map(|at| scale * (1 + at % 7) as f32).collect();
        let offsets = offsets.then(|| part(-0.01));
        Blocks::new(bits, block, [rows, columns], quants, part(0.002), offsets).unwrap()
    }

    /// A decoder that comes in 4 bits with offsets, but for its maps down, in 8 bits, and its norms.
    fn quantized() -> Source {
        let mut source = TinyDecoder::default().source();
        source.weights = WeightFormat::Q4;
        for tensor in &mut source.tensors {
            let &[rows, columns] = &tensor.shape[..] else { continue };
            let matrix = match tensor.name.ends_with("down.weight") {
                true => blocks(Bits::Eight, 16, rows, columns, false),
                false => blocks(Bits::Four, 32, rows, columns, true),
            };
            tensor.blocks = Some(matrix.view().encoding());
            tensor.read = Box::new(move || Ok(Values::Blocks(matrix.clone())));
        }
        source
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn out(&self) -> PathBuf {
            self.0.path().join("bundle")
        }

        fn write(&self, source: Source, format: Option<WeightFormat>) -> Bundle {
            write(source, &self.out(), format).unwrap()
        }
    }

    fn values(bundle: &Bundle, name: &str) -> Vec<f32> {
        let weights = bundle.weights().unwrap();
        let matrix = weights.matrix(name).unwrap();
        let mut values = vec![0.0; matrix.rows() * matrix.columns()];
        matrix.dequantize_rows(0..matrix.rows(), &mut values).unwrap();
        values
    }

    const NAMES: [&str; 3] = [
        "embedding.tokens.weight",
        "layers.1.attention.key.weight",
        "layers.2.feed_forward.down.weight",
    ];

    fn encodings(bundle: &Bundle) -> [Encoding; 3] {
        let weights = bundle.weights().unwrap();
        NAMES.map(|name| weights.matrix(name).unwrap().encoding())
    }

    #[test]
    fn blocks_of_the_asked_width_stay_bit_equal() {
        let (place, other) = (Place::new(), Place::new());
        let exact = other.write(quantized(), Some(WeightFormat::F32));
        assert_eq!(encodings(&exact), [Encoding::F32; 3]);
        let kept = place.write(quantized(), None);
        assert_eq!(kept.weight_format(), WeightFormat::Q4);
        let four = Encoding::Blocks { bits: Bits::Four, block: 32, offsets: true };
        let eight = Encoding::Blocks { bits: Bits::Eight, block: 16, offsets: false };
        assert_eq!(encodings(&kept), [four, four, eight], "8 bits in a model of 4 were chosen");
        for name in NAMES {
            assert_eq!(values(&kept, name), values(&exact, name), "{name}");
        }
    }

    #[test]
    fn blocks_of_another_width_are_encoded_anew() {
        let place = Place::new();
        let bundle = place.write(quantized(), Some(WeightFormat::Q8));
        let plain = Encoding::Blocks { bits: Bits::Eight, block: 32, offsets: false };
        let kept = Encoding::Blocks { bits: Bits::Four, block: 32, offsets: true };
        let own = Encoding::Blocks { bits: Bits::Eight, block: 16, offsets: false };
        assert_eq!(encodings(&bundle), [kept, plain, own]);
        let place = Place::new();
        let bundle = place.write(quantized(), Some(WeightFormat::Int8));
        assert_eq!(encodings(&bundle), [kept, Encoding::Int8, Encoding::Int8]);
    }

    #[test]
    fn a_matrix_that_does_not_fit_the_format_stays_f32() {
        let place = Place::new();
        let tiny = TinyDecoder { inner: 48, ..TinyDecoder::default() };
        let bundle = place.write(tiny.source(), Some(WeightFormat::Q4));
        let eight = Encoding::Blocks { bits: Bits::Eight, block: 32, offsets: false };
        let four = Encoding::Blocks { bits: Bits::Four, block: 32, offsets: false };
        assert_eq!(encodings(&bundle), [eight, four, Encoding::F32]);
    }

    #[test]
    fn nothing_is_left_of_a_bundle_that_failed() {
        type Change = fn(&mut SourceTensor);
        let broken: [(&str, Change); 3] = [
            ("row 2, column 3 is NaN", |tensor| {
                let size = tensor.shape.iter().product();
                tensor.read = Box::new(move || {
                    let mut values = vec![0.0; size];
                    values[2 * 64 + 3] = f32::NAN;
                    Ok(Values::F32(values))
                });
            }),
            ("no such file", |tensor| {
                tensor.read = Box::new(|| {
                    Err(ImportError::Missing { path: PathBuf::from("shard"), remedy: "fetch it" })
                });
            }),
            ("[64, 96], expected [96, 64]", |tensor| tensor.shape.reverse()),
        ];
        for (words, change) in broken {
            let place = Place::new();
            let mut source = TinyDecoder::default().source();
            let last = source.tensors.iter_mut().rfind(|tensor| tensor.name.ends_with("up.weight"));
            change(last.unwrap());
            let error = write(source, &place.out(), None).unwrap_err().to_string();
            assert!(error.contains(words), "{words:?} is not in: {error}");
            assert_eq!(place.0.path().read_dir().unwrap().count(), 0);
        }
    }

    #[test]
    fn a_value_that_cannot_be_stored_is_told_of_its_source() {
        let changes: [(&str, f32, WeightFormat); 4] = [
            ("layers.1.feed_forward.up.weight", f32::NAN, WeightFormat::Q4),
            ("layers.1.feed_forward.up.weight", 70_000.0, WeightFormat::F16),
            ("layers.1.attention.norm.weight", f32::INFINITY, WeightFormat::F16),
            ("embedding.tokens.weight", f32::NEG_INFINITY, WeightFormat::F32),
        ];
        for (name, value, format) in changes {
            let place = Place::new();
            let mut source = TinyDecoder::default().source();
            let tensor = source.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
            tensor.origin = format!("theirs.{name}");
            let size = tensor.shape.iter().product();
            tensor.read = Box::new(move || {
                let mut values = vec![0.0; size];
                values[7] = value;
                Ok(Values::F32(values))
            });
            let error = write(source, &place.out(), Some(format)).unwrap_err().to_string();
            let tensor = format!("model: tensor theirs.{name} cannot be stored");
            for words in [&*tensor, "column 7", &value.to_string()] {
                assert!(error.contains(words), "{words:?} is not in: {error}");
            }
            for words in ["config.json", ".importing-", WEIGHTS] {
                assert!(!error.contains(words), "{words:?} is in: {error}");
            }
        }
    }

    #[test]
    fn what_cannot_be_opened_never_gets_to_its_place() {
        let place = Place::new();
        let mut source = TinyDecoder::default().source();
        source.network.norm.epsilon = f32::INFINITY;
        let error = write(source, &place.out(), None).unwrap_err().to_string();
        assert!(error.contains("the number inf"), "{error}");
        let mut source = TinyDecoder::default().source();
        source.own_labels = Some(vec!["a name for no output".to_owned()]);
        let error = write(source, &place.out(), None).unwrap_err().to_string();
        assert!(error.contains("own_labels") && !error.contains(".importing-"), "{error}");
        assert_eq!(place.0.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn files_that_are_gone_are_not_told_of() {
        let place = Place::new();
        let fill = |folder: &Path| -> Result<Contents, ImportError> {
            let path = folder.join(WEIGHTS);
            let twice = [(); 2].map(|()| Planned::tensor("bias", Dtype::F32, [1]));
            Err(WeightsWriter::create(&path, &twice).unwrap_err().into())
        };
        let error = write_whole(&place.out(), fill).unwrap_err().to_string();
        assert!(error.starts_with(&*place.out().join(WEIGHTS).to_string_lossy()), "{error}");
    }

    #[test]
    fn blocks_are_read_once() {
        let place = Place::new();
        let mut source = quantized();
        let reads = Rc::new(Cell::new(0));
        for tensor in &mut source.tensors {
            let (read, reads) = (
                std::mem::replace(&mut tensor.read, Box::new(|| unreachable!())),
                Rc::clone(&reads),
            );
            tensor.read = Box::new(move || {
                reads.set(reads.get() + 1);
                read()
            });
        }
        let tensors = source.tensors.len();
        place.write(source, None);
        assert_eq!(reads.get(), tensors);
    }

    #[test]
    fn a_bundle_is_not_written_over_another() {
        let place = Place::new();
        let first = place.write(TinyDecoder::default().source(), None);
        let again = write(TinyDecoder::default().source(), &place.out(), None);
        assert!(matches!(again, Err(ImportError::Exists { .. })));
        first.verify().unwrap();
    }
}
