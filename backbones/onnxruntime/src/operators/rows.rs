//! `QuantizeRows`, `NormQuantizeRows` and `ActivateQuantizeRows`.

use std::cell::RefCell;

use mobillm_int8::{Activation, Isa, NormKind, Shared, activate, norm, quantize};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType::{Float32, Int16};

use super::tensors::{attribute, choice, last, optional, output, required, with_last};

/// Rows of a task: enough that handing it out costs little beside it.
const TASK_ROWS: usize = 16;

/// What is done to a row before it is quantized.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Norm { kind: NormKind, epsilon: f32 },
    Activation(Activation),
}

/// An operator that quantizes rows.
pub(super) struct RowsOperator {
    name: &'static str,
    /// Inputs beside the rows, all optional: a kernel says which it needs.
    more_inputs: usize,
    before: fn(&KernelContext<'_>) -> ort::Result<Before>,
}

impl RowsOperator {
    pub const ALL: [Self; 3] = [
        Self { name: "QuantizeRows", more_inputs: 0, before: |_| Ok(Before::Nothing) },
        Self { name: "NormQuantizeRows", more_inputs: 2, before: norm_before },
        Self { name: "ActivateQuantizeRows", more_inputs: 1, before: activation_before },
    ];
}

fn norm_before(context: &KernelContext<'_>) -> ort::Result<Before> {
    let kinds = [("layer", NormKind::Layer), ("rms", NormKind::Rms)];
    let kind = choice(context, "kind", &kinds)?;
    Ok(Before::Norm { kind, epsilon: attribute(context, "epsilon")? })
}

fn activation_before(context: &KernelContext<'_>) -> ort::Result<Before> {
    let activations = [
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("gelu-tanh", Activation::GeluTanh),
        ("relu", Activation::Relu),
        ("tanh", Activation::Tanh),
    ];
    choice(context, "activation", &activations).map(Before::Activation)
}

impl Operator for RowsOperator {
    type Kernel<'attr> = RowsKernel;

    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let more = (0..self.more_inputs).map(|_| OperatorInput::optional(Float32));
        std::iter::once(OperatorInput::required(Float32)).chain(more).collect::<Vec<_>>()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Int16), OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<RowsKernel> {
        Ok(RowsKernel { isa: Isa::fastest(), before: (self.before)(context)? })
    }
}

pub(super) struct RowsKernel {
    isa: Isa,
    before: Before,
}

impl Kernel for RowsKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (rows, second, third) =
            (required::<f32>(context, 0)?, optional(context, 1)?, optional(context, 2)?);
        let (shape, values) = rows.extract_tensor();
        let width = last(shape)?;
        let count = values.len() / width.max(1);
        let second = second.as_ref().map(|tensor| tensor.extract_tensor().1);
        let third = third.as_ref().map(|tensor| tensor.extract_tensor().1);
        self.check(values.len(), width, second, third).map_err(ort::Error::new)?;

        let mut quants = output::<i16>(context, 0, shape)?;
        let mut scales = output::<f32>(context, 1, &with_last(shape, 1))?;
        let quants = Shared::new(quants.extract_tensor_mut().1);
        let scales = Shared::new(scales.extract_tensor_mut().1);
        context.par_for(count.div_ceil(TASK_ROWS), 0, |task| {
            for row in task * TASK_ROWS..((task + 1) * TASK_ROWS).min(count) {
                let part = row * width..(row + 1) * width;
                // SAFETY: rows do not overlap, and each belongs to one task.
                let (quants, scale) =
                    unsafe { (quants.part(part.start, width), scales.part(row, 1)) };
                let second = match self.before {
                    Before::Activation(_) => second.map(|up| &up[part.clone()]),
                    _ => second,
                };
                scale[0] = self.quantize(&values[part], second, third, quants);
            }
        })
    }
}

impl RowsKernel {
    /// Whether all lengths agree, for an input of `count` values in rows of `width`.
    fn check(
        &self,
        count: usize,
        width: usize,
        second: Option<&[f32]>,
        third: Option<&[f32]>,
    ) -> Result<(), String> {
        let wrong = |what: &str, got: usize, expected: usize| {
            Err(format!("{what} has {got} elements, expected {expected}"))
        };
        match (self.before, second, third) {
            (Before::Norm { .. }, None, _) => Err("a norm has no weight".to_owned()),
            (Before::Norm { .. }, Some(weight), _) if weight.len() != width => {
                wrong("the norm's weight", weight.len(), width)
            }
            (Before::Norm { .. }, _, Some(bias)) if bias.len() != width => {
                wrong("the norm's bias", bias.len(), width)
            }
            (Before::Activation(_), Some(up), _) if up.len() != count => {
                wrong("the second factor", up.len(), count)
            }
            _ => Ok(()),
        }
    }

    fn quantize(
        &self,
        row: &[f32],
        second: Option<&[f32]>,
        third: Option<&[f32]>,
        quants: &mut [i16],
    ) -> f32 {
        thread_local! {
            static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        ROW.with_borrow_mut(|changed| {
            changed.resize(row.len(), 0.0);
            match self.before {
                Before::Nothing => return quantize(self.isa, row, quants),
                Before::Norm { kind, epsilon } => {
                    let weight = second.unwrap_or_default();
                    norm(self.isa, kind, epsilon, row, weight, third, changed);
                }
                Before::Activation(activation) => {
                    activate(self.isa, activation, row, second, changed);
                }
            }
            quantize(self.isa, changed, quants)
        })
    }
}
