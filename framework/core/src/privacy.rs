//! What the server may see.
//!
//! Nothing leaves the device but through [`release`] and [`release_supervision`]: they alone make a
//! [`Cleared`] and a [`ClearedSupervision`], encoding takes nothing else, and both run the policy;
//! a test shows that what is not cleared does not even compile.
//!
//! Straight about its limit: the type shows that *a* policy ran, not that the policy is a good one.
//! A malicious policy can pass everything through.

use std::fmt;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::BoxError;
use crate::activations::{Layout, Selected, SelectedMut};
use crate::diagnostic::Diagnostic;
use crate::sample::{Objective, SampleId, Truth};
pub use crate::supervision::{Supervision, SupervisionKind};

/// Why something may not or cannot be released.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A hidden state is not a number: the model or its precision is broken.
    #[error(
        "layer {layer}, row {row}: the activation is {value}; expected finite numbers (a damaged \
         weight file or an overflow in low precision gives such values)"
    )]
    NotFinite {
        /// The tapped layer.
        layer: usize,
        /// The row within the micro-batch.
        row: usize,
        /// The offending value.
        value: f32,
    },
    /// The policy cannot work on this.
    #[error("policy {policy}: {problem}")]
    Refused {
        /// The policy's tag.
        policy: &'static str,
        /// Why.
        problem: String,
    },
    /// No policy of this pipeline says what the server trains on.
    #[error("the policy {policy} releases no supervision; use one that does, such as `labels`")]
    NoSupervision {
        /// The policy's tag.
        policy: &'static str,
    },
    /// An answer is not a number.
    #[error(
        "output {output} is {value} once the policy of `device.privacy` has combined it with the \
         device's own prediction; expected finite numbers: mend the policy, or take another"
    )]
    Answer {
        /// The output.
        output: usize,
        /// The offending value.
        value: f32,
    },
    /// A policy that was loaded failed.
    #[error(transparent)]
    Plugin(BoxError),
}

/// What a release is for. Predicting spends no privacy budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The server will keep it and train on it.
    Train,
    /// It stays on the device.
    Predict,
}

/// What a policy may look at beside the data.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseContext<'a> {
    /// Name of each sample of the micro-batch: noise is a function of it, drawn once and kept.
    pub samples: &'a [SampleId],
    /// What the release is for.
    pub purpose: Purpose,
}

/// What scale a policy's answers are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerScale {
    /// Logits of the classes, or the scaled target of a regression.
    Raw,
    /// Estimated probabilities of the classes: sums of own probability and predicted difference, that
    /// may leave 0 to 1 and are to be clipped and normalised before they are shown.
    Probability,
}

/// What a policy says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// What the server trains on, if this policy decides it.
    pub supervision: Option<SupervisionKind>,
    /// The scale of what [`combine`](PrivacyPolicy::combine) returns.
    pub answers: AnswerScale,
    /// The guarantee in words, and "none" where there is none.
    pub guarantee: String,
}

/// Decides what the server sees of activations and of the truth.
///
/// What it promises beyond its types are the laws of `mobillm_testkit::privacy`.
///
/// The device's *own* prediction is the backbone's task head: `[outputs]` logits, or the scaled target.
/// A backbone without one predicts the prior: the logarithm of each class's share of the training rows,
/// of which one more is imagined in every class, or the mean of their targets.
pub trait PrivacyPolicy: Send {
    /// What leaves and what is guaranteed.
    fn info(&self) -> PolicyInfo;

    /// Changes the rows in place to what may leave. The default lets them pass.
    ///
    /// # Errors
    /// If the policy cannot work on this.
    fn activations(
        &mut self,
        context: &ReleaseContext<'_>,
        selected: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        let _ = (context, selected);
        Ok(())
    }

    /// What the server is told to train on for `sample`, given the truth and the device's `own`
    /// prediction, `[outputs]`. The default tells nothing.
    ///
    /// # Errors
    /// If the policy cannot work on this.
    fn supervise(
        &mut self,
        sample: SampleId,
        truth: Truth,
        own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        let _ = (sample, truth, own);
        Ok(None)
    }

