//! `Int8Linear`.

use mobillm_int8::{Isa, Product, Shared};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType::{Float32, Int8, Int16};

use super::tensors::{optional, output, required, with_last};

pub(super) struct Int8Linear;

impl Operator for Int8Linear {
    type Kernel<'attr> = Int8LinearKernel;

    fn name(&self) -> &str {
        "Int8Linear"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(Int16),
            OperatorInput::required(Float32),
            OperatorInput::required(Int8),
            OperatorInput::required(Float32),
            OperatorInput::optional(Float32),
            OperatorInput::optional(Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> ort::Result<Int8LinearKernel> {
        Ok(Int8LinearKernel { isa: Isa::fastest() })
    }
}

pub(super) struct Int8LinearKernel {
    isa: Isa,
}

impl Kernel for Int8LinearKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (quants, scales) = (required::<i16>(context, 0)?, required(context, 1)?);
        let (weight, weight_scales) = (required(context, 2)?, required(context, 3)?);
        let (bias, residual) = (optional(context, 4)?, optional(context, 5)?);
        let (shape, quants) = quants.extract_tensor();
        let weight_scales = weight_scales.extract_tensor().1;
        let product = Product {
            quants,
            scales: scales.extract_tensor().1,
            weight: weight.extract_tensor().1,
            weight_scales,
            bias: bias.as_ref().map(|bias| bias.extract_tensor().1),
            residual: residual.as_ref().map(|residual| residual.extract_tensor().1),
            width: weight_scales.len(),
            from: 0,
        };
        product.check().map_err(ort::Error::new)?;
        let mut output = output(context, 0, &with_last(shape, product.weight_scales.len()))?;
        let output = Shared::new(output.extract_tensor_mut().1);
        context.par_for(product.tasks(), 0, |task| {
            // SAFETY: the product was checked, and ONNX Runtime hands out each task once.
            unsafe { product.run(self.isa, task, &output) }
        })
    }
}
