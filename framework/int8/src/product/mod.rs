//! Products of quantized rows with an int8 matrix.
//!
//! The matrix lies in the bundle's file as `[inputs, outputs]` and is used from there. A processor
//! that multiplies pairs wants two inputs of an output side by side: whoever computes a tile first
//! brings 64 columns into that order, in a buffer that stays in the processor's cache. That costs
//! some hundredths of the time of the products, and no memory: a copy made once, at load, would
//! double the weights.
//!
//! Sums are integers and exact, so a row's result does not depend on the rows beside it.
//!
//! Measured on an EPYC with AVX-512 VNNI (Zen 5), 576 x 1536, 256 rows, one thread: 930 GOP/s with
//! packing in the call; ONNX Runtime's `MatMulInteger` between operators that quantize rows reached
//! a third of it.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::cell::RefCell;
use std::ops::Range;

use crate::isa::{Isa, Set, per_isa};
use crate::shared::Shared;

/// Outputs of a panel.
const PANEL: usize = 64;
/// Inputs whose products are summed at once.
const GROUP: usize = 2;
/// Rows of a task: many enough that packing is cheap beside them, few enough that threads share.
const TASK_ROWS: usize = 192;
/// The most inputs of a product. A row of them still has 255 [levels](crate::levels).
pub const MAX_INPUTS: usize = 65_536;

/// Two inputs of each of a panel's outputs.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Group([[i16; GROUP]; PANEL]);

/// `quants x weight`, scaled back: one linear map of some rows.
pub struct Product<'a> {
    /// `[rows, inputs]`, of magnitudes up to [`levels`](crate::levels)`(inputs)`: sums of larger ones may
    /// wrap around.
    pub quants: &'a [i16],
    /// `[rows]`
    pub scales: &'a [f32],
    /// `[inputs, outputs]`
    pub weight: &'a [i8],
    /// `[outputs]`
    pub weight_scales: &'a [f32],
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
    /// `[rows, width]`, added to the result.
    pub residual: Option<&'a [f32]>,
    /// Numbers in a row of the output: more than `outputs` if several maps write side by side.
    pub width: usize,
    /// Where in such a row this map's outputs begin.
    pub from: usize,
}

