//! Laws of [`PrivacyPolicy`] and its config twin.
//!
//! ```
//! use mobillm_core::sample::Objective;
//! use mobillm_privacy::LabelsConfig;
//! use mobillm_testkit::privacy::{Answer, conformance};
//!
//! let objective = Objective::Classification { classes: 3 };
//! conformance(&LabelsConfig::default(), objective, Answer::Side);
//! ```

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    PrivacyPolicy, PrivacyPolicyConfig, Purpose, ReleaseContext, Supervision, SupervisionKind,
    release,
};
use mobillm_core::sample::{Objective, SampleId, Truth};
use ndarray::{Array2, s};
use proptest::prelude::*;

use crate::runner;

/// Where the device's answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// From the side network alone.
    Side,
    /// From the backbone's own prediction and what the side network adds to it.
    OwnPlusSide,
}

/// Runs every law for a task like `objective`.
///
/// # Panics
/// With the law that `config` breaks.
pub fn conformance(config: &dyn PrivacyPolicyConfig, objective: Objective, answer: Answer) {
    let findings = config.check(&objective);
    assert!(findings.is_empty(), "it can be used with {objective:?}: {findings:?}");
    laws(|| config.build(&objective), objective, answer);
}

fn laws(build: impl Fn() -> Box<dyn PrivacyPolicy>, objective: Objective, answer: Answer) {
    let guarantee = build().info().guarantee;
    assert!(!guarantee.is_empty(), "a policy says what it guarantees, or \"none\"");
    let law = |holds: &dyn Fn(&Batch)| runner::law(&batches(), |batch| holds(&batch));
    law(&|batch| shapes_stay(build().as_mut(), batch));
    law(&|batch| batch_mates_change_nothing(build().as_mut(), batch));
    law(&|batch| a_second_release_is_the_first(&build, batch));
    law(&|batch| supervision_is_of_its_kind_and_stays(&build, objective, batch));
    law(&|batch| the_answer_is_where_it_should_be(build().as_ref(), objective, answer, batch));
}

/// A micro-batch of samples with names, rows and predictions of their own.
#[derive(Debug, Clone)]
struct Batch {
    names: Vec<SampleId>,
    counts: Vec<usize>,
    rows: Array2<f32>,
}

impl Batch {
    fn selected(&self, samples: std::ops::Range<usize>) -> Selected {
        let start: usize = self.counts[..samples.start].iter().sum();
        let counts = &self.counts[samples];
        let end = start + counts.iter().sum::<usize>();
        let values = self.rows.slice(s![start..end, ..]).iter().copied().collect();
        let layout = Layout::from_counts(counts.iter().copied());
        match Selected::new(4, layout, self.rows.ncols(), values) {
            Ok(selected) => selected,
            Err(error) => unreachable!("rows were counted above: {error}"),
        }
    }

    /// Some outputs, to stand for a prediction.
    fn outputs(&self, count: usize) -> Vec<f32> {
        (0..count).map(|output| (self.names[0].0 % 97) as f32 / 97.0 - output as f32).collect()
    }
}

fn batches() -> impl Strategy<Value = Batch> {
    let samples = prop::collection::btree_map(any::<u64>(), 0usize..5, 1..6);
    (samples, 1usize..6).prop_flat_map(|(samples, hidden)| {
        let names: Vec<SampleId> = samples.keys().copied().map(SampleId).collect();
        let counts: Vec<usize> = samples.into_values().collect();
        let rows = counts.iter().sum::<usize>();
        prop::collection::vec(-100f32..100.0, rows * hidden).prop_map(move |values| Batch {
            names: names.clone(),
            counts: counts.clone(),
            rows: Array2::from_shape_fn((rows, hidden), |(row, column)| {
                values[row * hidden + column]
            }),
        })
    })
}

/// What leaves of `samples`.
fn released(
    policy: &mut dyn PrivacyPolicy,
    batch: &Batch,
    samples: std::ops::Range<usize>,
) -> Array2<f32> {
    let names = &batch.names[samples.clone()];
    let context = ReleaseContext { samples: names, purpose: Purpose::Train };
    let selected = batch.selected(samples);
    let (layer, layout) = (selected.layer(), selected.layout().clone());
    match release(policy, &context, selected) {
        Ok(cleared) => {
            assert_eq!((cleared.layer(), cleared.layout()), (layer, &*layout), "shapes stay");
            cleared.rows().to_owned()
        }
        Err(error) => panic!("finite rows are released as finite rows: {error}"),
    }
}

fn shapes_stay(policy: &mut dyn PrivacyPolicy, batch: &Batch) {
    let all = released(policy, batch, 0..batch.names.len());
    assert_eq!(all.dim(), batch.rows.dim(), "shapes stay");
}

fn batch_mates_change_nothing(policy: &mut dyn PrivacyPolicy, batch: &Batch) {
    let together = released(policy, batch, 0..batch.names.len());
    let layout = Layout::from_counts(batch.counts.iter().copied());
    for sample in 0..batch.names.len() {
        let alone = released(policy, batch, sample..sample + 1);
        let of_sample = together.slice(s![layout.range(sample), ..]);
        assert_eq!(bits(of_sample.iter()), bits(alone.iter()), "batch mates change nothing");
    }
}

