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
use crate::engine::Engine;
use crate::library;
use crate::provider::{self, Provider};

/// Most threads that a config may ask for.
const MAX_THREADS: usize = 1024;
/// Most megabytes that a config may allow: what a machine of today cannot have.
const MAX_MEGABYTES: usize = 1 << 30;

/// Runs the backbone in ONNX Runtime, on the CPU if nothing else is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxBackboneConfig {
    /// Threads that share the work of each operator. Left out: all that this process may use.
    #[schemars(range(min = 1, max = MAX_THREADS))]
    pub threads: Option<usize>,
    /// The ONNX Runtime library, version 1.31 or later. Left out: what the environment variable
    /// ORT_DYLIB_PATH names, else what `mobillm pull onnxruntime` fetched.
    #[schemars(extend("x-mobillm-path" = true))]
    pub library: Option<PathBuf>,
    /// What computes, in order of preference; what these leave over the CPU computes. The library must
    /// have been built with them: that of `mobillm pull` has the CPU only.
    #[schemars(length(min = 1))]
    pub providers: Vec<Provider>,
    /// Whether memory of one batch is kept for the next. Without, it is given back to the system after
    /// each operator, which takes more time and, where batches differ in size, often more memory.
    pub arena: bool,
    /// Most memory in megabytes (1,000,000 bytes) that ONNX Runtime may allocate in this process: hidden
    /// states and what it copies of the weights. A batch that needs more fails and says so. The program
    /// itself and weights used straight from the bundle's file come on top. Left out: no limit.
    #[schemars(range(min = 1, max = MAX_MEGABYTES))]
    pub memory_limit_mb: Option<usize>,
}

impl Default for OnnxBackboneConfig {
    fn default() -> Self {
        Self {
            threads: None,
            library: None,
            providers: vec![Provider::Cpu],
            arena: true,
            memory_limit_mb: None,
        }
    }
}

impl Plugin for OnnxBackboneConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "onnxruntime";
}

#[typetag::serde(name = "onnxruntime")]
impl BackboneConfig for OnnxBackboneConfig {
    fn check(&self, _info: &BackboneInfo) -> Vec<Diagnostic> {
        [self.check_threads(), self.check_providers(), self.check_memory()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        let bundle = Bundle::open(&context.bundle).map_err(|error| BackboneError::Bundle {
            path: context.bundle.clone(),
            problem: error.to_string(),
        })?;
        context.check(bundle.info())?;
        let variable = std::env::var_os(library::VARIABLE);
        let library = library::locate(self.library.as_deref(), variable, &context.libraries)?;
        let engine = Engine {
            environment: library::load(&library)?,
            threads: self.threads.unwrap_or_else(available_threads),
            providers: self.providers.clone(),
            way: provider::way(&self.providers),
            arena: self.arena,
            memory_limit_mb: self.memory_limit_mb,
        };
        let backbone = OnnxBackbone::open(&bundle, &context.taps, &context.label_tokens, &engine)?;
        Ok(Box::new(backbone))
    }
}

impl OnnxBackboneConfig {
    fn check_threads(&self) -> Option<Diagnostic> {
        let threads = self.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads))?;
        let diagnostic = Diagnostic::new("threads", format!("{threads} threads are not possible"))
            .expected(format!("1 to {MAX_THREADS}"))
            .help("leave it out to use all that this process may use");
        Some(diagnostic)
    }

    fn check_providers(&self) -> Option<Diagnostic> {
        let twice = |at: usize| self.providers[..at].contains(&self.providers[at]);
        let message = match (0..self.providers.len()).find(|&at| twice(at)) {
            Some(at) => format!("`{}` is there twice", self.providers[at]),
            None if self.providers.is_empty() => "nothing is to compute".to_owned(),
            None => return None,
        };
        let diagnostic = Diagnostic::new("providers", message)
            .expected("each provider once, at least one")
            .help("leave it out to compute on the CPU");
        Some(diagnostic)
    }

    fn check_memory(&self) -> Option<Diagnostic> {
        let limit = self.memory_limit_mb?;
        if !(1..=MAX_MEGABYTES).contains(&limit) {
            let message = format!("a limit of {limit} MB is not possible");
            let diagnostic = Diagnostic::new("memory_limit_mb", message)
                .expected(format!("1 to {MAX_MEGABYTES}"))
                .help("leave it out for no limit");
            return Some(diagnostic);
        }
        let message = "the limit is the arena's, and `arena` is false";
        (!self.arena).then(|| {
            Diagnostic::new("memory_limit_mb", message)
                .expected("a limit with the arena, or neither")
                .help("leave out `arena` or `memory_limit_mb`")
        })
    }
}

/// Unlike ONNX Runtime's own default, this heeds a container's limits.
fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
