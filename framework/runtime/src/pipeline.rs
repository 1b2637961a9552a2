//! Runs a config: device and server as threads of one process, or each in its own.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::side_network::SideNetworkError;
use mobillm_core::transport::{Link, Listener, TransportError};
use mobillm_task::schedule::Sizes;
use mobillm_task::{Scores, TaskConfig, dataset};
use mobillm_wire::WireError;
use tokio::runtime::Runtime;

use crate::assembly::{Assembly, pipeline};
use crate::config::{Config, Loaded};
use crate::device::{DeviceJob, Evaluation, GAVE_UP, Prepared, prepare, train};
use crate::environment::Environment;
use crate::error::RunError;
use crate::link::ThreadLink;
use crate::progress::{News, Watch};
use crate::run::summary::{self, EvalSummary, Summary};
use crate::run::{RunFolder, Work};
use crate::server::{Served, ServerFolder, ServerJob, serve};

/// Where a run is kept and whether to begin afresh.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// The config's name, for reports.
    pub variant: String,
    /// Remove what a run has left there before.
    pub fresh: bool,
}

/// Device and server as threads of this process. An unfinished run in the folder is gone on with.
///
/// # Errors
/// If a stage fails or the run is to stop; it can then be gone on with.
pub fn run(
    loaded: &Loaded,
    environment: &Environment,
    options: &RunOptions,
    watch: &Watch<'_>,
) -> Result<Summary, RunError> {
    let (device, mut folder) = DeviceSide::open(loaded, environment, options, watch, false)?;
    let mut server_folder = ServerFolder::open(&options.out.join("server"))?;
    let io = io_runtime()?;
    let transport = loaded.config.link.transport.build();
    let (device_end, server_end) = io.block_on(async {
        let mut listener = transport.listen().await?;
        tokio::try_join!(transport.connect(), listener.accept())
    })?;
    let end = |link, waiting| ThreadLink::new(io.handle(), link, &*transport, waiting);
    let device_end = end(device_end, device.waiting_frames());
    let server_end = end(server_end, server_waiting_frames(&loaded.config));
    let job = server_job(loaded);
    let (trained, served) = std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&job, &mut server_folder, server_end, &watch.stop));
        let trained = device.train(&mut folder, device_end, watch);
        (trained, server.join().unwrap_or(Err(RunError::Panicked("server"))))
    });
    first_cause(trained, served.map(|_| ()))?;
    finish(loaded, &folder, options)
}

/// The device's half. It waits for the server as long as the transport does.
///
/// # Errors
/// As [`run`].
pub fn device(
    loaded: &Loaded,
    environment: &Environment,
    options: &RunOptions,
    watch: &Watch<'_>,
) -> Result<Summary, RunError> {
    needs_processes(loaded)?;
    let (device, mut folder) = DeviceSide::open(loaded, environment, options, watch, true)?;
    let io = io_runtime()?;
    let transport = loaded.config.link.transport.build();
    let link = io.block_on(unless_stopped(watch, transport.connect()))?;
    let link = ThreadLink::new(io.handle(), link, &*transport, device.waiting_frames());
    device.train(&mut folder, link, watch)?;
    finish(loaded, &folder, options)
}

/// The server's half: serves one run in `folder`, over as many connections as it takes.
///
/// # Errors
/// If a device does not fit or breaks the protocol, a file cannot be written, or the server is to
/// stop; the run can then be gone on with.
pub fn server(loaded: &Loaded, folder: &Path, watch: &Watch<'_>) -> Result<(), RunError> {
    needs_processes(loaded)?;
    let mut folder = ServerFolder::open(folder)?;
    let io = io_runtime()?;
    let transport = loaded.config.link.transport.build();
    let mut listener = io.block_on(transport.listen())?;
    watch.news(News::Note { message: format!("listening on {}", listener.address()) });
    let job = server_job(loaded);
    loop {
        let link = io.block_on(accept(watch, &mut *listener))?;
        watch.news(News::Note { message: "a device has connected".into() });
        let waiting = server_waiting_frames(&loaded.config);
        let link = ThreadLink::new(io.handle(), link, &*transport, waiting);
        match serve(&job, &mut folder, link, &watch.stop) {
            Ok(Served::Finished) => return Ok(()),
            Ok(Served::Interrupted) => {
                let message = format!(
                    "the device went away after {} steps; waiting for it to come back",
                    folder.next_step()
                );
                watch.news(News::Warning { message });
            }
            // What a device did wrong is no reason to leave the others alone.
            Err(
                error @ (RunError::Wire(_)
                | RunError::Transport(_)
                | RunError::Quantizer(_)
                | RunError::SideNetwork(SideNetworkError::Batch { .. })),
            ) => {
                watch.news(News::Warning { message: format!("{error}; waiting for a device") });
            }
            Err(error) => return Err(error),
        }
    }
}

