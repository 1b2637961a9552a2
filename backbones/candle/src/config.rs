//! The options of the backbone.

use std::thread;

use mobillm_bundle::Bundle;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backbone::CandleBackbone;

/// Most threads that a config may ask for.
const MAX_THREADS: usize = 1024;

/// Runs the backbone in pure Rust on the CPU, without any native library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CandleBackboneConfig {
    /// Threads that share the work of each operator. Left out: all that this process may use.
    #[schemars(range(min = 1, max = MAX_THREADS))]
    pub threads: Option<usize>,
}

impl Plugin for CandleBackboneConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "candle";
}

#[typetag::serde(name = "candle")]
impl BackboneConfig for CandleBackboneConfig {
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
        context.check(bundle.info())?;
        let threads = self.threads.unwrap_or_else(available_threads);
        let BackboneContext { taps, label_tokens, .. } = context;
        Ok(Box::new(CandleBackbone::open(&bundle, taps, label_tokens, threads)?))
    }
}

/// Unlike rayon's own default, this heeds no variable of the environment.
fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
