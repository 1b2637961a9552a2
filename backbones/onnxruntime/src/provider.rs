//! What computes: the CPU or an accelerator that ONNX Runtime knows ("execution provider").

use std::fmt;

use ort::ep::{
    CPU, CUDA, CoreML, ExecutionProvider, ExecutionProviderDispatch, NNAPI, OneDNN, QNN, XNNPACK,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::Way;

/// What computes a graph or parts of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// GPUs of NVIDIA.
    Cuda,
    /// Apple's Core ML: Neural Engine, GPU and CPU.
    CoreMl,
    /// Google's kernels for the CPUs of phones.
    Xnnpack,
    /// Intel's oneDNN.
    Dnnl,
    /// Qualcomm's AI Engine Direct: the NPUs of Snapdragon.
    Qnn,
    /// Android's Neural Networks API.
    Nnapi,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Provider {
    /// All that there are.
    const ALL: [Self; 7] =
        [Self::Cpu, Self::Cuda, Self::CoreMl, Self::Xnnpack, Self::Dnnl, Self::Qnn, Self::Nnapi];

    /// How hidden states get out where this provider is asked for. Some take parts of the graph as a
    /// whole, which an operator between two layers would cut in two.
    fn way(self) -> Way {
        match self {
            Self::Cpu | Self::Cuda | Self::Xnnpack => Way::Operators,
            Self::CoreMl | Self::Dnnl | Self::Qnn | Self::Nnapi => Way::Outputs,
        }
    }

    fn is_available(self) -> ort::Result<bool> {
        match self {
            Self::Cpu => CPU::is_available(),
            Self::Cuda => CUDA::is_available(),
            Self::CoreMl => CoreML::is_available(),
            Self::Xnnpack => XNNPACK::is_available(),
            Self::Dnnl => OneDNN::is_available(),
            Self::Qnn => QNN::is_available(),
            Self::Nnapi => NNAPI::is_available(),
        }
    }

    /// For a session; `arena` is the CPU's.
    pub(crate) fn dispatch(self, arena: bool) -> ExecutionProviderDispatch {
        let dispatch = match self {
            Self::Cpu => CPU::default().with_arena_allocator(arena).build(),
            Self::Cuda => CUDA::default().build(),
            Self::CoreMl => CoreML::default().build(),
            Self::Xnnpack => XNNPACK::default().build(),
            Self::Dnnl => OneDNN::default().build(),
            Self::Qnn => QNN::default().build(),
            Self::Nnapi => NNAPI::default().build(),
        };
        dispatch.error_on_failure()
    }
}

/// How hidden states get out where all of `providers` are asked for.
pub(crate) fn way(providers: &[Provider]) -> Way {
    let outputs = providers.iter().any(|provider| provider.way() == Way::Outputs);
    if outputs { Way::Outputs } else { Way::Operators }
}

/// Whether the loaded library has all of `providers`; if not, which it lacks and which it has.
pub(crate) fn check(providers: &[Provider]) -> Result<(), String> {
    let available: Result<Vec<bool>, ort::Error> =
        Provider::ALL.iter().map(|provider| provider.is_available()).collect();
    let available = available.map_err(|error| error.to_string())?;
    let has = |provider: &Provider| {
        Provider::ALL.iter().zip(&available).any(|(known, &there)| there && known == provider)
    };
    let Some(missing) = providers.iter().find(|provider| !has(provider)) else { return Ok(()) };
    let offered: Vec<String> =
        Provider::ALL.iter().filter(|provider| has(provider)).map(Provider::to_string).collect();
    Err(format!("it was not built with `{missing}`; it offers: {}", offered.join(", ")))
}
