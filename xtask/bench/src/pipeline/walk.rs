//! The example's config on this machine, and a device that walks alone.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use mobillm::assembly::Assembly;
use mobillm::config::{Config, Loaded};
use mobillm::device::own::prior;
use mobillm::device::taps::TapPath;
use mobillm::device::{DeviceJob, Evaluation, Prepared, train};
use mobillm::egress::Counts;
use mobillm::link::ThreadLink;
use mobillm::pipeline::prepare;
use mobillm::progress::{Unobserved, Watch};
use mobillm::run::{RunFolder, RunState, Work};
use mobillm::{Environment, Stop};
use mobillm_bundle::ImportOptions;
use mobillm_core::backbone::{
    Backbone, BackboneContext, BackboneError, BackboneInfo, ForwardContext, NativeLibraries,
    OwnPrediction, TapSink, TokenBatch,
};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::quantizer::Quantizer;
use mobillm_core::transport::{Lane, Link, Transport, TransportError};
use mobillm_pull::{Cache, locate};
use mobillm_wire::VERSION;
use mobillm_wire::frame::{Ack, Adapter, Frame};
use mobillm_wire::handshake::Welcome;
use mobillm_wire::inbox::{Event, Inbox, Room};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Error;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/configs/mobillm.toml");
const MODEL: &str = "all-minilm-l6-v2";

/// What every measurement has in common: one epoch, few held-out rows, one thread for each engine.
const COMMON: [&str; 5] = [
    "training.epochs=1",
    "task.held_out_share=0.01",
    "device.backbone={type='onnxruntime',threads=1}",
    "device.predictor={type='candle',threads=1}",
    "server.side_network={type='candle',threads=1}",
];

/// Plugins, library, model and data, and a folder for what is written.
pub struct Setup {
    pub environment: Environment,
    folder: TempDir,
}

impl Setup {
    /// Makes a bundle of the pulled model.
    pub fn new() -> Result<Self, Error> {
        let cache = Cache::user()?;
        let folder = TempDir::new()?;
        let model = locate(&cache, MODEL)
            .ok_or("the model is not there; `cargo xtask bench pipeline` fetches it")?;
        let bundle = folder.path().join(MODEL);
        mobillm_bundle::import(&model, &bundle, &ImportOptions::default())?;
        let library = locate(&cache, "onnxruntime").map(|path| ("onnxruntime".to_owned(), path));
        let environment = Environment {
            registry: mobillm_cli::with_builtins()?,
            libraries: NativeLibraries(library.into_iter().collect()),
            pulled: Box::new(move |name| match name {
                MODEL => Some(bundle.clone()),
                other => locate(&cache, other),
            }),
        };
        Ok(Self { environment, folder })
    }

    /// The example's config as it stands.
    pub fn example(&self) -> Result<Loaded, Error> {
        Ok(Config::load(Path::new(CONFIG), &[], &self.environment.registry)?)
    }

    /// The example's config with what all measurements have in common and `sets` (`a.b=c`) over it.
    pub fn load(&self, sets: &[String]) -> Result<Loaded, Error> {
        let sets: Vec<String> =
            COMMON.iter().map(ToString::to_string).chain(sets.iter().cloned()).collect();
        Ok(Config::load(Path::new(CONFIG), &sets, &self.environment.registry)?)
    }

    /// A new folder, gone with its owner.
    pub fn run_folder(&self) -> Result<TempDir, Error> {
        Ok(TempDir::new_in(self.folder.path())?)
    }
}

/// A config with its model and data.
pub struct Walk<'a> {
    pub setup: &'a Setup,
    pub loaded: Loaded,
    pub assembly: Assembly,
    pub prepared: Prepared,
}

impl<'a> Walk<'a> {
    /// That of [`Setup::load`].
    pub fn new(setup: &'a Setup, sets: &[String]) -> Result<Self, Error> {
        Self::of(setup, setup.load(sets)?)
    }

    /// That of any config.
    pub fn of(setup: &'a Setup, loaded: Loaded) -> Result<Self, Error> {
        let (assembly, prepared) = prepare(&loaded, &setup.environment, &unobserved())?;
        Ok(Self { setup, loaded, assembly, prepared })
    }

    /// The rows of each micro-batch of the run.
    pub fn micro_batches(&self) -> Vec<Vec<usize>> {
        let schedule = &self.prepared.schedule;
        (0..schedule.windows()).flat_map(|at| schedule.window(at).micro_batches).collect()
    }

    /// The bytes that are to go up by the egress manifest, and for how much: in every epoch all samples,
    /// unless the server keeps them.
    pub fn formula(&self) -> (u64, Counts) {
        let Self { loaded, assembly, prepared, .. } = self;
        let work = prepared.work(&*assembly.selector);
        let epochs = loaded.config.training.epochs;
        let passes = if loaded.config.server.store.caches() { 1 } else { epochs };
        let micro_batches = self.micro_batches().len() / epochs * passes;
        let passes = passes as u64;
        let counts = Counts {
            micro_batches: micro_batches as u64,
            samples: passes * work.samples,
            rows: passes * work.rows,
            steps: passes * work.steps_per_epoch,
        };
        (assembly.egress_of(work, prepared.schedule.steps()).bytes(&counts), counts)
    }

    fn prior(&self) -> Vec<f32> {
        prior(&self.assembly.objective, &self.prepared.train.truths)
    }

    /// A run folder in `path`, where no run has been.
    pub fn open_folder(&self, path: &Path) -> Result<RunFolder, Error> {
        let toml = self.loaded.to_toml();
        let work = Work {
            config: Fingerprint::of(toml.as_bytes()),
            data: self.prepared.fingerprint,
            bundle: self.assembly.info.bundle,
            plugins: self.loaded.libraries(),
        };
        Ok(RunFolder::open(path, work, self.prior(), toml)?)
    }
}