/// Everything that the device's half is made of, apart from the link.
struct DeviceSide<'a> {
    loaded: &'a Loaded,
    environment: &'a Environment,
    assembly: Assembly,
    prepared: Prepared,
    began: Instant,
    own_process: bool,
}

impl<'a> DeviceSide<'a> {
    fn open(
        loaded: &'a Loaded,
        environment: &'a Environment,
        options: &RunOptions,
        watch: &Watch<'_>,
        own_process: bool,
    ) -> Result<(Self, RunFolder), RunError> {
        let began = Instant::now();
        let assembly = Assembly::new(loaded, environment)?;
        let prepared = prepare_data(loaded, environment, &assembly, watch)?;
        let toml = loaded
            .to_absolute_toml()
            .map_err(RunError::file("make absolute the paths of", &options.variant))?;
        if options.fresh {
            RunFolder::clear(&options.out)?;
        }
        let work = Work {
            config: Fingerprint::of(toml.as_bytes()),
            data: prepared.fingerprint,
            bundle: assembly.info.bundle,
        };
        let folder = RunFolder::open(&options.out, work, &toml)?;
        Ok((Self { loaded, environment, assembly, prepared, began, own_process }, folder))
    }

    fn train(
        &self,
        folder: &mut RunFolder,
        link: ThreadLink,
        watch: &Watch<'_>,
    ) -> Result<(), RunError> {
        let Self { loaded, environment, assembly, prepared, began, own_process } = self;
        let config = &loaded.config;
        let path = match assembly.tap_path(config, environment) {
            Ok(path) => path,
            Err(error) => {
                link.fail(GAVE_UP);
                return Err(error);
            }
        };
        let evaluation = Evaluation {
            quantizer: assembly.quantizer.clone(),
            policy: config.device.privacy.build(&assembly.objective),
            task: config.task.clone(),
        };
        let job = DeviceJob {
            pipeline: assembly.pipeline,
            context: assembly.side_network(prepared.schedule.steps()),
            prepared,
            path,
            policy_tag: config.device.privacy.typetag_name(),
            quantizer: assembly.quantizer.clone(),
            predictor: &*config.device.predictor,
            micro_batch: config.device.micro_batch,
            ahead: config.link.ahead as u64,
            began: *began,
            own_process: *own_process,
        };
        train(job, evaluation, folder, link, watch)
    }

    /// Acknowledgements and adapters of all steps that can be on their way: the link's reader never
    /// waits for the device, so the server never waits to acknowledge.
    fn waiting_frames(&self) -> usize {
        2 * (self.loaded.config.link.ahead + self.loaded.config.device.window) + 16
    }
}

/// Reads the data of `loaded` and cuts it into tokens.
///
/// # Errors
/// If the data cannot be used.
pub fn prepare_data(
    loaded: &Loaded,
    environment: &Environment,
    assembly: &Assembly,
    watch: &Watch<'_>,
) -> Result<Prepared, RunError> {
    let Config { task, device, training, .. } = &loaded.config;
    let train = environment.required(loaded, "task.train", "the data")?;
    let held_out = environment.locate(loaded, "task.held_out", "the data")?;
    let dataset = dataset::load(task, &train, held_out.as_deref())?;
    let tokenizer = assembly.bundle.tokenizer(device.max_tokens)?;
    // The schema refuses zero for each of these.
    let size = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    let sizes = Sizes {
        batch: size(training.batch),
        epochs: training.epochs as u64,
        window: size(device.window),
        micro_batch: size(device.micro_batch),
    };
    prepare(dataset, &tokenizer, training.seed, sizes, watch)
}

