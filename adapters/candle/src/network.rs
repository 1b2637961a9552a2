//! The network: weights, their training, their files.

use mobillm_adapter_portable::file::{self, Moments};
use mobillm_adapter_portable::{Blueprint, Network, PooledRows, Targets, Training, Weights};
use mobillm_core::activations::ActivationBatch;
use mobillm_core::privacy::Supervision;
use mobillm_core::side_network::{SideNetwork, SideNetworkError, SideNetworkInfo, StepReport};
use ndarray::Array2;

use crate::{adapters, optimizer, pooling};

pub(crate) const ENGINE: &str = "candle";

/// A side network on the CPU.
pub struct CandleSideNetwork {
    blueprint: Blueprint,
    info: SideNetworkInfo,
    weights: Weights,
    /// `None` in a network that was loaded to predict with.
    training: Option<(Training, Moments)>,
    /// `None` for rayon's global pool.
    pool: Option<rayon::ThreadPool>,
}

impl CandleSideNetwork {
    /// The network of `blueprint` with its initial weights, to be trained as `training` says.
    pub(crate) fn new(
        blueprint: Blueprint,
        training: Training,
        pool: Option<rayon::ThreadPool>,
    ) -> Self {
        let weights = blueprint.initial(training.seed);
        let moments = Moments::new(&weights);
        Self { training: Some((training, moments)), ..Self::loaded(blueprint, weights, pool) }
    }

    /// The network of an adapter file, to predict with.
    pub(crate) fn loaded(
        blueprint: Blueprint,
        weights: Weights,
        pool: Option<rayon::ThreadPool>,
    ) -> Self {
        Self { info: blueprint.info(ENGINE), blueprint, weights, training: None, pool }
    }

    fn trained(&self) -> Result<&(Training, Moments), SideNetworkError> {
        self.training.as_ref().ok_or_else(only_predicts)
    }
}

impl SideNetwork for CandleSideNetwork {
    fn info(&self) -> &SideNetworkInfo {
        &self.info
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        let Self { blueprint, weights, training, pool, .. } = self;
        let (training, moments) = training.as_mut().ok_or_else(only_predicts)?;
        let rows = blueprint.rows(batch)?;
        let targets = blueprint.targets(training, rows.samples(), supervision)?;
        let (loss, gradients) = within(pool.as_ref(), || {
            loss_and_gradients(blueprint, weights, batch, &rows, &targets)
        })
        .map_err(engine_error)?;
        let step = moments.step;
        let norm = optimizer::norm(&gradients);
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(SideNetworkError::Diverged { step, loss });
        }
        let learning_rate =
            optimizer::step(blueprint, training, weights, moments, &gradients, norm);
        Ok(StepReport { step, loss, learning_rate })
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        let rows = self.blueprint.rows(batch)?;
        let outputs =
            within(self.pool.as_ref(), || predict(&self.blueprint, &self.weights, batch, &rows))
                .map_err(engine_error)?;
        let shape = (rows.samples(), self.blueprint.objective.outputs());
        Array2::from_shape_vec(shape, outputs).map_err(engine_error)
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        file::write_adapter(&self.blueprint, &self.weights)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        let (training, moments) = self.trained()?;
        file::write_checkpoint(&self.blueprint, training, &self.weights, moments)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        let (training, _) = *self.trained()?;
        let (weights, moments) = file::read_checkpoint(checkpoint, &self.blueprint, &training)?;
        self.weights = weights;
        self.training = Some((training, moments));
        Ok(())
    }
}

/// The loss on `batch` and its gradient by each weight, in the order of the parameters.
pub(crate) fn loss_and_gradients(
    blueprint: &Blueprint,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
    targets: &Targets,
) -> candle_core::Result<(f32, Weights)> {
    match blueprint.architecture.network() {
        Network::AdapterChain(options) => {
            adapters::loss_and_gradients(blueprint, options, weights, batch, rows, targets)
        }
        Network::TokenPooling(_) => {
            pooling::loss_and_gradients(blueprint, weights, batch, rows, targets)
        }
    }
}

/// Raw outputs, `[samples, outputs]`.
fn predict(
    blueprint: &Blueprint,
    weights: &Weights,
    batch: &ActivationBatch,
    rows: &PooledRows,
) -> candle_core::Result<Vec<f32>> {
    match blueprint.architecture.network() {
        Network::AdapterChain(options) => {
            adapters::predict(blueprint, options, weights, batch, rows)
        }
        Network::TokenPooling(_) => pooling::predict(blueprint, weights, batch, rows),
    }
}

fn within<T: Send>(pool: Option<&rayon::ThreadPool>, compute: impl FnOnce() -> T + Send) -> T {
    match pool {
        Some(pool) => pool.install(compute),
        None => compute(),
    }
}

fn only_predicts() -> SideNetworkError {
    SideNetworkError::Adapter {
        problem: "it was loaded to predict with; to train, build a network from the run's config \
                  and restore a checkpoint"
            .to_owned(),
    }
}

pub(crate) fn engine_error(
    error: impl std::error::Error + Send + Sync + 'static,
) -> SideNetworkError {
    SideNetworkError::Engine { engine: ENGINE, source: Box::new(error) }
}
