//! The options of the backbone.

use std::path::PathBuf;
use std::thread;

use mobillm_bundle::Bundle;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backbone::OnnxBackbone;
use crate::library;

/// Most threads that a config may ask for.
const MAX_THREADS: usize = 1024;

/// Runs the backbone in ONNX Runtime on the CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxBackboneConfig {
    /// Threads that share the work of each operator. Left out: all that this process may use.
    #[schemars(range(min = 1, max = MAX_THREADS))]
    pub threads: Option<usize>,
    /// The ONNX Runtime library, version 1.31 or later. Left out: what the environment variable
    /// ORT_DYLIB_PATH names, else what `mobillm pull onnxruntime` fetched.
    #[schemars(extend("x-mobillm-path" = true))]
    pub library: Option<PathBuf>,
}

impl Plugin for OnnxBackboneConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "onnxruntime";
}

#[typetag::serde(name = "onnxruntime")]
impl BackboneConfig for OnnxBackboneConfig {
    fn check(&self, _info: &BackboneInfo) -> Vec<Diagnostic> {
        match self.threads {
            Some(threads) if !(1..=MAX_THREADS).contains(&threads) => {
                let message = format!("{threads} threads are not possible");
                let expected = format!("1 to {MAX_THREADS}");
                let help = "leave it out to use all that this process may use";
                vec![Diagnostic::new("threads", message).expected(expected).help(help)]
            }
            _ => Vec::new(),
        }
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        let bundle = Bundle::open(&context.bundle).map_err(|error| BackboneError::Bundle {
            path: context.bundle.clone(),
            problem: error.to_string(),
        })?;
        let variable = std::env::var_os(library::VARIABLE);
        let library = library::locate(self.library.as_deref(), variable, &context.libraries)?;
        let environment = library::load(&library)?;
        let threads = self.threads.unwrap_or_else(available_threads);
        Ok(Box::new(OnnxBackbone::open(&bundle, &context.taps, threads, &environment)?))
    }
}

/// Unlike ONNX Runtime's own default, this heeds a container's limits.
fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