fn a_second_release_is_the_first(build: &impl Fn() -> Box<dyn PrivacyPolicy>, batch: &Batch) {
    let mut policy = build();
    let all = 0..batch.names.len();
    let first = released(policy.as_mut(), batch, all.clone());
    let second = released(policy.as_mut(), batch, all.clone());
    assert_eq!(bits(first.iter()), bits(second.iter()), "a second release is the first");
    let resumed = released(build().as_mut(), batch, all);
    assert_eq!(bits(first.iter()), bits(resumed.iter()), "a resumed run releases the same");
}

fn bits<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<u32> {
    values.map(|value| value.to_bits()).collect()
}

fn supervision_is_of_its_kind_and_stays(
    build: &impl Fn() -> Box<dyn PrivacyPolicy>,
    objective: Objective,
    batch: &Batch,
) {
    let mut policy = build();
    let own = batch.outputs(objective.outputs());
    for &name in &batch.names {
        let truth = match objective {
            Objective::Classification { classes } => Truth::Class((name.0 % classes as u64) as u32),
            Objective::Regression => Truth::Value((name.0 % 101) as f32 / 100.0),
        };
        let supervise =
            |policy: &mut dyn PrivacyPolicy| match policy.supervise(name, truth, Some(&own)) {
                Ok(supervision) => supervision,
                Err(error) => panic!("a truth of the task is supervised: {error}"),
            };
        let first = supervise(policy.as_mut());
        assert_eq!(first, supervise(policy.as_mut()), "a second supervision is the first");
        assert_eq!(first, supervise(build().as_mut()), "a resumed run supervises the same");
        let is_of_its_kind = match (policy.info().supervision, objective, &first) {
            (None, _, None) => true,
            (
                Some(SupervisionKind::Label),
                Objective::Classification { classes },
                Some(Supervision::Label(class)),
            ) => (*class as usize) < classes,
            (
                Some(SupervisionKind::Label),
                Objective::Regression,
                Some(Supervision::Value(value)),
            ) => value.is_finite(),
            _ => false,
        };
        assert!(is_of_its_kind, "supervision is of the kind that `info` says: {first:?}");
    }
}

fn the_answer_is_where_it_should_be(
    policy: &dyn PrivacyPolicy,
    objective: Objective,
    answer: Answer,
    batch: &Batch,
) {
    let own = batch.outputs(objective.outputs());
    let combined = |own: Option<&[f32]>, mut side: Vec<f32>| {
        policy.combine(own, &mut side);
        side
    };
    match answer {
        Answer::OwnPlusSide => {
            let zeros = combined(Some(&own), vec![0.0; own.len()]);
            assert_eq!(zeros, own, "a side network that says nothing leaves the own prediction");
        }
        Answer::Side => {
            let side: Vec<f32> = own.iter().map(|value| 0.5 - value).collect();
            for own in [None, Some(own.as_slice())] {
                assert_eq!(combined(own, side.clone()), side, "the side network's word is kept");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;

    use mobillm_core::privacy::{PolicyError, PolicyInfo};

    use super::*;

    /// Breaks one law at a time.
    struct Broken(&'static str);

    impl PrivacyPolicy for Broken {
        fn info(&self) -> PolicyInfo {
            let guarantee = if self.0 == "silent" { "" } else { "none" };
            let supervision = Some(SupervisionKind::Label);
            PolicyInfo { supervision, guarantee: guarantee.into() }
        }

        fn activations(
            &mut self,
            _: &ReleaseContext<'_>,
            selected: &mut Selected,
        ) -> Result<(), PolicyError> {
            let rows = selected.layout().rows() as f32;
            match self.0 {
                "mates" => selected.rows_mut().mapv_inplace(|value| value / rows),
                "redrawn" => {
                    let noise = (RandomState::new().hash_one(0) % 1000) as f32;
                    selected.rows_mut().mapv_inplace(|value| value + noise);
                }
                "infinite" => selected.rows_mut().fill(f32::INFINITY),
                _ => {}
            }
            Ok(())
        }

        fn supervise(
            &mut self,
            _: SampleId,
            truth: Truth,
            _: Option<&[f32]>,
        ) -> Result<Option<Supervision>, PolicyError> {
            Ok(match (truth, self.0) {
                (_, "untold") => None,
                (Truth::Class(class), "beyond") => Some(Supervision::Label(class + 1)),
                (Truth::Class(class), _) => Some(Supervision::Label(class)),
                (Truth::Value(value), _) => Some(Supervision::Value(value)),
            })
        }

        fn combine(&self, own: Option<&[f32]>, side: &mut [f32]) {
            if let ("adds" | "subtracts", Some(own)) = (self.0, own) {
                let sign = if self.0 == "adds" { 1.0 } else { -1.0 };
                side.iter_mut().zip(own).for_each(|(side, own)| *side += sign * own);
            }
        }
    }

    fn all_laws(broken: &'static str, answer: Answer) {
        for objective in [Objective::Classification { classes: 3 }, Objective::Regression] {
            laws(|| Box::new(Broken(broken)), objective, answer);
        }
    }

    #[test]
    fn sound_policies_pass_and_each_break_is_caught() {
        all_laws("nothing", Answer::Side);
        all_laws("adds", Answer::OwnPlusSide);
        let side = ["silent", "mates", "redrawn", "infinite", "untold", "beyond", "adds"];
        let broken = side.map(|broken| (broken, Answer::Side)).into_iter();
        let own = ["nothing", "subtracts"].map(|broken| (broken, Answer::OwnPlusSide));
        for (broken, answer) in broken.chain(own) {
            let caught = std::panic::catch_unwind(|| all_laws(broken, answer));
            assert!(caught.is_err(), "`{broken}` is not caught with {answer:?}");
        }
    }
}
