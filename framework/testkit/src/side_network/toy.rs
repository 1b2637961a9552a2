//! The toy tasks.

use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::backbone::Pooling;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::sample::{Objective, Truth};
use mobillm_core::side_network::{Optimizer, SideNetworkContext};

use super::Task;

pub(super) const TAPS: [usize; 3] = [0, 2, 5];
pub(super) const HIDDEN: usize = 24;
pub(super) const SAMPLES: usize = 12;

/// A small task and its context.
#[derive(Debug, Clone)]
pub struct Toy {
    /// What a network for it is built from.
    pub context: SideNetworkContext,
    state: u64,
}

impl Toy {
    /// The one of `task`, to be trained in `steps` steps.
    pub fn new((objective, supervision): Task, steps: u64) -> Self {
        let optimizer = Optimizer { learning_rate: 3e-3, ..Optimizer::default() };
        let context = SideNetworkContext {
            taps: TAPS.to_vec(),
            hidden: HIDDEN,
            pooling: Pooling::Mean,
            objective,
            supervision,
            optimizer,
            steps,
            seed: 17,
            bundle: Fingerprint::of(b"a toy bundle"),
        };
        Self { context, state: 1 }
    }

    /// The next batch: the same sequence of batches for every toy.
    ///
    /// The scale of a tap grows with its layer, as that of hidden states does.
    pub fn batch(&mut self) -> (ActivationBatch, Vec<Supervision>) {
        let counts: Vec<usize> = (0..SAMPLES).map(|_| 1 + (self.next() * 5.0) as usize).collect();
        let layout = Layout::from_counts(counts.iter().copied());
        let hidden = self.context.hidden;
        let scales: Vec<f32> =
            self.context.taps.iter().map(|&layer| 10.0_f32.powi(layer as i32 / 2)).collect();
        let mut noise = |scale: &f32| {
            (0..layout.rows() * hidden).map(|_| scale * (2.0 * self.next() - 1.0)).collect()
        };
        let mut taps: Vec<Vec<f32>> = scales.iter().map(&mut noise).collect();
        let middle = taps.len() / 2;
        let mut supervision = Vec::new();
        for sample in 0..SAMPLES {
            let truth = self.truth();
            for row in layout.range(sample) {
                // the direction is the first three values, one for each class
                for (index, value) in taps[middle][row * hidden..][..3].iter_mut().enumerate() {
                    *value = scales[middle] * signal(truth, index);
                }
            }
            supervision.push(self.supervision(truth));
        }
        (ActivationBatch::new(layout, hidden, taps).expect("the toy's own shapes"), supervision)
    }

    fn truth(&mut self) -> Truth {
        let drawn = self.next();
        match self.context.objective {
            Objective::Classification { classes } => Truth::Class((drawn * classes as f32) as u32),
            Objective::Regression => Truth::Value(2.0 * drawn - 1.0),
        }
    }

    /// What a policy would tell of `truth`.
    fn supervision(&self, truth: Truth) -> Supervision {
        let own = self.own(truth);
        match (self.context.supervision, truth) {
            (SupervisionKind::Truth, Truth::Class(class)) => Supervision::Label(class),
            (SupervisionKind::Truth, Truth::Value(value)) => Supervision::Value(value),
            (SupervisionKind::Difference, Truth::Class(class)) => {
                let total: f32 = own.iter().map(|logit| logit.exp()).sum();
                let one_hot = |index| f32::from(u8::from(index == class as usize));
                let difference =
                    |(index, logit): (usize, &f32)| one_hot(index) - logit.exp() / total;
                Supervision::Difference(own.iter().enumerate().map(difference).collect())
            }
            (SupervisionKind::Difference, Truth::Value(value)) => {
                Supervision::Difference(own.iter().map(|own| value - own).collect())
            }
            (SupervisionKind::TruthAndOwn, Truth::Class(class)) => {
                Supervision::LabelAndOwn(class, own)
            }
            other => panic!("there is no such supervision: {other:?}"),
        }
    }

    /// The device's own prediction: logits that lean to the true class, or half the true value.
    fn own(&self, truth: Truth) -> Vec<f32> {
        let logit = |index: usize| match truth {
            Truth::Class(class) if class as usize == index => 0.5,
            Truth::Class(_) => 0.1 * index as f32,
            Truth::Value(value) => 0.5 * value,
        };
        (0..self.context.objective.outputs()).map(logit).collect()
    }

    /// Uniform in 0..1 (splitmix64).
    fn next(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

fn signal(truth: Truth, index: usize) -> f32 {
    match truth {
        Truth::Class(class) if class as usize == index => 3.0,
        Truth::Class(_) => 0.0,
        Truth::Value(value) => 2.0 * value * (index as f32 - 1.0),
    }
}
