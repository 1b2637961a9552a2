//! The weights of a Hugging Face model, by the names of its bare class.

use std::path::Path;
use std::sync::Arc;

use mobillm_weights::{SourceFiles, WeightsError};

use super::ImportError;
use super::source::Values;

/// The tensors of a model folder. Classes with a head put the name of their backbone before the names
/// of the bare class: whether they do is found by looking.
pub(super) struct Checkpoint {
    files: Arc<SourceFiles>,
    prefix: &'static str,
}

/// Which part of a stored tensor is meant, and how it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All of it, as it is.
    Same,
    /// The transposed matrix.
    Transposed,
    /// The k-th third of a matrix's columns, transposed, or the k-th third of a vector.
    Third(usize),
}

impl View {
    /// The shape of the stored tensor that this is a view of shape `shape` of.
    pub(super) fn source_shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Same, _) => shape.to_vec(),
            (Self::Transposed, _) => shape.iter().rev().copied().collect(),
            (Self::Third(_), [outputs, inputs @ ..]) => [inputs, &[3 * outputs]].concat(),
            (Self::Third(_), []) => Vec::new(),
        }
    }

    fn read(
        self,
        files: &SourceFiles,
        name: &str,
        shape: &[usize],
    ) -> Result<Values, WeightsError> {
        let outputs = shape.first().copied().unwrap_or_default();
        let values = match self {
            Self::Same => files.values(name),
            Self::Transposed => files.transposed(name, 0..outputs),
            Self::Third(part) => {
                let range = part * outputs..(part + 1) * outputs;
                match shape {
                    [_] => files.rows(name, range),
                    _ => files.transposed(name, range),
                }
            }
        };
        values.map(Values::F32)
    }
}

impl Checkpoint {
    /// Maps the weights in `folder`; names may begin with `prefix`.
    pub(super) fn open(folder: &Path, prefix: &'static str) -> Result<Self, ImportError> {
        Ok(Self { files: Arc::new(SourceFiles::open(folder)?), prefix })
    }

    /// What the tensor `name` of the bare class is called in the files, if it is there.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        // Checkpoints that were converted from TensorFlow say gamma and beta.
        let old = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        [name, &old]
            .into_iter()
            .flat_map(|name| [name.to_owned(), format!("{}{name}", self.prefix)])
            .find(|name| self.files.tensor(name).is_some())
    }

    /// Whether names begin with the prefix: the model was saved from a class with a head.
    pub(super) fn is_prefixed(&self) -> bool {
        self.names().any(|name| name.starts_with(self.prefix))
    }

    /// The name `name` in the files, without the prefix.
    pub(super) fn plain<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(self.prefix).unwrap_or(name)
    }

    /// The names in the files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.names()
    }

    /// The shape of the tensor that the files call `found`.
    pub(super) fn shape(&self, found: &str) -> Vec<usize> {
        self.files.tensor(found).map_or_else(Vec::new, |tensor| tensor.shape.to_vec())
    }

    /// Whether two tensors of the files are equal, byte by byte.
    pub(super) fn equal(&self, one: &str, other: &str) -> bool {
        let parts = |name| self.files.tensor(name).map(|it| (it.dtype, it.shape, it.bytes));
        parts(one) == parts(other)
    }

    /// What reads `view` of shape `shape` of the tensor that the files call `found`.
    pub(super) fn reader(
        &self,
        found: &str,
        view: View,
        shape: &[usize],
    ) -> Box<dyn Fn() -> Result<Values, ImportError>> {
        let (files, found, shape) = (Arc::clone(&self.files), found.to_owned(), shape.to_vec());
        Box::new(move || Ok(view.read(&files, &found, &shape)?))
    }
}
