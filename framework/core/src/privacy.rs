//! What the server may see.
//!
//! Nothing leaves the device but through [`release`] and [`release_supervision`]: they alone make a
//! [`Cleared`] and a [`ClearedSupervision`], encoding takes nothing else, and both run the policy;
//! a test shows that what is not cleared does not even compile.
//!
//! Straight about its limit: the type shows that *a* policy ran, not that the policy is a good one.
//! A malicious policy can pass everything through.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::activations::{Layout, Selected};
use crate::diagnostic::Diagnostic;
use crate::sample::{Objective, SampleId, Truth};

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

/// What kind of supervision a policy sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SupervisionKind {
    /// The label itself (MobiLLM): 4 bytes a sample.
    Label,
}

/// What the server trains on, for one sample.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Supervision {
    /// The class.
    Label(u32),
    /// The scaled target of a regression.
    Value(f32),
}

impl Supervision {
    /// Bytes of every kind on the wire: the kind, then its number.
    pub const BYTES: usize = 5;

    /// The bytes on the wire. They are made here so that a new kind cannot be without.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let (kind, bits) = match self {
            Self::Label(label) => (0, *label),
            Self::Value(value) => (1, value.to_bits()),
        };
        let [a, b, c, d] = bits.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// What [`to_bytes`](Self::to_bytes) wrote; `None` if it is no known kind.
    pub fn from_bytes([kind, a, b, c, d]: [u8; Self::BYTES]) -> Option<Self> {
        let bits = u32::from_le_bytes([a, b, c, d]);
        match kind {
            0 => Some(Self::Label(bits)),
            1 => Some(Self::Value(f32::from_bits(bits))),
            _ => None,
        }
    }
}

/// What a policy says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyInfo {
    /// What the server trains on, if this policy decides it.
    pub supervision: Option<SupervisionKind>,
    /// The guarantee in words, and "none" where there is none.
    pub guarantee: String,
}

/// Decides what the server sees of activations and of the truth.
///
/// Laws (held by `testkit`): shapes stay; a sample's release does not depend on its batch mates;
/// releasing the same sample twice gives the same bytes; [`combine`](Self::combine) on zeros leaves
/// the backbone's own prediction.
pub trait PrivacyPolicy: Send {
    /// What leaves and what is guaranteed.
    fn info(&self) -> PolicyInfo;

    /// Changes `selected` in place to what may leave. The default lets it pass.
    ///
    /// # Errors
    /// If the policy cannot work on this.
    fn activations(
        &mut self,
        context: &ReleaseContext<'_>,
        selected: &mut Selected,
    ) -> Result<(), PolicyError> {
        let _ = (context, selected);
        Ok(())
    }

    /// What the server is told to train on for `sample`, given the truth and the backbone's `own`
    /// prediction. The default tells nothing.
    ///
    /// # Errors
    /// If the policy cannot work on this.
    fn supervise(
        &mut self,
        sample: SampleId,
        truth: Truth,
        own: Option<&[f32]>,
    ) -> Result<Option<Supervision>, PolicyError> {
        let _ = (sample, truth, own);
        Ok(None)
    }

    /// The device's answer from the side network's output `side`, changed in place. The default
    /// takes the side network's word.
    fn combine(&self, own: Option<&[f32]>, side: &mut [f32]) {
        let _ = (own, side);
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

    /// The memory, for the next tap.
    pub fn into_values(self) -> Vec<f32> {
        self.selected.into_values()
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
    policy.activations(context, &mut selected)?;
    check_finite(&selected)?;
    Ok(Cleared { selected })
}

/// Lets `policy` decide what the server is told about a sample's truth: the only way to a
/// [`ClearedSupervision`].
///
/// # Errors
/// If the policy refuses or says nothing.
pub fn release_supervision(
    policy: &mut dyn PrivacyPolicy,
    tag: &'static str,
    sample: SampleId,
    truth: Truth,
    own: Option<&[f32]>,
) -> Result<ClearedSupervision, PolicyError> {
    let supervision =
        policy.supervise(sample, truth, own)?.ok_or(PolicyError::NoSupervision { policy: tag })?;
    Ok(ClearedSupervision { supervision })
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
pub trait PrivacyPolicyConfig: std::fmt::Debug + Send + Sync {
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
            PolicyInfo { supervision: None, guarantee: "none".into() }
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
        let error = release_supervision(&mut Open, "open", SampleId(1), Truth::Class(0), None);
        assert!(matches!(error, Err(PolicyError::NoSupervision { policy: "open" })));
    }
}
