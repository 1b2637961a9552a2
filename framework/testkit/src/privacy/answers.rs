//! Laws of what the server is told of a truth, and of the answers that are made of what it learned.

use mobillm_core::privacy::{AnswerScale, PrivacyPolicy, Supervision, SupervisionKind};
use mobillm_core::sample::{Objective, SampleId, Truth};
use proptest::prelude::*;

use super::Build;

/// How far a sum of own prediction and difference may lie from the truth.
const TOLERANCE: f32 = 1e-5;

/// A sample with its truth and what the backbone predicts for it.
#[derive(Debug, Clone)]
pub(super) struct Case {
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
        if let Err(error) = policy.combine(&self.own, &mut side) {
            panic!("an own prediction of the task is combined: {error}");
        }
        assert_eq!(side.len(), self.own.len(), "an answer has a number for each output");
        side
    }
}

pub(super) fn cases(objective: Objective) -> BoxedStrategy<Case> {
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

pub(super) fn supervision_is_of_its_kind_and_stays(
    build: Build<'_>,
    objective: Objective,
    case: &Case,
) {
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

pub(super) fn the_side_network_has_the_word(policy: &dyn PrivacyPolicy, case: &Case) {
    let side: Vec<f32> = case.own.iter().map(|value| 0.5 - value).collect();
    assert_eq!(case.combined(policy, side.clone()), side, "the side network's word is kept");
}

pub(super) fn silence_leaves_the_own_prediction(
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

pub(super) fn a_difference_gives_the_truth(policy: &mut dyn PrivacyPolicy, case: &Case) {
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

pub(super) fn what_does_not_fit_is_refused(
    policy: &mut dyn PrivacyPolicy,
    objective: Objective,
    case: &Case,
) {
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