fn server_job(loaded: &Loaded) -> ServerJob<'_> {
    ServerJob {
        pipeline: pipeline(loaded),
        quantizer: loaded.config.device.quantizer.build().into(),
        side_network: &*loaded.config.server.side_network,
        objective: loaded.config.task.objective(),
        training: &loaded.config.training,
        checkpoint_steps: loaded.config.server.checkpoint_steps as u64,
    }
}

/// Frames of a window or two: the device goes on while the server trains. Above that the link holds
/// the device back.
fn server_waiting_frames(config: &Config) -> usize {
    const FRAMES_PER_STEP: usize = 64;
    (config.device.window * FRAMES_PER_STEP).max(256)
}

fn needs_processes(loaded: &Loaded) -> Result<(), RunError> {
    if loaded.config.link.transport.crosses_processes() {
        return Ok(());
    }
    let diagnostic = mobillm_core::diagnostic::Diagnostic::new(
        "link.transport.type",
        "this transport joins two threads of one process",
    )
    .expected("a transport between processes, such as `tcp`")
    .help("`mobillm run` needs none");
    Err(loaded.errors([diagnostic]).into())
}

fn io_runtime() -> Result<Runtime, RunError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .thread_name("mobillm-link")
        .build()
        .map_err(RunError::file("start the threads of", "the link"))
}

/// `work`, given up as soon as somebody asks to stop.
async fn unless_stopped<T>(
    watch: &Watch<'_>,
    work: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, RunError> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return Ok(result?),
            () = tokio::time::sleep(Duration::from_millis(100)) => watch.check()?,
        }
    }
}

async fn accept(watch: &Watch<'_>, listener: &mut dyn Listener) -> Result<Link, RunError> {
    unless_stopped(watch, listener.accept()).await
}

/// Of two ends that failed, the one that did not fail because of the other.
fn first_cause(device: Result<(), RunError>, server: Result<(), RunError>) -> Result<(), RunError> {
    let told = |error: &RunError| {
        matches!(
            error,
            RunError::Wire(WireError::Other { .. } | WireError::Handshake(_))
                | RunError::Transport(_)
        )
    };
    match (device, server) {
        (Err(RunError::Stopped), Err(server)) if !told(&server) => Err(server),
        (Err(device), Err(server)) if told(&device) => Err(server),
        (Err(device), _) => Err(device),
        (Ok(()), server) => server,
    }
}

fn positive_f1(task: &TaskConfig, scores: &Scores) -> Option<f64> {
    match scores {
        Scores::Classification(scores) => scores.f1(task.positive.as_ref()?),
        Scores::Regression(_) => None,
    }
}

fn finish(loaded: &Loaded, folder: &RunFolder, options: &RunOptions) -> Result<Summary, RunError> {
    let state = &folder.state;
    let mut link = state.link.clone();
    link.bytes_up_per_sample = link.bytes_up as f64 / state.device.samples_forwarded.max(1) as f64;
    let last = state.epochs.last().map(|epoch| &epoch.eval);
    let eval = EvalSummary {
        metric: last.map_or_else(String::new, |scores| scores.main().0.to_owned()),
        before: state.before.unwrap_or(f64::NAN),
        after: last.map_or(f64::NAN, |scores| scores.main().1),
        macro_f1: last.and_then(|scores| scores.macro_f1()),
        positive_f1: last.and_then(|scores| positive_f1(&loaded.config.task, scores)),
    };
    let summary = Summary {
        format: summary::FORMAT,
        variant: options.variant.clone(),
        eval,
        device: state.device.clone(),
        link,
        server: state.server.clone(),
        epochs: state.epochs.clone(),
        wall_seconds: state.wall_seconds,
    };
    folder.finish(&summary)?;
    Ok(summary)
}
