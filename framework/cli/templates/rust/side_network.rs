//! A side network for mobillm, `plugin.tag` in a config: a trained head over random features.
//!
//! For a sample, x is the mean of its pooled rows, tap by tap, each scaled to a mean square of 1; h = max(0, P x) are
//! its features, with a projection P that is drawn from the run's seed and stays; the output is W h + b. Only
//! W and b are trained, by AdamW, and both start at zero.
//!
//! ```
//! use mobillm_core::registry::Plugin;
//! use plugin_ident::PluginTypeConfig;
//!
//! assert_eq!(PluginTypeConfig::TAG, "plugin.tag");
//! ```

mod file;

use std::ops::Range;

use mobillm_core::activations::ActivationBatch;
use mobillm_core::backbone::Pooling;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{Supervision, SupervisionKind};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{
    SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError, SideNetworkInfo,
    StepReport,
};
use ndarray::{Array2, ArrayView1, Axis, Zip};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use file::File;

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    side_networks: [PluginTypeConfig],
}

/// A trained head over random features.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTypeConfig {
    /// How many features there are.
    #[schemars(range(min = 1, max = 4096))]
    pub features: usize,
}

impl Default for PluginTypeConfig {
    fn default() -> Self {
        Self { features: 256 }
    }
}

impl Plugin for PluginTypeConfig {
    const SLOT: Slot = Slot::SideNetwork;
    const TAG: &'static str = "plugin.tag";
}

#[typetag::serde(name = "plugin.tag")]
impl SideNetworkConfig for PluginTypeConfig {
    fn check(&self, context: &SideNetworkContext) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if !(1..=4096).contains(&self.features) {
            let message = format!("{} is out of range", self.features);
            found.push(Diagnostic::new("features", message).expected("1 to 4096"));
        }
        if context.supervision != SupervisionKind::Truth {
            let message = format!(
                "it is trained on the truth, not on the {}",
                context.supervision
            );
            found.push(Diagnostic::new("", message).help("take the privacy policy `labels`"));
        }
        found
    }

    fn build(
        &self,
        context: &SideNetworkContext,
    ) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        if let Some(found) = self.check(context).first() {
            return Err(SideNetworkError::Engine {
                engine: ENGINE,
                source: found.to_string().into(),
            });
        }
        let mut network = PluginType::new(self.features, context.clone())?;
        network.moments = Some(Moments::zeros(network.head.dim()));
        Ok(Box::new(network))
    }

    fn load(&self, adapter: &[u8]) -> Result<Box<dyn SideNetwork>, SideNetworkError> {
        let file = File::read(adapter)?;
        if file.moments.is_some() {
            return Err(refused_file("it is a checkpoint, expected an adapter"));
        }
        let mut network = PluginType::new(file.features, file.context)?;
        network.head = file::matrix(file.head, network.head.dim())?;
        Ok(Box::new(network))
    }
}

const ENGINE: &str = "plugin-name";

/// Numbers of the largest projection.
const MOST: usize = 1 << 26;

fn refused(problem: String) -> SideNetworkError {
    SideNetworkError::Batch { problem }
}

fn refused_file(problem: impl Into<String>) -> SideNetworkError {
    SideNetworkError::Adapter {
        problem: problem.into(),
    }
}

/// See [`PluginTypeConfig`].
#[derive(Debug)]
pub struct PluginType {
    info: SideNetworkInfo,
    context: SideNetworkContext,
    /// P, `[features, taps * hidden]`.
    projection: Array2<f32>,
    /// W, and b as its last column, `[outputs, features + 1]`.
    head: Array2<f32>,
    /// `None` in a network that was loaded to predict with.
    moments: Option<Moments>,
}

/// AdamW's moments, each of the head's shape.
#[derive(Debug)]
struct Moments {
    step: u64,
    first: Array2<f32>,
    second: Array2<f32>,
}

impl Moments {
    fn zeros(shape: (usize, usize)) -> Self {
        Self {
            step: 0,
            first: Array2::zeros(shape),
            second: Array2::zeros(shape),
        }
    }
}