    /// The device's answer from its `own` prediction and the side network's output `side`, both
    /// `[outputs]`; `side` is changed in place. The default takes the side network's word.
    ///
    /// # Errors
    /// If the policy cannot work on this; `side` is then worth nothing.
    fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        let _ = (own, side);
        Ok(())
    }
}

/// Activations that a policy has released.
#[derive(Debug)]
pub struct Cleared {
    selected: Selected,
}

impl Cleared {
    /// The tapped layer.
    pub fn layer(&self) -> usize {
        self.selected.layer()
    }

    /// Which rows belong to which sample.
    pub fn layout(&self) -> &Layout {
        self.selected.layout()
    }

    /// The rows, `[rows, hidden]`, contiguous.
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.selected.rows()
    }

    /// The rows, lent to a quantizer.
    pub fn lend(&self) -> ClearedRows<'_> {
        ClearedRows { rows: self.rows() }
    }

    /// The memory, for the next tap.
    pub fn into_values(self) -> Vec<f32> {
        self.selected.into_values()
    }
}

/// Rows that a policy has released, `[rows, hidden]`, contiguous and finite: what a quantizer encodes.
#[derive(Debug, Clone, Copy)]
pub struct ClearedRows<'a> {
    rows: ArrayView2<'a, f32>,
}

impl<'a> ClearedRows<'a> {
    /// The rows.
    pub fn rows(self) -> ArrayView2<'a, f32> {
        self.rows
    }

    /// Rows that were cleared on the other side of a plugin's door, which types do not cross. For the kit
    /// of `mobillm-plugin` alone: a test of this repository holds that nothing else calls it.
    #[doc(hidden)]
    pub fn crossed(rows: ArrayView2<'a, f32>) -> Self {
        Self { rows }
    }
}

/// Supervision that a policy has released.
#[derive(Debug, Clone, PartialEq)]
pub struct ClearedSupervision {
    supervision: Supervision,
}

impl ClearedSupervision {
    /// What the server may read.
    pub fn supervision(&self) -> &Supervision {
        &self.supervision
    }
}

/// Lets `policy` decide on `selected`: the only way to a [`Cleared`].
///
/// # Errors
/// If the policy refuses, or a value is not finite afterwards.
pub fn release(
    policy: &mut dyn PrivacyPolicy,
    context: &ReleaseContext<'_>,
    mut selected: Selected,
) -> Result<Cleared, PolicyError> {
    policy.activations(context, &mut selected.lend_mut())?;
    check_finite(&selected)?;
    Ok(Cleared { selected })
}

/// Lets `policy` decide what the server is told about a sample's truth: the only way to a
/// [`ClearedSupervision`].
///
/// # Errors
/// If the policy refuses, says nothing, or says something that is not finite, of another kind than it
/// announced, or not for as many outputs as `own` has.
pub fn release_supervision(
    policy: &mut dyn PrivacyPolicy,
    tag: &'static str,
    sample: SampleId,
    truth: Truth,
    own: &[f32],
) -> Result<ClearedSupervision, PolicyError> {
    let supervision =
        policy.supervise(sample, truth, own)?.ok_or(PolicyError::NoSupervision { policy: tag })?;
    let announced = policy.info().supervision;
    if announced.is_some_and(|kind| supervision.fits(kind, own.len())) {
        return Ok(ClearedSupervision { supervision });
    }
    let problem = format!(
        "it announced supervision {announced:?} for {} outputs and released {supervision:?}",
        own.len()
    );
    Err(PolicyError::Refused { policy: tag, problem })
}

/// The device's answer, in place of the side network's output `side`: what
/// [`combine`](PrivacyPolicy::combine) makes of it, and finite.
///
/// # Errors
/// If the policy cannot work on this, or a value is not finite afterwards.
pub fn combine(
    policy: &dyn PrivacyPolicy,
    own: &[f32],
    side: &mut [f32],
) -> Result<(), PolicyError> {
    policy.combine(own, side)?;
    match side.iter().position(|value| !value.is_finite()) {
        Some(output) => Err(PolicyError::Answer { output, value: side[output] }),
        None => Ok(()),
    }
}

