//! Laws of the privacy policy slot.
//!
//! [`privacy_policy_conformance!`](crate::privacy_policy_conformance) makes a test of each;
//! [`conformance`] holds them all at once, for a task:
//!
//! ```
//! use mobillm_core::sample::Objective;
//! use mobillm_privacy::LabelsConfig;
//! use mobillm_testkit::privacy::conformance;
//!
//! let objective = Objective::Classification { classes: 3 };
//! conformance(&LabelsConfig::default(), objective);
//! ```
//!
//! What a policy announces decides where its answers must come from: trained on the truth alone (or on what
//! another policy says), the side network answers; otherwise it is added to the own prediction.
//!
//! # Laws
//!
//! Each is held for two classes, three classes and a regression, as far as `check` finds no fault.
//!
//! * `it_is_for_some_task`: `check` finds no fault with at least one of them.
//! * `it_says_what_it_does`: a guarantee in words, the same whenever it is asked; a regression has no
//!   probabilities.
//! * `shapes_stay`: a release has the rows, the layout and the layer of what was selected, and finite rows
//!   stay finite.
//! * `batch_mates_change_nothing`: a sample is released as it is alone, to the bit.
//! * `a_second_release_is_the_first`: of the same sample, also by another instance: a resumed run sends the
//!   same.
//! * `a_prediction_changes_no_later_release`: predicting spends nothing of what training may release.
//! * `supervision_is_of_its_kind_and_stays`: it is what `info` announces, fits the task, and is the same a
//!   second time.
//! * `the_side_network_has_the_word`: trained on the truth, its output is the answer. Only for such policies.
//! * `silence_leaves_the_own_prediction`: a side network that says zero leaves the own ranking and value.
//!   Only where answers start from the own prediction.
//! * `a_difference_gives_the_truth`: added to the own prediction, a difference that was learned is the truth.
//!   Only there, too.
//! * `what_does_not_fit_is_refused`: truths and own predictions that are no numbers, of another task or of
//!   another width.

mod answers;
#[cfg(test)]
mod mutants;

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::privacy::{
    AnswerScale, PrivacyPolicy, PrivacyPolicyConfig, Purpose, ReleaseContext, SupervisionKind,
    release,
};
use mobillm_core::sample::{Objective, SampleId};
use ndarray::{Array2, s};
use proptest::prelude::*;

use crate::law::{Law, hold_all};
use crate::runner;
use answers::{
    a_difference_gives_the_truth, cases, silence_leaves_the_own_prediction,
    supervision_is_of_its_kind_and_stays, the_side_network_has_the_word,
    what_does_not_fit_is_refused,
};

/// The tasks that [`laws`] tries, as far as the policy is for them.
const OBJECTIVES: [Objective; 3] = [
    Objective::Classification { classes: 2 },
    Objective::Classification { classes: 3 },
    Objective::Regression,
];

/// Makes a module of tests, one for each law, of the policies of a [`PrivacyPolicyConfig`]. The module has
/// the name that is given, or `conformance`.
///
/// ```
/// use mobillm_privacy::LabelsConfig;
///
/// mobillm_testkit::privacy_policy_conformance!(LabelsConfig::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! privacy_policy_conformance {
    (@laws $then:ident $($given:tt)*) => {
        $crate::$then! {
            [
                it_is_for_some_task
                it_says_what_it_does
                shapes_stay
                batch_mates_change_nothing
                a_second_release_is_the_first
                a_prediction_changes_no_later_release
                supervision_is_of_its_kind_and_stays
                the_side_network_has_the_word
                silence_leaves_the_own_prediction
                a_difference_gives_the_truth
                what_does_not_fit_is_refused
            ]
            $($given)*
        }
    };
    ($module:ident, $config:expr $(,)?) => {
        $crate::privacy_policy_conformance! { @laws __law_tests $module, |name: &str| {
            $crate::law::hold(&$crate::privacy::laws(&$config), name)
        } }
    };
    ($config:expr $(,)?) => {
        $crate::privacy_policy_conformance! { conformance, $config }
    };
}

/// Runs every law for a task like `objective`.
///
/// # Panics
/// With the law that `config` breaks.
pub fn conformance(config: &dyn PrivacyPolicyConfig, objective: Objective) {
    let findings = config.check(&objective);
    assert!(findings.is_empty(), "it can be used with {objective:?}: {findings:?}");
    hold_all(&suite(move || vec![objective], move |objective| config.build(objective)));
}

