//! The device's half of the walk: backbone, selector, policy, in one pass, tap by tap.

use std::sync::Arc;

use mobillm_core::BoxError;
use mobillm_core::activations::Layout;
use mobillm_core::backbone::{Backbone, BackboneError, ForwardContext, Tap, TokenBatch, Tokens};
use mobillm_core::privacy::{Cleared, PrivacyPolicy, Purpose, ReleaseContext, release};
use mobillm_core::sample::SampleId;
use mobillm_core::selector::Selector;

use ndarray::Array2;

use crate::device::own::Own;
use crate::error::RunError;

/// Backbone, selector and policy of one device. What comes out is cleared and ready to be encoded;
/// at no time is more than one tap held.
pub struct TapPath {
    backbone: Box<dyn Backbone>,
    selector: Box<dyn Selector>,
    policy: Box<dyn PrivacyPolicy>,
    own: Own,
    padding: u32,
    /// The rows of the last tap, for the next one.
    memory: Vec<f32>,
}

/// Samples of a micro-batch and what the taps are wanted for.
pub struct MicroBatch<'a> {
    /// The tokens of each sample.
    pub tokens: &'a [&'a Tokens],
    /// The name of each sample.
    pub samples: &'a [SampleId],
    /// What the taps are wanted for.
    pub purpose: Purpose,
}

impl TapPath {
    /// A path through the given stages; samples are padded with token `padding`.
    pub fn new(
        backbone: Box<dyn Backbone>,
        selector: Box<dyn Selector>,
        policy: Box<dyn PrivacyPolicy>,
        own: Own,
        padding: u32,
    ) -> Self {
        Self { backbone, selector, policy, own, padding, memory: Vec::new() }
    }

    /// The policy, for supervision and for combining.
    pub fn policy(&mut self) -> &mut dyn PrivacyPolicy {
        &mut *self.policy
    }

    /// Runs `batch` forward and hands each cleared tap to `emit`, with its index among the tapped
    /// layers, as soon as it is computed. Returns the device's own prediction, `[samples, outputs]`.
    ///
    /// # Errors
    /// If a stage or `emit` fails; an error of `emit` comes back as it was.
    pub fn forward(
        &mut self,
        batch: &MicroBatch<'_>,
        emit: &mut dyn FnMut(usize, &Cleared) -> Result<(), RunError>,
    ) -> Result<Array2<f32>, RunError> {
        let tokens = TokenBatch::new(batch.tokens.iter().copied(), self.padding);
        let context = ReleaseContext { samples: batch.samples, purpose: batch.purpose };
        let Self { backbone, selector, policy, memory, .. } = self;
        let mut layout: Option<Arc<Layout>> = None;
        let mut index = 0;
        let mut sink = |tap: Tap<'_>| -> Result<(), BoxError> {
            let selected = selector.select(&tap, std::mem::take(memory)).map_err(RunError::from)?;
            let same = layout.get_or_insert_with(|| selected.layout().clone());
            if same != selected.layout() {
                return Err(BoxError::from(format!(
                    "the selector took other tokens of layer {} than of the layers before",
                    tap.layer
                )));
            }
            let cleared = release(&mut **policy, &context, selected).map_err(RunError::from)?;
            emit(index, &cleared)?;
            index += 1;
            *memory = cleared.into_values();
            Ok(())
        };
        let head = backbone.forward(&tokens, &ForwardContext::default(), &mut sink);
        let own = self.own.predict(head.map_err(unwrap_sink)?, tokens.samples());
        finite(own.ok_or_else(no_head)?)
    }
}

fn finite(own: Array2<f32>) -> Result<Array2<f32>, RunError> {
    match own.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(own),
        Some(((sample, output), value)) => {
            let problem = format!(
                "output {output} of the model's own head is {value}; expected finite numbers (a \
                 damaged weight file or an overflow in low precision gives such values)"
            );
            Err(BackboneError::Batch { sample, problem }.into())
        }
    }
}

/// The bundle says that there is a head: an assembly asks for its word only then.
fn no_head() -> RunError {
    let source = "it returned no prediction of the model's own head, which the bundle has".into();
    BackboneError::Engine { engine: "backbone", source }.into()
}

/// An error of our own that travelled through the backbone is given back as it was.
fn unwrap_sink(error: BackboneError) -> RunError {
    match error {
        BackboneError::Sink { layer, source } => match source.downcast::<RunError>() {
            Ok(own) => *own,
            Err(source) => BackboneError::Sink { layer, source }.into(),
        },
        other => other.into(),
    }
}