fn check_finite(selected: &Selected) -> Result<(), PolicyError> {
    // One pass that the compiler vectorizes: anything times zero is zero, unless it is not finite.
    let is_finite = |chunk: &[f32]| chunk.iter().map(|value| value * 0.0).sum::<f32>() == 0.0;
    if selected.values().chunks(4096).all(is_finite) {
        return Ok(());
    }
    match selected.rows().indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, _), &value)) => {
            Err(PolicyError::NotFinite { layer: selected.layer(), row, value })
        }
        None => Ok(()),
    }
}

/// The config twin of [`PrivacyPolicy`].
#[typetag::serde(tag = "type")]
pub trait PrivacyPolicyConfig: fmt::Debug + Send + Sync {
    /// Everything that is wrong with this config for `objective`. Pure.
    fn check(&self, objective: &Objective) -> Vec<Diagnostic>;

    /// The policy.
    fn build(&self, objective: &Objective) -> Box<dyn PrivacyPolicy>;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Open;
    impl PrivacyPolicy for Open {
        fn info(&self) -> PolicyInfo {
            PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".into() }
        }
    }

    fn selected(values: Vec<f32>) -> Selected {
        Selected::new(2, Layout::from_counts([values.len()]), 1, values).unwrap()
    }

    #[test]
    fn what_is_not_finite_is_refused_with_its_place() {
        let context = ReleaseContext { samples: &[], purpose: Purpose::Train };
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = release(&mut Open, &context, selected(vec![0.0, value])).unwrap_err();
            assert!(error.to_string().starts_with("layer 2, row 1: the activation is"), "{error}");
        }
        release(&mut Open, &context, selected(vec![f32::MAX, f32::MIN, -0.0])).unwrap();
    }

    #[test]
    fn a_policy_that_says_nothing_is_no_supervision() {
        let error = release_supervision(&mut Open, "open", SampleId(1), Truth::Class(0), &[]);
        assert!(matches!(error, Err(PolicyError::NoSupervision { policy: "open" })));
    }

    /// Announces one kind and releases another.
    struct Liar;
    impl PrivacyPolicy for Liar {
        fn info(&self) -> PolicyInfo {
            PolicyInfo { supervision: Some(SupervisionKind::Difference), ..Open.info() }
        }
        fn supervise(
            &mut self,
            _: SampleId,
            _: Truth,
            _: &[f32],
        ) -> Result<Option<Supervision>, PolicyError> {
            Ok(Some(Supervision::Label(1)))
        }
    }

    /// Takes the own prediction's root, and no negative one.
    struct Roots;
    impl PrivacyPolicy for Roots {
        fn info(&self) -> PolicyInfo {
            Open.info()
        }
        fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
            side[0] *= own[0].sqrt();
            if own[0] == 0.0 {
                return Err(PolicyError::Refused { policy: "roots", problem: "it is 0".into() });
            }
            Ok(())
        }
    }

    #[test]
    fn an_answer_is_finite_or_an_error() {
        let combined = |own: f32| {
            let mut side = [0.5];
            combine(&Roots, &[own], &mut side).map(|()| side[0])
        };
        assert_eq!(combined(4.0).unwrap(), 1.0);
        assert_eq!(combined(0.0).unwrap_err().to_string(), "policy roots: it is 0");
        for own in [-1.0, f32::INFINITY] {
            let error = combined(own).unwrap_err();
            assert!(matches!(error, PolicyError::Answer { output: 0, .. }), "{error}");
        }
    }

    #[test]
    fn what_was_not_announced_is_not_released() {
        let error = release_supervision(&mut Liar, "liar", SampleId(1), Truth::Class(1), &[]);
        assert!(matches!(error, Err(PolicyError::Refused { policy: "liar", .. })));
    }
}