pub(crate) fn unobserved() -> Watch<'static> {
    Watch { observer: &Unobserved, stop: Stop::default() }
}

/// A device whose server only acknowledges: it takes each frame as a server does and answers each
/// step at once, untrained, so that nothing but the device takes time.
pub struct Rig<'a> {
    walk: &'a Walk<'a>,
    backbone: Shared,
    io: Runtime,
    /// That of a side network before its first step.
    adapter: Bytes,
}

impl<'a> Rig<'a> {
    /// Loads the backbone, once for all runs.
    pub fn new(walk: &'a Walk<'a>) -> Result<Self, Error> {
        let Walk { setup, loaded, assembly, prepared } = walk;
        let context = BackboneContext {
            bundle: assembly.bundle.path().to_owned(),
            taps: assembly.taps.clone(),
            label_tokens: Vec::new(),
            libraries: setup.environment.libraries.clone(),
        };
        let backbone = Shared::new(loaded.config.device.backbone.build(&context)?);
        let context = assembly.side_network(prepared.schedule.steps());
        let adapter = loaded.config.server.side_network.build(&context)?.adapter()?.into();
        let io =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { walk, backbone, io, adapter })
    }

    /// The backbone that the device uses.
    pub fn backbone(&self) -> MutexGuard<'_, Box<dyn Backbone>> {
        self.backbone.lock()
    }

    /// Where the links are served.
    pub fn block_on<T>(
        &self,
        link: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, Error> {
        Ok(self.io.block_on(link)?)
    }

    /// One run of the device over links of `transport`; what it has to say of itself.
    pub fn run(
        &self,
        transport: &dyn Transport,
        device: Link,
        server: Link,
    ) -> Result<RunState, Error> {
        let Walk { setup, loaded, assembly, prepared } = self.walk;
        let config = &loaded.config;
        let incoming = 2 * (config.link.ahead + config.device.window) + 16;
        let end = |link| ThreadLink::new(self.io.handle(), link, transport, incoming);
        let (device, server) = (end(device), end(server));
        let policy = || config.device.privacy.build(&assembly.objective);
        let job = DeviceJob {
            pipeline: assembly.pipeline,
            context: assembly.side_network(prepared.schedule.steps()),
            prepared,
            work: prepared.work(&*assembly.selector),
            cached: false,
            leave: false,
            path: TapPath::new(
                Box::new(self.backbone.clone()),
                config.device.selector.build(&assembly.info),
                policy(),
                assembly.own(self.walk.prior()),
                assembly.bundle.padding(),
            ),
            policy_tag: config.device.privacy.typetag_name(),
            quantizer: assembly.quantizer.clone(),
            predictor: &*config.device.predictor,
            micro_batch: config.device.micro_batch(),
            ahead: config.link.ahead as u64,
            transport,
            began: Instant::now(),
            own_process: false,
        };
        let (quantizer, adapter) = (assembly.quantizer.clone(), self.adapter.clone());
        let evaluation = Evaluation {
            quantizer: quantizer.clone(),
            policy: policy(),
            task: config.task.clone(),
        };
        let path = setup.run_folder()?;
        let mut folder = self.walk.open_folder(path.path())?;
        thread::scope(|scope| {
            let server = scope.spawn(move || acknowledge(&server, quantizer, &adapter));
            let trained = train(job, evaluation, &mut folder, device, &unobserved());
            // A device that lost its server only says that the link is closed.
            server.join().map_err(|_| "the stand-in for the server panicked")??;
            Ok::<(), Error>(trained.map(drop)?)
        })?;
        Ok(folder.state.clone())
    }
}

/// The stand-in for the server.
fn acknowledge(
    link: &ThreadLink,
    quantizer: Arc<dyn Quantizer>,
    adapter: &Bytes,
) -> Result<(), mobillm::RunError> {
    let stop = Stop::default();
    let Some(Frame::Hello(hello)) = link.receive(&stop)? else {
        return Err(TransportError::Closed.into());
    };
    let welcome = Frame::Welcome(Welcome { version: VERSION, next_step: 0, stored_steps: 0 });
    link.send(&stop, welcome.encode(), Lane::Control)?;
    let room = Room { samples: hello.samples, rows: hello.rows };
    let context = hello.side_network;
    let mut inbox = Inbox::new(quantizer, context.taps.len(), context.hidden, 0, room);
    while let Some(frame) = link.receive(&stop)? {
        let Event::Step { step, samples } = inbox.receive(frame)? else { continue };
        let samples = samples.len() as u32;
        let ack = Ack { step, samples, loss: 0.0, learning_rate: 0.0, seconds: 0.0 };
        link.send(&stop, Frame::Ack(ack).encode(), Lane::Control)?;
        if (step + 1).is_multiple_of(hello.steps_per_epoch) {
            let epoch = (step / hello.steps_per_epoch) as u32;
            let adapter = Frame::Adapter(Adapter { epoch, bytes: adapter.clone() });
            link.send(&stop, adapter.encode(), Lane::Bulk)?;
        }
    }
    Ok(())
}

/// One backbone for many runs.
#[derive(Clone)]
struct Shared {
    backbone: Arc<Mutex<Box<dyn Backbone>>>,
    info: BackboneInfo,
    taps: Vec<usize>,
}

impl Shared {
    fn new(backbone: Box<dyn Backbone>) -> Self {
        let (info, taps) = (backbone.info().clone(), backbone.taps().to_vec());
        Self { backbone: Arc::new(Mutex::new(backbone)), info, taps }
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Backbone>> {
        self.backbone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backbone for Shared {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        context: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        self.lock().forward(batch, context, sink)
    }
}