impl PluginType {
    /// The network that training begins with, but for its moments.
    fn new(features: usize, context: SideNetworkContext) -> Result<Self, SideNetworkError> {
        let inputs = context.taps.len().checked_mul(context.hidden);
        let numbers = inputs.and_then(|inputs| inputs.checked_mul(features));
        let (Some(inputs @ 1..), Some(1..=MOST)) = (inputs, numbers) else {
            let (taps, hidden) = (context.taps.len(), context.hidden);
            return Err(refused_file(format!(
                "{features} features of {taps} taps of {hidden} values"
            )));
        };
        let outputs = context.objective.outputs();
        let mut state = context.seed;
        let spread = (3.0 / inputs as f32).sqrt();
        let info = SideNetworkInfo {
            engine: ENGINE,
            architecture: "random-features".to_owned(),
            parameters: outputs * (features + 1),
            taps: context.taps.clone(),
            hidden: context.hidden,
            objective: context.objective,
            bundle: context.bundle.clone(),
            additive: false,
        };
        Ok(Self {
            info,
            context,
            projection: Array2::from_shape_simple_fn((features, inputs), || {
                spread * uniform(&mut state)
            }),
            head: Array2::zeros((outputs, features + 1)),
            moments: None,
        })
    }

    /// h of every sample and a 1, `[samples, features + 1]`.
    fn features(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        let (taps, hidden) = (self.context.taps.len(), self.context.hidden);
        let got = (batch.taps(), batch.hidden());
        if got != (taps, hidden) {
            let (tapped, wide) = got;
            return Err(refused(format!(
                "{tapped} taps of {wide} values, expected {taps} of {hidden}"
            )));
        }
        let samples = batch.layout().samples();
        if samples == 0 {
            return Err(refused("no samples, expected at least one".to_owned()));
        }
        let mut pooled = Array2::<f32>::zeros((samples, taps * hidden));
        for (sample, mut inputs) in pooled.outer_iter_mut().enumerate() {
            let rows = self.pooled(batch.layout().range(sample));
            if rows.is_empty() {
                return Err(refused(format!(
                    "sample {sample} has no rows, expected at least one"
                )));
            }
            for (tap, mut input) in inputs.axis_chunks_iter_mut(Axis(0), hidden).enumerate() {
                let values = &batch.tap(tap)[rows.start * hidden..rows.end * hidden];
                values
                    .chunks_exact(hidden)
                    .for_each(|row| input += &ArrayView1::from(row));
                let mean_square = input.dot(&input) / hidden as f32;
                input /= mean_square.sqrt().max(1e-6);
            }
        }
        // A value that is no number stays none, so that the loss tells.
        let mut features = pooled.dot(&self.projection.t());
        features.mapv_inplace(|value| if value < 0.0 { 0.0 } else { value });
        features
            .push_column(ArrayView1::from(&vec![1.0; samples]))
            .map_err(|error| SideNetworkError::Engine {
                engine: ENGINE,
                source: error.into(),
            })?;
        Ok(features)
    }

    /// Those of a sample's rows that the backbone's own pooling takes.
    fn pooled(&self, rows: Range<usize>) -> Range<usize> {
        match self.context.pooling {
            Pooling::Mean => rows,
            Pooling::FirstToken => rows.start..rows.end.min(rows.start + 1),
            Pooling::LastToken => rows.start.max(rows.end.saturating_sub(1))..rows.end,
        }
    }

    /// What the outputs should be, `[samples, outputs]`: 1 at the class, or the value.
    fn targets(
        &self,
        samples: usize,
        given: &[Supervision],
    ) -> Result<Array2<f32>, SideNetworkError> {
        if given.len() != samples {
            return Err(refused(format!(
                "{} targets for {samples} samples",
                given.len()
            )));
        }
        let outputs = self.context.objective.outputs();
        let mut targets = Array2::zeros((samples, outputs));
        for (sample, supervision) in given.iter().enumerate() {
            match (self.context.objective, supervision) {
                (Objective::Classification { classes }, Supervision::Label(class))
                    if (*class as usize) < classes =>
                {
                    targets[[sample, *class as usize]] = 1.0;
                }
                (Objective::Regression, Supervision::Value(value)) if value.is_finite() => {
                    targets[[sample, 0]] = *value;
                }
                (objective, other) => {
                    let problem =
                        format!("sample {sample}: {other:?} is no truth of {objective:?}");
                    return Err(refused(problem));
                }
            }
        }
        Ok(targets)
    }

