//! The network: weights, their training, their files.

use std::num::NonZeroU16;

use mobillm_adapter_portable::file::{self, Moments};
use mobillm_adapter_portable::{Blueprint, Training, Weights};
use mobillm_core::activations::ActivationBatch;
use mobillm_core::privacy::Supervision;
use mobillm_core::side_network::{SideNetwork, SideNetworkError, SideNetworkInfo, StepReport};
use ndarray::Array2;
use tch::{Device, Tensor};

use crate::tensors::{download, upload, values};
use crate::{loss, optimizer};

const ENGINE: &str = "libtorch";

/// Where a network is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compute {
    pub(crate) device: Device,
    pub(crate) threads: Option<NonZeroU16>,
}

impl Compute {
    /// libtorch counts threads per calling thread: so before each computation.
    fn enter(&self) {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads.get().into());
        }
    }
}

/// How a network is trained, and the optimizer's memory.
struct Trained {
    training: Training,
    step: u64,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
}

/// A side network on the CPU or a CUDA device.
pub struct LibtorchSideNetwork {
    blueprint: Blueprint,
    info: SideNetworkInfo,
    weights: Vec<Tensor>,
    /// `None` in a network that was loaded to predict with.
    trained: Option<Trained>,
    compute: Compute,
}

impl LibtorchSideNetwork {
    /// The network of `blueprint` with its initial weights, to be trained as `training` says.
    pub(crate) fn new(
        blueprint: Blueprint,
        training: Training,
        compute: Compute,
    ) -> Result<Self, SideNetworkError> {
        let weights = blueprint.initial(training.seed);
        let mut network = Self::loaded(blueprint, &weights, compute)?;
        network.train_from(&weights, &Moments::new(&weights), training)?;
        Ok(network)
    }

    /// The network of an adapter file, to predict with.
    pub(crate) fn loaded(
        blueprint: Blueprint,
        weights: &Weights,
        compute: Compute,
    ) -> Result<Self, SideNetworkError> {
        let info = blueprint.info(ENGINE);
        let weights = upload(&blueprint, weights, compute.device).map_err(engine_error)?;
        Ok(Self { blueprint, info, weights, trained: None, compute })
    }

    fn train_from(
        &mut self,
        weights: &Weights,
        moments: &Moments,
        training: Training,
    ) -> Result<(), SideNetworkError> {
        let upload = |values| upload(&self.blueprint, values, self.compute.device);
        let (first, second) = (
            upload(&moments.first).map_err(engine_error)?,
            upload(&moments.second).map_err(engine_error)?,
        );
        self.weights = upload(weights).map_err(engine_error)?;
        self.trained = Some(Trained { training, step: moments.step, first, second });
        Ok(())
    }
}

impl SideNetwork for LibtorchSideNetwork {
    fn info(&self) -> &SideNetworkInfo {
        &self.info
    }

    fn train_step(
        &mut self,
        batch: &ActivationBatch,
        supervision: &[Supervision],
    ) -> Result<StepReport, SideNetworkError> {
        let Self { blueprint, weights, trained, compute, .. } = self;
        let Trained { training, step, first, second } =
            trained.as_mut().ok_or_else(only_predicts)?;
        let rows = blueprint.rows(batch)?;
        let targets = blueprint.targets(training, rows.samples(), supervision)?;
        compute.enter();
        let (loss, gradients) =
            loss::loss_and_gradients(blueprint, weights, batch, &rows, &targets)
                .map_err(engine_error)?;
        let norm = optimizer::norm(&gradients).map_err(engine_error)?;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(SideNetworkError::Diverged { step: *step, loss });
        }
        let state = optimizer::State { weights, first, second };
        let learning_rate = optimizer::step(blueprint, training, *step, state, &gradients, norm)
            .map_err(engine_error)?;
        let report = StepReport { step: *step, loss, learning_rate };
        *step += 1;
        Ok(report)
    }

    fn predict(&self, batch: &ActivationBatch) -> Result<Array2<f32>, SideNetworkError> {
        let rows = self.blueprint.rows(batch)?;
        self.compute.enter();
        let outputs = loss::predict(&self.blueprint, &self.weights, batch, &rows)
            .and_then(|outputs| values(&outputs))
            .map_err(engine_error)?;
        let shape = (rows.samples(), self.blueprint.objective.outputs());
        Array2::from_shape_vec(shape, outputs).map_err(engine_error)
    }

    fn adapter(&self) -> Result<Vec<u8>, SideNetworkError> {
        file::write_adapter(&self.blueprint, &download(&self.weights).map_err(engine_error)?)
    }

    fn checkpoint(&self) -> Result<Vec<u8>, SideNetworkError> {
        let trained = self.trained.as_ref().ok_or_else(only_predicts)?;
        let weights = download(&self.weights).map_err(engine_error)?;
        let moments = Moments {
            step: trained.step,
            first: download(&trained.first).map_err(engine_error)?,
            second: download(&trained.second).map_err(engine_error)?,
        };
        file::write_checkpoint(&self.blueprint, &trained.training, &weights, &moments)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), SideNetworkError> {
        let training = self.trained.as_ref().ok_or_else(only_predicts)?.training;
        let (weights, moments) = file::read_checkpoint(checkpoint, &self.blueprint, &training)?;
        self.train_from(&weights, &moments, training)
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
