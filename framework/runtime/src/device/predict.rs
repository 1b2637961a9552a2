//! Answers on the device: own prediction and side network, over taps as the server would see them.
//!
//! The side network was trained on quantized activations, so the device quantizes and decodes in the
//! same way before it predicts.

use std::ops::Range;
use std::sync::Arc;

use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::backbone::Tokens;
use mobillm_core::privacy::{self, AnswerScale, PrivacyPolicy, Purpose};
use mobillm_core::quantizer::{self, Payload, QuantizeError, Quantizer};
use mobillm_core::sample::{Objective, SampleId};
use mobillm_core::side_network::{SideNetwork, SideNetworkError};
use ndarray::{Array2, ArrayView1, Axis, Slice};

use crate::device::taps::{MicroBatch, TapPath};
use crate::error::{Asked, RunError};

/// Rows whose taps are decoded at a time: all layers of them are in memory at once.
const ROWS: usize = 128;

/// What is kept of a micro-batch beside its encoded taps: which rows are whose, and the backbone's own predictions.
pub struct KeptBatch {
    layout: Layout,
    hidden: usize,
    own: Array2<f32>,
}

impl KeptBatch {
    /// Runs `tokens` forward once; `keep` gets what a server would have been sent, tap by tap.
    ///
    /// # Errors
    /// If a stage of the path or `keep` fails.
    pub fn forward(
        path: &mut TapPath,
        quantizer: &dyn Quantizer,
        tokens: &[&Tokens],
        samples: &[SampleId],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), RunError>,
    ) -> Result<Self, RunError> {
        let batch = MicroBatch { tokens, samples, purpose: Purpose::Predict };
        let (mut layout, mut hidden, mut payload) = (Layout::empty(), 0, Vec::new());
        let own = path.forward(&batch, &mut |_, cleared| {
            layout = cleared.layout().clone();
            hidden = cleared.rows().ncols();
            payload.clear();
            quantizer::encode(quantizer, cleared, &mut payload)?;
            keep(&payload)
        })?;
        Ok(Self { layout, hidden, own })
    }

    /// The device's own prediction for `sample` of this batch, `[outputs]`.
    pub fn own(&self, sample: usize) -> Vec<f32> {
        self.own.row(sample).to_vec()
    }

    /// Samples in the batch.
    pub fn samples(&self) -> usize {
        self.layout.samples()
    }

    /// The side network's raw outputs, `[samples, outputs]`, of the payloads `taps`.
    ///
    /// # Errors
    /// If the taps do not fit the network.
    pub fn outputs(
        &self,
        taps: &[Vec<u8>],
        quantizer: &dyn Quantizer,
        network: &dyn SideNetwork,
    ) -> Result<Array2<f32>, RunError> {
        let shape = (self.layout.rows(), self.hidden);
        let payloads = taps.iter().map(|tap| Payload::parse(tap, quantizer, shape));
        let payloads: Vec<Payload<'_>> = payloads.collect::<Result<_, _>>()?;
        let mut outputs = Array2::zeros((self.samples(), network.info().objective.outputs()));
        let mut first = 0;
        while first < self.samples() {
            let samples = first..self.fitting(first);
            let batch = self.decode(&payloads, samples.clone(), quantizer)?;
            let mut theirs = outputs.slice_axis_mut(Axis(0), Slice::from(samples.clone()));
            let predicted = network.predict(&batch)?;
            if predicted.dim() != theirs.dim() {
                let (got, expected) = (predicted.dim(), theirs.dim());
                let problem = format!("the network gave scores of {got:?}, expected {expected:?}");
                return Err(SideNetworkError::Batch { problem }.into());
            }
            theirs.assign(&predicted);
            first = samples.end;
        }
        Ok(outputs)
    }

    /// What `policy` makes of the own prediction for `sample` and the side network's output `side` for it.
    /// `asked` tells what an error calls the sample of this index.
    ///
    /// # Errors
    /// If the policy cannot combine them, or what either says is not finite.
    pub fn answer(
        &self,
        policy: &dyn PrivacyPolicy,
        sample: usize,
        side: ArrayView1<'_, f32>,
        asked: &dyn Fn(usize) -> Asked,
    ) -> Result<Vec<f32>, RunError> {
        let wrong =
            |source: RunError| RunError::Answer { asked: asked(sample), source: Box::new(source) };
        if let Some(output) = side.iter().position(|value| !value.is_finite()) {
            return Err(wrong(SideNetworkError::NotFinite { output, value: side[output] }.into()));
        }
        let mut answer = side.to_vec();
        privacy::combine(policy, &self.own(sample), &mut answer)
            .map_err(|error| wrong(error.into()))?;
        Ok(answer)
    }

    /// Behind the samples from `first` on that have [`ROWS`] rows together; at least one.
    fn fitting(&self, first: usize) -> usize {
        let from = self.layout.range(first).start;
        let fits = |&end: &usize| self.layout.range(end).end - from <= ROWS;
        (first + 1..self.samples()).take_while(fits).last().unwrap_or(first) + 1
    }

    /// The decoded taps of `samples`.
    fn decode(
        &self,
        payloads: &[Payload<'_>],
        samples: Range<usize>,
        quantizer: &dyn Quantizer,
    ) -> Result<ActivationBatch, RunError> {
        let mut layout = Layout::empty();
        let mut rows = Range::default();
        for sample in samples.clone() {
            layout.push(self.layout.positions(sample).iter().copied());
            rows.end = self.layout.range(sample).end;
        }
        rows.start = rows.end - layout.rows();
        let mut taps = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let mut values = Vec::new();
            quantizer::decode(quantizer, &payload.slice(rows.clone()), &mut values)?;
            taps.push(values);
        }
        Ok(ActivationBatch::new(layout, self.hidden, taps).map_err(QuantizeError::from)?)
    }
}