    /// The mean loss, and its gradient by each output: cross-entropy, or squared error.
    fn loss(&self, mut outputs: Array2<f32>, targets: &Array2<f32>) -> (f32, Array2<f32>) {
        let samples = outputs.nrows() as f32;
        let mut loss = 0.0;
        for (mut output, target) in outputs.outer_iter_mut().zip(targets.outer_iter()) {
            match self.context.objective {
                Objective::Classification { .. } => {
                    let most = output.fold(f32::NEG_INFINITY, |most, value| most.max(*value));
                    output.mapv_inplace(|value| value - most);
                    loss -= output.dot(&target);
                    output.mapv_inplace(f32::exp);
                    let sum = output.sum();
                    loss += sum.ln();
                    output /= sum;
                    output -= &target;
                }
                Objective::Regression => {
                    output -= &target;
                    loss += output.dot(&output);
                    output *= 2.0;
                }
            }
        }
        (loss / samples, outputs / samples)
    }
}

impl SideNetwork for PluginType {
    fn info(&self) -> &SideNetworkInfo {
        &self.info
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        let features = self.features(batch)?;
        let targets = self.targets(features.nrows(), supervision)?;
        let (loss, by_output) = self.loss(features.dot(&self.head.t()), &targets);
        let gradient = by_output.t().dot(&features);
        let norm = gradient
            .fold(0.0, |sum, value| sum + f64::from(*value).powi(2))
            .sqrt();
        let optimizer = self.context.optimizer;
        let moments = self.moments.as_mut().ok_or_else(only_predicts)?;
        let step = moments.step;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(SideNetworkError::Diverged { step, loss });
        }
        let learning_rate = optimizer.learning_rate_at(step, self.context.steps);
        let clips = optimizer.clip > 0.0 && norm > optimizer.clip;
        let clip = if clips { optimizer.clip / norm } else { 1.0 };
        let correction = |beta: f64| 1.0 - beta.powf(step as f64 + 1.0);
        let (first, second) = (correction(optimizer.beta1), correction(optimizer.beta2));
        let bias = self.head.ncols() - 1;
        Zip::indexed(&mut self.head)
            .and(&gradient)
            .and(&mut moments.first)
            .and(&mut moments.second)
            .for_each(|(_, feature), weight, &gradient, m, v| {
                let gradient = clip * f64::from(gradient);
                let mean =
                    |beta: f64, old: f32, new: f64| beta * f64::from(old) + (1.0 - beta) * new;
                *m = mean(optimizer.beta1, *m, gradient) as f32;
                *v = mean(optimizer.beta2, *v, gradient * gradient) as f32;
                let decay = if feature == bias {
                    0.0
                } else {
                    optimizer.weight_decay
                };
                let towards = f64::from(*m) / first / ((f64::from(*v) / second).sqrt() + 1e-8);
                let was = f64::from(*weight);
                *weight = (was - learning_rate * (decay * was + towards)) as f32;
            });
        moments.step += 1;
        Ok(StepReport {
            step,
            loss,
            learning_rate,
        })
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        Ok(self.features(batch)?.dot(&self.head.t()))
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        File::of(self, None).write()
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        File::of(self, Some(self.moments.as_ref().ok_or_else(only_predicts)?)).write()
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        let file = File::read(checkpoint)?;
        file.check_same_run(self)?;
        let moments = file
            .moments
            .ok_or_else(|| refused_file("it is an adapter, expected a checkpoint"))?;
        let (head, moments) = (
            file::matrix(file.head, self.head.dim())?,
            moments.read(self.head.dim())?,
        );
        (self.head, self.moments) = (head, Some(moments));
        Ok(())
    }
}

fn only_predicts() -> SideNetworkError {
    refused_file(
        "it was loaded to predict with; to train, build a network and restore a checkpoint",
    )
}

/// Uniform in -1..1 (splitmix64).
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}
