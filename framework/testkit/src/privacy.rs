//! Laws of [`PrivacyPolicy`] and its config twin.
//!
//! ```
//! use mobillm_core::sample::Objective;
//! use mobillm_privacy::LabelsConfig;
//! use mobillm_testkit::privacy::conformance;
//!
//! let objective = Objective::Classification { classes: 3 };
//! conformance(&LabelsConfig::default(), objective);
//! ```

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, PrivacyPolicy, PrivacyPolicyConfig, Purpose, ReleaseContext, Supervision,
    SupervisionKind, release,
};
use mobillm_core::sample::{Objective, SampleId, Truth};
use ndarray::{Array2, s};
use proptest::prelude::*;

use crate::runner;

/// How far a sum of own prediction and difference may lie from the truth.
const TOLERANCE: f32 = 1e-5;

/// Runs every law for a task like `objective`.
///
/// What the policy announces decides where its answers must come from: trained on the truth alone (or on
/// what another policy says), the side network answers; otherwise it is added to the own prediction.
///
/// # Panics
/// With the law that `config` breaks.
pub fn conformance(config: &dyn PrivacyPolicyConfig, objective: Objective) {
    let findings = config.check(&objective);
    assert!(findings.is_empty(), "it can be used with {objective:?}: {findings:?}");
    laws(&|| config.build(&objective), objective);
}

/// Makes the policy, as often as it is asked.
type Build<'a> = &'a dyn Fn() -> Box<dyn PrivacyPolicy>;

fn laws(build: Build<'_>, objective: Objective) {
    it_says_what_it_does(build, objective);
    let law = |holds: &dyn Fn(&Batch)| runner::law(&batches(), |batch| holds(&batch));
    law(&|batch| shapes_stay(build().as_mut(), batch));
    law(&|batch| batch_mates_change_nothing(build().as_mut(), batch));
    law(&|batch| a_second_release_is_the_first(build, batch));
    let cases = cases(objective);
    let law = |holds: &dyn Fn(&Case)| runner::law(&cases, |case| holds(&case));
    law(&|case| supervision_is_of_its_kind_and_stays(build, objective, case));
    match build().info().supervision {
        None | Some(SupervisionKind::Truth) => {
            law(&|case| the_side_network_has_the_word(build().as_ref(), case));
        }
        Some(_) => {
            law(&|case| silence_leaves_the_own_prediction(build().as_ref(), objective, case));
            law(&|case| a_difference_gives_the_truth(build().as_mut(), case));
        }
    }
    law(&|case| what_does_not_fit_is_refused(build().as_mut(), objective, case));
}

fn it_says_what_it_does(build: Build<'_>, objective: Objective) {
    let info = build().info();
    assert!(!info.guarantee.is_empty(), "a policy says what it guarantees, or \"none\"");
    assert_eq!(info, build().info(), "a policy says the same whenever it is asked");
    let has_probabilities = info.answers == AnswerScale::Probability;
    assert!(
        !has_probabilities || objective != Objective::Regression,
        "a regression has no probabilities"
    );
}

/// A micro-batch of samples with names and rows of their own.
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