impl Product<'_> {
    fn outputs(&self) -> usize {
        self.weight_scales.len()
    }

    fn inputs(&self) -> usize {
        self.weight.len() / self.outputs().max(1)
    }

    fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Whether all lengths agree.
    pub fn check(&self) -> Result<(), String> {
        let (rows, inputs, outputs) = (self.rows(), self.inputs(), self.outputs());
        let wrong = |what: &str, got: usize, expected: String| {
            Err(format!("{what} has {got} elements, expected {expected}"))
        };
        if self.weight.len() != inputs * outputs {
            return wrong("the weight", self.weight.len(), format!("a multiple of {outputs}"));
        }
        if !inputs.is_multiple_of(GROUP) || inputs > MAX_INPUTS {
            let expected = format!("a multiple of {GROUP} up to {MAX_INPUTS}");
            return Err(format!("the weight has {inputs} inputs, expected {expected}"));
        }
        if self.quants.len() != rows * inputs {
            return wrong("the input", self.quants.len(), format!("{rows} rows of {inputs}"));
        }
        if let Some(bias) = self.bias.filter(|bias| bias.len() != outputs) {
            return wrong("the bias", bias.len(), outputs.to_string());
        }
        if self.width < outputs || self.width - outputs < self.from {
            let columns = format!("columns {} to {}", self.from, self.from + outputs);
            return Err(format!("{columns} are not in a row of {}", self.width));
        }
        let width = self.width;
        if let Some(residual) = self.residual.filter(|residual| residual.len() != rows * width) {
            return wrong("the residual", residual.len(), format!("{rows} rows of {width}"));
        }
        Ok(())
    }

    /// How many tasks make up the product; they may run in any order, on any threads.
    pub fn tasks(&self) -> usize {
        self.outputs().div_ceil(PANEL) * self.rows().div_ceil(TASK_ROWS)
    }

    /// Runs one task, which writes its tile of `output`, `[rows, width]`.
    ///
    /// # Safety
    /// The lengths were [checked](Self::check), `task` is below [`tasks`](Self::tasks), and no other
    /// call with this output has the same task.
    pub unsafe fn run(&self, isa: Isa, task: usize, output: &Shared<'_, f32>) {
        thread_local! {
            static PANEL_BUFFER: RefCell<Vec<Group>> = const { RefCell::new(Vec::new()) };
        }
        let panels = self.outputs().div_ceil(PANEL);
        let (first, column) = (task / panels * TASK_ROWS, task % panels * PANEL);
        let rows = first..(first + TASK_ROWS).min(self.rows());
        PANEL_BUFFER.with_borrow_mut(|panel| {
            panel.resize(self.inputs() / GROUP, Group([[0; GROUP]; PANEL]));
            // SAFETY: tiles of different tasks do not overlap, and the caller runs each once.
            unsafe {
                match isa.set() {
                    #[cfg(target_arch = "x86_64")]
                    Set::Avx512 => avx512::tiles(self, rows, column, panel, output),
                    _ => tiles(isa, self, rows, column, panel, output),
                }
            }
        });
    }

    /// Writes what the exact `sums` of row `row` and the panel at `column` mean.
    ///
    /// # Safety
    /// The product was checked, `row` and `column` lie in it, and nobody else writes this part.
    #[inline(always)]
    unsafe fn finish(
        &self,
        sums: &[i32; PANEL],
        row: usize,
        column: usize,
        output: &Shared<'_, f32>,
    ) {
        let width = (self.outputs() - column).min(PANEL);
        let from = row * self.width + self.from + column;
        // SAFETY: as the caller promises.
        let output = unsafe { output.part(from, width) };
        let scale = self.scales[row];
        let weight_scales = &self.weight_scales[column..column + width];
        for ((output, &sum), weight_scale) in output.iter_mut().zip(sums).zip(weight_scales) {
            *output = sum as f32 * scale * weight_scale;
        }
        if let Some(bias) = self.bias {
            for (output, bias) in output.iter_mut().zip(&bias[column..column + width]) {
                *output += bias;
            }
        }
        if let Some(residual) = self.residual {
            for (output, residual) in output.iter_mut().zip(&residual[from..from + width]) {
                *output += residual;
            }
        }
    }
}

