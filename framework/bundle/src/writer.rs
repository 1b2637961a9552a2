//! Writes bundles, whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use mobillm_weights::{
    Encoded, Encoding, MatrixError, Planned, WeightFormat, WeightsFile, WeightsWriter, encode,
};
use prost::Message;

use crate::bundle::Bundle;
use crate::graph::graph;
use crate::import::ImportError;
use crate::import::source::{Source, SourceTensor, Values};
use crate::manifest::{Contents, FileDigest, GRAPH, MANIFEST, Manifest, TOKENIZER, WEIGHTS};

/// Writes the bundle of `source` to `out`, with the matrices in `format`, or in the source's own if
/// there is none. No more than one of them is in memory.
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

    let contents = fill(&folder)?;
    let mut files = BTreeMap::new();
    for name in [GRAPH, WEIGHTS, TOKENIZER] {
        files.insert(name.to_owned(), sealed(&folder.join(name))?);
    }
    let manifest = folder.join(MANIFEST);
    write_file(&manifest, &Manifest::new(contents, files).to_json())?;
    sealed(&manifest)?;
    sync_folder(&folder).map_err(failed)?;
    fs::rename(&folder, out).map_err(failed)?;
    sync_folder(parent).map_err(failed)?;
    Ok(Bundle::open(out)?)
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
fn sealed(path: &Path) -> Result<FileDigest, ImportError> {
    let digest = || {
        File::open(path)?.sync_all()?;
        FileDigest::of(path)
    };
    digest().map_err(|source| ImportError::Write { path: path.to_owned(), source })
}

fn write_weights(source: &Source, format: WeightFormat, path: &Path) -> Result<(), ImportError> {
    let storage = Storage { format, came_as: source.weights };
    let plan = |tensor: &SourceTensor| {
        let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
        Ok(Planned { name, shape, encoding: storage.encoding(tensor)? })
    };
    let planned = source.tensors.iter().map(plan).collect::<Result<Vec<_>, ImportError>>()?;
    let mut writer = WeightsWriter::create(path, &planned)?;
    for tensor in &source.tensors {
        storage.write(tensor, &mut writer)?;
    }
    Ok(writer.finish()?)
}

/// Which tensors of a bundle take which format.
#[derive(Clone, Copy)]
struct Storage {
    /// What was asked for.
    format: WeightFormat,
    /// What the model came in.
    came_as: WeightFormat,
}

impl Storage {
    /// The format of the tensor `name`, of which only matrices have one: those that are read row by row
    /// are never stored narrower than in 8 bits, or transposed.
    fn of(self, tensor: &SourceTensor) -> Option<WeightFormat> {
        match &*tensor.name {
            "embedding.positions.weight" | "embedding.segments.weight" => None,
            name if is_looked_up(name) => Some(self.format.of_embedding()),
            _ => (tensor.shape.len() == 2).then_some(self.format),
        }
    }

    /// Whether blocks of `bits` bits stay as they are: of the width that was asked for, or of a wider
    /// one that somebody chose for some matrices of a 4 bit model, or where they are looked up.
    fn keeps(self, tensor: &SourceTensor, bits: usize) -> bool {
        match self.format {
            WeightFormat::F32 | WeightFormat::F16 => false,
            _ if is_looked_up(&tensor.name) => true,
            WeightFormat::Q8 => bits == 8,
            WeightFormat::Q4 => bits == 4 || self.came_as == WeightFormat::Q4,
            WeightFormat::Int8 => false,
        }
    }

    fn encoding(self, tensor: &SourceTensor) -> Result<Encoding, ImportError> {
        let (Some(format), &[_, columns]) = (self.of(tensor), &tensor.shape[..]) else {
            return Ok(Encoding::F32);
        };
        // What blocks a tensor comes in is known when it is read, and only quantized models have any.
        if matches!(self.came_as, WeightFormat::Q8 | WeightFormat::Q4)
            && let Values::Blocks(blocks) = (tensor.read)()?
            && self.keeps(tensor, blocks.bits.width())
        {
            return Ok(Encoded::from(blocks).matrix().encoding());
        }
        Ok(format.encoding(columns))
    }

    fn write(self, tensor: &SourceTensor, writer: &mut WeightsWriter) -> Result<(), ImportError> {
        let SourceTensor { name, shape, read } = tensor;
        let wrong = |error: MatrixError| ImportError::Tensor {
            name: name.clone(),
            problem: error.to_string(),
        };
        let values = match read()? {
            Values::Blocks(blocks) if self.keeps(tensor, blocks.bits.width()) => {
                return Ok(writer.write(name, &blocks.into())?);
            }
            Values::Blocks(blocks) => {
                let mut values = vec![0.0; blocks.rows * blocks.columns];
                let rows = 0..blocks.rows;
                Encoded::from(blocks).matrix().dequantize_rows(rows, &mut values).map_err(wrong)?;
                values
            }
            Values::F32(values) => values,
        };
        match (self.of(tensor), &shape[..]) {
            (Some(format), &[rows, columns]) => {
                let matrix = encode(values, rows, columns, format).map_err(wrong)?;
                writer.write(name, &matrix)?;
            }
            _ => writer.write_f32(name, &values)?,
        }
        Ok(())
    }
}

/// Whether rows of the matrix are taken, instead of products with all of it.
fn is_looked_up(name: &str) -> bool {
    matches!(name, "embedding.tokens.weight" | "head.vocabulary.weight")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mobillm_weights::{Bits, Blocks};

    use super::*;
    use crate::fixture::TinyDecoder;
    use crate::import::source::Values;

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
    fn a_bundle_is_not_written_over_another() {
        let place = Place::new();
        let first = place.write(TinyDecoder::default().source(), None);
        let again = write(TinyDecoder::default().source(), &place.out(), None);
        assert!(matches!(again, Err(ImportError::Exists { .. })));
        first.verify().unwrap();
    }
}