fn a_second_release_is_the_first(build: Build<'_>, batch: &Batch) {
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

/// A sample with its truth and what the backbone predicts for it.
#[derive(Debug, Clone)]
struct Case {
    name: SampleId,
    truth: Truth,
    own: Vec<f32>,
}

impl Case {
    fn supervise(&self, policy: &mut dyn PrivacyPolicy) -> Option<Supervision> {
        match policy.supervise(self.name, self.truth, &self.own) {
            Ok(supervision) => supervision,
            Err(error) => panic!("a truth of the task is supervised: {error}"),
        }
    }

    /// The answer when the side network says `side`.
    fn combined(&self, policy: &dyn PrivacyPolicy, mut side: Vec<f32>) -> Vec<f32> {
        policy.combine(&self.own, &mut side);
        assert_eq!(side.len(), self.own.len(), "an answer has a number for each output");
        side
    }
}

fn cases(objective: Objective) -> BoxedStrategy<Case> {
    let name = any::<u64>().prop_map(SampleId);
    match objective {
        Objective::Classification { classes } => {
            let class = (0..classes as u32).prop_map(Truth::Class);
            let case = |(name, truth, own)| Case { name, truth, own };
            (name, class, logits(classes)).prop_map(case).boxed()
        }
        Objective::Regression => {
            let value = (0f32..=1.0).prop_map(Truth::Value);
            let case = |(name, truth, own)| Case { name, truth, own: vec![own] };
            (name, value, 0f32..=1.0).prop_map(case).boxed()
        }
    }
}

/// Ordinary logits, any other finite ones, and some that equal the first or lie as near as can be.
fn logits(classes: usize) -> impl Strategy<Value = Vec<f32>> {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let logit = prop_oneof![-8f32..8.0, POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO];
    prop::collection::vec((logit, 0..6), classes).prop_map(|logits| {
        let first = logits[0].0;
        let near_or_far = |(logit, kin)| match kin {
            0 => first,
            1 => first.next_up().min(f32::MAX),
            _ => logit,
        };
        logits.into_iter().map(near_or_far).collect()
    })
}

fn supervision_is_of_its_kind_and_stays(build: Build<'_>, objective: Objective, case: &Case) {
    let mut policy = build();
    let first = case.supervise(policy.as_mut());
    assert_eq!(first, case.supervise(policy.as_mut()), "a second supervision is the first");
    assert_eq!(first, case.supervise(build().as_mut()), "a resumed run supervises the same");
    let kind = first.as_ref().map(Supervision::kind);
    assert_eq!(kind, policy.info().supervision, "supervision is of the kind that `info` says");

    let is_class = |class: u32| match objective {
        Objective::Classification { classes } => (class as usize) < classes,
        Objective::Regression => false,
    };
    let are_outputs = |values: &[f32]| {
        values.len() == objective.outputs() && values.iter().all(|value| value.is_finite())
    };
    let fits = match &first {
        None => true,
        Some(Supervision::Label(class)) => is_class(*class),
        Some(Supervision::Value(value)) => objective == Objective::Regression && value.is_finite(),
        Some(Supervision::Difference(values)) => are_outputs(values),
        Some(Supervision::LabelAndOwn(class, own)) => is_class(*class) && are_outputs(own),
        Some(other) => panic!("this suite knows no law for {other:?}"),
    };
    assert!(fits, "supervision fits a task like {objective:?}: {first:?}");
}

fn the_side_network_has_the_word(policy: &dyn PrivacyPolicy, case: &Case) {
    let side: Vec<f32> = case.own.iter().map(|value| 0.5 - value).collect();
    assert_eq!(case.combined(policy, side.clone()), side, "the side network's word is kept");
}

fn silence_leaves_the_own_prediction(
    policy: &dyn PrivacyPolicy,
    objective: Objective,
    case: &Case,
) {
    let answer = case.combined(policy, vec![0.0; case.own.len()]);
    for (a, own) in answer.iter().zip(&case.own) {
        for (b, other) in answer.iter().zip(&case.own) {
            let law = "a side network that says nothing leaves the own ranking, ties included";
            assert_eq!(a.partial_cmp(b), own.partial_cmp(other), "{law}: {answer:?}");
        }
    }
    if objective == Objective::Regression {
        let off = (answer[0] - case.own[0]).abs();
        assert!(off < TOLERANCE, "a side network that says nothing leaves the own value");
    }
    if policy.info().answers == AnswerScale::Probability {
        let sum: f32 = answer.iter().sum();
        let are_probabilities = answer.iter().all(|p| (0.0..=1.0).contains(p));
        assert!(
            are_probabilities && (sum - 1.0).abs() < TOLERANCE,
            "the own prediction on the scale of probabilities: {answer:?}"
        );
    }
}

fn a_difference_gives_the_truth(policy: &mut dyn PrivacyPolicy, case: &Case) {
    let Some(Supervision::Difference(difference)) = case.supervise(policy) else { return };
    let answer = case.combined(policy, difference);
    let is_near = |value: f32, truth: f32| (value - truth).abs() < TOLERANCE;
    let is_true = match case.truth {
        Truth::Value(truth) => is_near(answer[0], truth),
        Truth::Class(class) => {
            answer.iter().enumerate().all(|(c, &value)| match policy.info().answers {
                AnswerScale::Probability => is_near(value, f32::from(c == class as usize)),
                AnswerScale::Raw => c == class as usize || value < answer[class as usize],
            })
        }
    };
    assert!(is_true, "a difference that is learned gives the truth: {answer:?}");
}

fn what_does_not_fit_is_refused(policy: &mut dyn PrivacyPolicy, objective: Objective, case: &Case) {
    let Some(kind) = policy.info().supervision else { return };
    let truths = match objective {
        Objective::Classification { classes } => {
            [Truth::Class(classes as u32), Truth::Class(u32::MAX), Truth::Value(0.5)]
        }
        Objective::Regression => {
            [Truth::Class(0), Truth::Value(f32::NAN), Truth::Value(f32::INFINITY)]
        }
    };
    for truth in truths {
        let result = policy.supervise(case.name, truth, &case.own);
        assert!(result.is_err(), "{truth:?} does not fit and is refused");
    }
    if kind == SupervisionKind::Truth {
        return;
    }
    let with = |at: usize, value: f32| {
        let mut own = case.own.clone();
        own[at] = value;
        own
    };
    let last = case.own.len() - 1;
    let longer = [case.own.as_slice(), &[0.0]].concat();
    for own in [
        with(0, f32::NAN),
        with(last, f32::INFINITY),
        with(last, f32::NEG_INFINITY),
        case.own[..last].to_vec(),
        longer,
    ] {
        let result = policy.supervise(case.name, case.truth, &own);
        assert!(result.is_err(), "an own prediction that does not fit is refused: {own:?}");
    }
}

#[cfg(test)]
mod mutants;
