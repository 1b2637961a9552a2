//! Sessions of ONNX Runtime, set up as the config says.

use std::ffi::CString;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use mobillm_bundle::onnx::ModelProto;
use mobillm_core::backbone::BackboneError;
use ort::AsPointer;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use prost::Message;

use crate::graph::Way;
use crate::provider::{self, Provider};
use crate::{library, tap};

/// Bytes of a megabyte, as config options count them.
const MEGABYTE: usize = 1_000_000;
/// An arena that takes from the system what is asked for and no power of two.
const EXTEND_AS_REQUESTED: usize = 1;

/// The megabytes that this process's shared arena may hold, once there is one.
static LIMIT: Mutex<Option<usize>> = Mutex::new(None);

/// Held while a session is made: ONNX Runtime looks whether the process knows our domain and adds it in
/// two steps, and the second of two sessions that do so at once would fail.
static SESSION: Mutex<()> = Mutex::new(());

/// What a session runs on.
pub(crate) struct Engine {
    pub environment: Environment,
    pub threads: usize,
    pub providers: Vec<Provider>,
    /// How hidden states get out.
    pub way: Way,
    pub arena: bool,
    pub memory_limit_mb: Option<usize>,
}

impl Engine {
    /// A session over `model`, whose weights are in the folder `weights`.
    pub fn session(&self, model: &ModelProto, weights: &str) -> Result<Session, BackboneError> {
        provider::check(&self.providers).map_err(|problem| {
            library::refused(&problem, "change the backbone's `providers`, or name another library")
        })?;
        if let Some(limit) = self.memory_limit_mb {
            limit_memory(&self.environment, limit)?;
        }
        self.commit(model, weights).map_err(engine)
    }

    fn commit(&self, model: &ModelProto, weights: &str) -> ort::Result<Session> {
        let _made_alone = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
        // The CPU's own entry carries the arena's; it takes what the others leave.
        let others = self.providers.iter().filter(|&&provider| provider != Provider::Cpu);
        let providers =
            others.chain([&Provider::Cpu]).map(|provider| provider.dispatch(self.arena));
        let mut builder = Session::builder(&self.environment)?
            .with_operators(tap::domain()?)?
            .with_execution_providers(providers.collect::<Vec<_>>())?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(self.threads)?
            // Taps run on the thread that calls (see `tap`), one node after the other.
            .with_parallel_execution(false)?
            // Whatever fails is returned; what a sink refuses is no business of the log.
            .with_log_level(LogLevel::Fatal)?
            // Equal input gives equal bits.
            .with_deterministic_compute(true)?
            // Batches differ in shape, and a pattern would be kept for each.
            .with_memory_pattern(false)?
            // Threads that spin between two batches take time from the stages behind this one.
            .with_config_entry("session.force_spinning_stop", "1")?
            // A graph from memory has no folder of its own to find the weights in.
            .with_config_entry("session.model_external_initializers_file_folder_path", weights)?;
        if self.memory_limit_mb.is_some() {
            builder = builder.with_env_allocators()?;
        }
        builder.commit_from_memory(&model.encode_to_vec())
    }
}

/// Makes the arena that all sessions of this process with a limit share; it holds at most `limit`
/// megabytes.
fn limit_memory(environment: &Environment, limit: usize) -> Result<(), BackboneError> {
    let mut made = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    match *made {
        Some(first) if first == limit => Ok(()),
        Some(first) => Err(library::refused(
            &format!("this process has a memory limit of {first} MB already"),
            &format!("set `memory_limit_mb` of all its backbones to {first}, or use two processes"),
        )),
        None => {
            make_arena(environment, limit * MEGABYTE).map_err(engine)?;
            *made = Some(limit);
            Ok(())
        }
    }
}

fn make_arena(environment: &Environment, bytes: usize) -> ort::Result<()> {
    let memory =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    let keys = [CString::new("max_mem")?, CString::new("arena_extend_strategy")?];
    let names = keys.each_ref().map(|key| key.as_ptr());
    let values = [bytes, EXTEND_AS_REQUESTED];
    let mut arena = ptr::null_mut();
    // SAFETY: as many names as values, which are alive during the call; `arena` is written.
    let status = unsafe {
        (ort::api().CreateArenaCfgV2)(names.as_ptr(), values.as_ptr(), names.len(), &mut arena)
    };
    // SAFETY: the status is what a function of the API returned.
    unsafe { ort::Error::result_from_status(status) }?;
    // SAFETY: environment, description of the memory and arena are alive; the function copies what
    // it needs of the latter two, and locks the environment.
    let status = unsafe {
        (ort::api().CreateAndRegisterAllocator)(environment.ptr().cast_mut(), memory.ptr(), arena)
    };
    // SAFETY: the arena's description was made above and is not used any more.
    unsafe { (ort::api().ReleaseArenaCfg)(arena) };
    // SAFETY: the status is what a function of the API returned.
    unsafe { ort::Error::result_from_status(status) }
}

/// What the engine said.
pub(crate) fn engine(error: impl Into<mobillm_core::BoxError>) -> BackboneError {
    BackboneError::Engine { engine: "onnxruntime", source: error.into() }
}
