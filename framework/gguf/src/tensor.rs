//! Tensors: where they are and what they hold.

use std::ops::Range;

use half::{bf16, f16};

use crate::blocks::{self, Blocks};
use crate::cursor::Cursor;
use crate::{GgufError, TensorType};

/// Dimensions that a tensor of GGML can have.
const MOST_DIMENSIONS: u32 = 4;

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    name: String,
    kind: TensorType,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl TensorInfo {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its elements.
    pub fn kind(&self) -> TensorType {
        self.kind
    }

    /// Its dimensions, row-major: the last is that of neighbours in the file. GGUF itself lists them the
    /// other way around.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its bytes in the file.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Its values, row-major, as llama.cpp decodes them. `file` is what [`Gguf::parse`] was given.
    ///
    /// # Errors
    /// If `file` is another, shorter one.
    ///
    /// [`Gguf::parse`]: crate::Gguf::parse
    pub fn read_f32(&self, file: &[u8]) -> Result<Vec<f32>, GgufError> {
        let bytes = self.bytes(file)?;
        let halves = bytes.as_chunks::<2>().0;
        Ok(match self.kind {
            TensorType::F32 => {
                bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            TensorType::F16 => {
                halves.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()
            }
            TensorType::Bf16 => {
                halves.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect()
            }
            quantized => blocks::decode(quantized, bytes),
        })
    }

    /// Its values in blocks, or `None` if they are floats. `file` is what [`Gguf::parse`] was given.
    ///
    /// # Errors
    /// If `file` is another, shorter one.
    ///
    /// [`Gguf::parse`]: crate::Gguf::parse
    pub fn read_blocks(&self, file: &[u8]) -> Result<Option<Blocks>, GgufError> {
        let bytes = self.bytes(file)?;
        let columns = self.shape.last().copied().unwrap_or(1);
        let rows = self.shape.iter().rev().skip(1).product();
        Ok(blocks::read(self.kind, [rows, columns], bytes))
    }

    fn bytes<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], GgufError> {
        file.get(self.range()).ok_or_else(|| self.beyond(file.len()))
    }

    fn beyond(&self, end: usize) -> GgufError {
        let problem = format!(
            "ends at byte {}, but the file has {end}; it is damaged or cut short, fetch it again",
            self.range.end
        );
        GgufError::tensor(&self.name, problem)
    }

    /// Reads the description of `name`. Its range starts where the data of all tensors does.
    pub(crate) fn read(cursor: &mut Cursor<'_>, name: &str) -> Result<Self, GgufError> {
        let wrong = |problem: String| GgufError::tensor(name, problem);
        let dimensions = cursor.u32(&format_args!("the number of dimensions of `{name}`"))?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(wrong(format!("has {dimensions} dimensions, expected 1 to 4")));
        }
        let mut sizes = Vec::new();
        for _ in 0..dimensions {
            sizes.push(cursor.u64(&format_args!("a dimension of `{name}`"))?);
        }
        sizes.reverse();
        let code = cursor.u32(&format_args!("the type of `{name}`"))?;
        let offset = cursor.u64(&format_args!("the offset of `{name}`"))?;
        let kind = TensorType::of(code, name)?;

        let length =
            length(kind, &sizes).map_err(|problem| wrong(format!("is {sizes:?} and {problem}")))?;
        let end = offset.checked_add(length).and_then(|end| usize::try_from(end).ok());
        let end = end.ok_or_else(|| {
            wrong(format!("starts at {offset} and has {length} bytes, more than any file"))
        })?;
        let range = end - length as usize..end;
        // Their product fits, so each of them does.
        let shape = sizes.into_iter().map(|size| size as usize).collect();
        Ok(Self { name: name.to_owned(), kind, shape, range })
    }

    /// Moves its range to where the data starts in a file of `end` bytes.
    pub(crate) fn place(&mut self, start: usize, end: usize) -> Result<(), GgufError> {
        let shifted = |at: usize| at.saturating_add(start);
        self.range = shifted(self.range.start)..shifted(self.range.end);
        if self.range.end > end { Err(self.beyond(end)) } else { Ok(()) }
    }
}

/// Bytes of a tensor, or what is wrong with its dimensions.
fn length(kind: TensorType, sizes: &[u64]) -> Result<u64, String> {
    if sizes.contains(&0) {
        return Err("has a dimension of zero".to_owned());
    }
    let (values, bytes) = (kind.block_values() as u64, kind.block_bytes() as u64);
    let columns = sizes.last().copied().unwrap_or(1);
    if !columns.is_multiple_of(values) {
        return Err(format!("rows of {kind} are multiples of {values}"));
    }
    let count = sizes.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
    let fits = |bytes: &u64| usize::try_from(*bytes).is_ok();
    count
        .filter(fits)
        .and_then(|count| (count / values).checked_mul(bytes))
        .filter(fits)
        .ok_or_else(|| "has more values than any file".to_owned())
}

/// Refuses tensors that share bytes.
pub(crate) fn check_overlap(tensors: &[TensorInfo]) -> Result<(), GgufError> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.range.start);
    for pair in order.windows(2) {
        if let [first, second] = pair
            && second.range.start < first.range.end
        {
            let problem = format!("shares bytes with tensor `{}`", first.name);
            return Err(GgufError::tensor(&second.name, problem));
        }
    }
    Ok(())
}
