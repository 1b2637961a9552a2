//! `Attention`.

use mobillm_int8::{Attention, Heads, Isa, Rotation, Shared};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType::{Float32, Int64};

use super::tensors::{attribute, last, optional, output, required};

pub(super) struct AttentionOperator;

impl Operator for AttentionOperator {
    type Kernel<'attr> = AttentionKernel;

    fn name(&self) -> &str {
        "Attention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(Float32),
            OperatorInput::required(Float32),
            OperatorInput::required(Float32),
            OperatorInput::optional(Float32),
            OperatorInput::optional(Int64),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<AttentionKernel> {
        let count = |name: &str| {
            let count: i64 = attribute(context, name)?;
            let count = usize::try_from(count).ok().filter(|&count| count > 0);
            count.ok_or_else(|| ort::Error::new(format!("`{name}` is not above 0")))
        };
        let heads = Heads {
            heads: count("heads")?,
            key_heads: count("key_heads")?,
            causal: attribute::<i64>(context, "causal")? != 0,
        };
        Ok(AttentionKernel { isa: Isa::fastest(), heads, rotation: Rotation::default() })
    }
}

pub(super) struct AttentionKernel {
    isa: Isa,
    heads: Heads,
    /// For the longest batch so far.
    rotation: Rotation,
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (query, key, value) =
            (required(context, 0)?, required(context, 1)?, required(context, 2)?);
        let (frequencies, mask) = (optional(context, 3)?, optional::<i64>(context, 4)?);
        let (shape, query) = query.extract_tensor();
        let &[_, tokens, _] = &**shape else {
            let problem = format!("the query is {shape:?}, expected [batch, tokens, width]");
            return Err(ort::Error::new(problem));
        };
        let tokens = tokens as usize;
        if let Some(frequencies) = &frequencies {
            self.rotation.reach(tokens, frequencies.extract_tensor().1);
        }
        let lengths = mask.map(|mask| lengths(mask.extract_tensor().1, tokens)).transpose();
        let lengths = lengths.map_err(ort::Error::new)?;
        let attention = Attention {
            heads: self.heads,
            tokens,
            head_width: last(shape)? / self.heads.heads,
            query,
            key: key.extract_tensor().1,
            value: value.extract_tensor().1,
            lengths: lengths.as_deref(),
            rotation: frequencies.is_some().then_some(&self.rotation),
        };
        attention.check().map_err(ort::Error::new)?;
        let mut output = output(context, 0, shape)?;
        let output = Shared::new(output.extract_tensor_mut().1);
        context.par_for(attention.tasks(), 0, |task| {
            // SAFETY: the lengths were checked, and ONNX Runtime hands out each task once.
            unsafe { attention.run(self.isa, task, &output) }
        })
    }
}

/// How many ones each row of a mask starts with; what follows must be zeros.
fn lengths(mask: &[i64], tokens: usize) -> Result<Vec<usize>, String> {
    let length = |row: &[i64]| {
        let length = row.iter().take_while(|&&seen| seen == 1).count();
        let rest = row[length..].iter().all(|&seen| seen == 0);
        rest.then_some(length).ok_or_else(|| "a mask is not ones, then zeros".to_owned())
    };
    mask.chunks_exact(tokens.max(1)).map(length).collect()
}