per_isa! {
    /// The tile of `rows` and the panel at `column`; `panel` is room for it.
    fn tiles(
        product: &Product<'_>,
        rows: Range<usize>,
        column: usize,
        panel: &mut [Group],
        output: &Shared<'_, f32>,
    ) = portable::tiles
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::levels;

    /// Bytes that differ from each other, extremes among them.
    fn bytes(count: usize, seed: u64) -> impl Iterator<Item = u8> {
        (0..count as u64).map(move |at| {
            let mut bits = (at + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (bits >> 40) as u8
        })
    }

    fn floats(count: usize, seed: u64) -> Vec<f32> {
        bytes(count, seed).map(|byte| f32::from(byte) / 64.0 - 2.0).collect()
    }

    fn run(product: &Product<'_>, isa: Isa) -> Vec<f32> {
        product.check().unwrap();
        let mut output = vec![f32::NAN; product.rows() * product.outputs()];
        let shared = Shared::new(&mut output);
        for task in (0..product.tasks()).rev() {
            // SAFETY: each task runs once, of a product that was checked.
            unsafe { product.run(isa, task, &shared) };
        }
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_the_exact_sum(
            rows in 1usize..220, groups in 1usize..20, outputs in 1usize..150, seed in any::<u32>(), extras in any::<bool>(),
        ) {
            let (inputs, seed) = (groups * GROUP, u64::from(seed));
            let levels = i32::from(levels(inputs));
            let quant = |byte: u8| ((i32::from(byte) - 128) * levels / 128) as i16;
            let quants: Vec<i16> = bytes(rows * inputs, seed).map(quant).collect();
            let weight: Vec<i8> = bytes(inputs * outputs, seed + 1).map(|byte| byte as i8).collect();
            let (scales, weight_scales) = (floats(rows, seed + 2), floats(outputs, seed + 3));
            let (bias, residual) = (floats(outputs, seed + 4), floats(rows * outputs, seed + 5));
            let product = Product {
                quants: &quants, scales: &scales, weight: &weight, weight_scales: &weight_scales,
                bias: extras.then_some(&bias), residual: extras.then_some(&residual),
                width: outputs, from: 0,
            };
            let expected: Vec<f32> = (0..rows * outputs).map(|at| {
                let (row, column) = (at / outputs, at % outputs);
                let term = |input: usize| i32::from(quants[row * inputs + input]) * i32::from(weight[input * outputs + column]);
                let sum: i32 = (0..inputs).map(term).sum();
                let scaled = sum as f32 * scales[row] * weight_scales[column];
                if extras { scaled + bias[column] + residual[at] } else { scaled }
            }).collect();
            for isa in Isa::available() {
                prop_assert_eq!(&run(&product, isa), &expected, "{:?}", isa);
            }
        }
    }

    #[test]
    fn maps_write_side_by_side() {
        let scales = [1.0; 2];
        let first = Product {
            quants: &[1, 2, 3, 4],
            scales: &scales,
            weight: &[1, 10, 1, 10],
            weight_scales: &[1.0; 2],
            bias: None,
            residual: None,
            width: 3,
            from: 0,
        };
        let second = Product { weight: &[100, 100], weight_scales: &[1.0], from: 2, ..first };
        for isa in Isa::available() {
            let mut output = [0.0; 6];
            let shared = Shared::new(&mut output);
            for product in [&first, &second] {
                product.check().unwrap();
                // SAFETY: the product was checked; it has one task, which runs once.
                unsafe { product.run(isa, 0, &shared) };
            }
            assert_eq!(output, [3.0, 30.0, 300.0, 7.0, 70.0, 700.0]);
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        for inputs in [2, 510, 512, 514, 1536, MAX_INPUTS] {
            let weight = vec![-128; inputs];
            for quant in [levels(inputs), -levels(inputs)] {
                let quants = vec![quant; inputs];
                let product = Product {
                    quants: &quants,
                    scales: &[1.0],
                    weight: &weight,
                    weight_scales: &[1.0],
                    bias: None,
                    residual: None,
                    width: 1,
                    from: 0,
                };
                let sum = i32::from(quant) * -128 * inputs as i32;
                for isa in Isa::available() {
                    assert_eq!(run(&product, isa), [sum as f32]);
                }
            }
        }
    }

    #[test]
    fn lengths_that_do_not_agree_are_told() {
        let good = Product {
            quants: &[1; 8],
            scales: &[1.0; 2],
            weight: &[1; 12],
            weight_scales: &[1.0; 3],
            bias: Some(&[0.0; 3]),
            residual: Some(&[0.0; 6]),
            width: 3,
            from: 0,
        };
        good.check().unwrap();
        let problem = |product: Product<'_>| product.check().unwrap_err();
        assert!(problem(Product { quants: &[1; 7], ..good }).contains("expected 2 rows of 4"));
        assert!(problem(Product { weight: &[1; 11], ..good }).contains("a multiple of 3"));
        assert!(problem(Product { weight: &[1; 9], ..good }).contains("3 inputs"));
        assert!(problem(Product { bias: Some(&[0.0; 2]), ..good }).contains("the bias has 2"));
        assert!(problem(Product { residual: Some(&[0.0; 3]), ..good }).contains("2 rows of 3"));
        assert!(problem(Product { width: 2, ..good }).contains("not in a row of 2"));
        assert!(problem(Product { from: 1, ..good }).contains("columns 1 to 4"));
    }
}