/// Predicts with a trained side network.
pub struct Predictor {
    /// The device's half of the walk.
    pub path: TapPath,
    /// Encodes and decodes as in training.
    pub quantizer: Arc<dyn Quantizer>,
    /// The trained side network.
    pub network: Box<dyn SideNetwork>,
    /// What the outputs are.
    pub objective: Objective,
}

impl Predictor {
    /// For each sample the answer: probabilities of the classes, or the scaled value. `asked` tells
    /// what an error calls the sample of this index.
    ///
    /// # Errors
    /// If a stage fails, or an answer is not finite.
    pub fn predict(
        &mut self,
        tokens: &[&Tokens],
        asked: &dyn Fn(usize) -> Asked,
    ) -> Result<Vec<Vec<f32>>, RunError> {
        // Names matter to noise that is drawn per sample; what stays on the device needs none.
        let samples: Vec<SampleId> = (0..tokens.len() as u64).map(SampleId).collect();
        let (quantizer, mut taps) = (&*self.quantizer, Vec::new());
        let keep = &mut |tap: &[u8]| {
            taps.push(tap.to_vec());
            Ok(())
        };
        let kept = KeptBatch::forward(&mut self.path, quantizer, tokens, &samples, keep)?;
        let outputs = kept.outputs(&taps, quantizer, &*self.network)?;
        let policy = self.path.policy();
        let scale = policy.info().answers;
        let answers = outputs.rows().into_iter().enumerate().map(|(sample, side)| {
            let mut answer = kept.answer(policy, sample, side, asked)?;
            match (self.objective, scale) {
                (Objective::Regression, _) => {}
                (_, AnswerScale::Raw) => softmax(&mut answer),
                (_, AnswerScale::Probability) => nearest_distribution(&mut answer),
            }
            Ok(answer)
        });
        answers.collect()
    }
}

/// Logits to probabilities, in place.
pub fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - largest).exp();
        sum += *logit;
    }
    logits.iter_mut().for_each(|probability| *probability /= sum);
}

/// The probabilities that are nearest to `estimates`, in place: their Euclidean projection onto the
/// simplex (Held, Wolfe and Crowder, 1974). The order of the classes stays.
fn nearest_distribution(estimates: &mut [f32]) {
    let mut sorted = estimates.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (at, &value) in sorted.iter().enumerate() {
        sum += value;
        let candidate = (sum - 1.0) / (at + 1) as f32;
        if value > candidate {
            shift = candidate;
        }
    }
    estimates.iter_mut().for_each(|value| *value = (*value - shift).max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_distribution_stays_and_an_overshoot_is_cut() {
        let of = |mut estimates: Vec<f32>| {
            nearest_distribution(&mut estimates);
            estimates
        };
        assert_eq!(of(vec![0.25, 0.75]), [0.25, 0.75]);
        assert_eq!(of(vec![1.5, -0.5]), [1.0, 0.0]);
        assert_eq!(of(vec![-3.0, -3.0]), [0.5, 0.5]);
    }

    proptest! {
        #[test]
        fn it_is_a_distribution_in_the_order_of_the_estimates(
            estimates in proptest::collection::vec(-2.0f32..2.0, 1..6),
        ) {
            let mut nearest = estimates.clone();
            nearest_distribution(&mut nearest);
            prop_assert!((nearest.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            for (a, one) in estimates.iter().zip(&nearest) {
                prop_assert!((0.0..=1.0 + 1e-6).contains(one));
                for (b, other) in estimates.iter().zip(&nearest) {
                    prop_assert!(a < b || one >= other);
                }
            }
        }
    }
}