/// Every law, for the policies of `config`, held for those of three tasks (classes, two and three, and a
/// regression) that it finds no fault with.
pub fn laws(config: &dyn PrivacyPolicyConfig) -> Vec<Law<'_>> {
    let fits = move |objective: &Objective| config.check(objective).is_empty();
    suite(
        move || OBJECTIVES.into_iter().filter(fits).collect(),
        move |objective| config.build(objective),
    )
}

/// Makes the policy, as often as it is asked.
type Build<'a> = &'a dyn Fn() -> Box<dyn PrivacyPolicy>;

/// The laws of what `build` makes for each of `objectives`.
fn suite<'a>(
    objectives: impl Fn() -> Vec<Objective> + Copy + 'a,
    build: impl Fn(&Objective) -> Box<dyn PrivacyPolicy> + Copy + 'a,
) -> Vec<Law<'a>> {
    let law = |name, holds: fn(Build<'_>, Objective)| {
        Law::new(name, move || {
            for objective in objectives() {
                holds(&|| build(&objective), objective);
            }
        })
    };
    // Where the answers must come from is the same for all tasks: it follows from what is announced.
    let adds = move || {
        let first = objectives().first().copied()?;
        let supervision = build(&first).info().supervision;
        Some(!matches!(supervision, None | Some(SupervisionKind::Truth)))
    };
    let only_if = |added: bool, law: Law<'a>| {
        law.unless(move || match adds() {
            Some(adds) if adds != added && added => {
                Some("its answers are those of the side network".into())
            }
            Some(adds) if adds != added => Some("its answers start from the own prediction".into()),
            _ => None,
        })
    };
    vec![
        Law::new("it_is_for_some_task", move || {
            assert!(!objectives().is_empty(), "it finds fault with each of {OBJECTIVES:?}");
        }),
        law("it_says_what_it_does", it_says_what_it_does),
        law("shapes_stay", |build, _| {
            runner::law(&batches(), |batch| shapes_stay(build().as_mut(), &batch));
        }),
        law("batch_mates_change_nothing", |build, _| {
            runner::law(&batches(), |batch| batch_mates_change_nothing(build().as_mut(), &batch));
        }),
        law("a_second_release_is_the_first", |build, _| {
            runner::law(&batches(), |batch| a_second_release_is_the_first(build, &batch));
        }),
        law("a_prediction_changes_no_later_release", |build, _| {
            runner::law(&batches(), |batch| a_prediction_changes_no_later_release(build, &batch));
        }),
        law("supervision_is_of_its_kind_and_stays", |build, objective| {
            runner::law(&cases(objective), |case| {
                supervision_is_of_its_kind_and_stays(build, objective, &case);
            });
        }),
        only_if(
            false,
            law("the_side_network_has_the_word", |build, objective| {
                runner::law(&cases(objective), |case| {
                    the_side_network_has_the_word(build().as_ref(), &case);
                });
            }),
        ),
        only_if(
            true,
            law("silence_leaves_the_own_prediction", |build, objective| {
                runner::law(&cases(objective), |case| {
                    silence_leaves_the_own_prediction(build().as_ref(), objective, &case);
                });
            }),
        ),
        only_if(
            true,
            law("a_difference_gives_the_truth", |build, objective| {
                runner::law(&cases(objective), |case| {
                    a_difference_gives_the_truth(build().as_mut(), &case);
                });
            }),
        ),
        law("what_does_not_fit_is_refused", |build, objective| {
            runner::law(&cases(objective), |case| {
                what_does_not_fit_is_refused(build().as_mut(), objective, &case);
            });
        }),
    ]
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
    released_to(Purpose::Train, policy, batch, samples)
}

fn released_to(
    purpose: Purpose,
    policy: &mut dyn PrivacyPolicy,
    batch: &Batch,
    samples: std::ops::Range<usize>,
) -> Array2<f32> {
    let context = ReleaseContext { samples: &batch.names[samples.clone()], purpose };
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

/// A prediction spends nothing: what is released after it is what would have been released without.
fn a_prediction_changes_no_later_release(build: Build<'_>, batch: &Batch) {
    let mut policy = build();
    let all = 0..batch.names.len();
    for _ in 0..3 {
        released_to(Purpose::Predict, policy.as_mut(), batch, all.clone());
    }
    let after = released(policy.as_mut(), batch, all.clone());
    let without = released(build().as_mut(), batch, all);
    assert_eq!(bits(after.iter()), bits(without.iter()), "a prediction changes no later release");
}

fn bits<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<u32> {
    values.map(|value| value.to_bits()).collect()
}
