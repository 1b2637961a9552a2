//! Runs a config: device and server as threads of one process, or each in its own.

mod server;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::registry::Slot;
use mobillm_core::transport::{Transport, TransportError};
use mobillm_task::schedule::Sizes;
use mobillm_task::{Dataset, Scores, TaskConfig};
use mobillm_wire::WireError;
use tokio::runtime::Runtime;

use crate::assembly::Assembly;
use crate::check;
use crate::config::{Config, Loaded, OwnPrediction};
use crate::device::own::prior;
use crate::device::{self, DeviceJob, Ended, Evaluation, GAVE_UP, Prepared, RowTokenizer, train};
use crate::environment::Environment;
use crate::error::RunError;
use crate::link::ThreadLink;
use crate::progress::{News, Watch};
use crate::run::summary::{self, EvalSummary, Summary};
use crate::run::{RunFolder, Work};
use crate::server::{ServerFolder, serve};

pub use server::server;
use server::{server_job, server_waiting_frames};

/// Where a run is kept and whether to begin afresh.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// The config's name, for reports.
    pub variant: String,
    /// Remove what a run has left there before.
    pub fresh: bool,
    /// Leave as soon as the server has all samples; come back for the result with the same call.
    pub leave: bool,
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
        let server = scope.spawn(|| serve(&job, &mut server_folder, server_end, &|| false, watch));
        let trained = device.train(&mut folder, &*transport, device_end, watch);
        (trained, server.join().unwrap_or(Err(RunError::Panicked("server"))))
    });
    first_cause(trained.map(drop), served.map(drop))?;
    finish(loaded, &folder, options)
}

/// The device's half. It waits for the server as long as the transport does. Returns `None` if the device
/// was to leave and has left before the end.
///
/// # Errors
/// As [`run`].
pub fn device(
    loaded: &Loaded,
    environment: &Environment,
    options: &RunOptions,
    watch: &Watch<'_>,
) -> Result<Option<Summary>, RunError> {
    needs_processes(loaded)?;
    check_leave(loaded, options)?;
    let (device, mut folder) = DeviceSide::open(loaded, environment, options, watch, true)?;
    let io = io_runtime()?;
    let transport = loaded.config.link.transport.build();
    let link = io.block_on(unless_stopped(watch, transport.connect()))?;
    let link = ThreadLink::new(io.handle(), link, &*transport, device.waiting_frames());
    match device.train(&mut folder, &*transport, link, watch)? {
        Ended::Finished => finish(loaded, &folder, options).map(Some),
        Ended::Left => Ok(None),
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
    leave: bool,
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
        let (assembly, prepared) = prepare(loaded, environment, watch)?;
        warn_of_other_labels(&assembly, &loaded.config, watch);
        let toml = loaded
            .to_absolute_toml()
            .map_err(RunError::file("make absolute the paths of", &options.variant))?;
        if options.fresh {
            RunFolder::clear(&options.out)?;
        }
        let work = Work {
            config: fingerprint(&toml)
                .map_err(RunError::file("read again the config of", &options.variant))?,
            data: prepared.fingerprint,
            bundle: assembly.info.bundle,
            plugins: loaded.libraries(),
        };
        let own_prior = prior(&assembly.objective, &prepared.train.truths);
        let folder = RunFolder::open(&options.out, work, own_prior, &toml)?;
        // Nobody comes back to a server that is a thread of one process.
        let leave = options.leave && own_process;
        Ok((Self { loaded, environment, assembly, prepared, began, own_process, leave }, folder))
    }

    fn train(
        &self,
        folder: &mut RunFolder,
        transport: &dyn Transport,
        link: ThreadLink,
        watch: &Watch<'_>,
    ) -> Result<Ended, RunError> {
        let Self { loaded, environment, assembly, prepared, .. } = self;
        let config = &loaded.config;
        let policy = loaded.component("device.privacy", Slot::PrivacyPolicy);
        let own = assembly.own(folder.state.own_prior.clone());
        let path = match assembly.tap_path(config, environment, own) {
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
            work: prepared.work(&*assembly.selector),
            cached: config.server.store.caches(),
            leave: self.leave,
            path,
            policy_tag: policy
                .map_or_else(|| config.device.privacy.typetag_name(), |entry| entry.tag),
            quantizer: assembly.quantizer.clone(),
            predictor: &*config.device.predictor,
            micro_batch: config.device.micro_batch(),
            ahead: config.link.ahead as u64,
            transport,
            began: self.began,
            own_process: self.own_process,
        };
        train(job, evaluation, folder, link, watch)
    }

    /// Acknowledgements and adapters of all steps that can be on their way: the link's reader never
    /// waits for the device, so the server never waits to acknowledge.
    fn waiting_frames(&self) -> usize {
        2 * (self.loaded.config.link.ahead + self.loaded.config.device.window) + 16
    }
}

/// Puts the stages of `loaded` together, reads its data and cuts it into tokens.
///
/// # Errors
/// With everything that is wrong with either.
pub fn prepare(
    loaded: &Loaded,
    environment: &Environment,
    watch: &Watch<'_>,
) -> Result<(Assembly, Prepared), RunError> {
    let assembly = Assembly::of(loaded, environment);
    let dataset = check::data(&loaded.config.task, &loaded.origin, environment);
    let both = check::both(assembly, dataset);
    let (assembly, dataset) = both.map_err(|found| found.into_error(&loaded.origin))?;
    let prepared = tokenized(dataset, &assembly, &loaded.config, watch)?;
    Ok((assembly, prepared))
}

fn tokenized(
    dataset: Dataset,
    assembly: &Assembly,
    config: &Config,
    watch: &Watch<'_>,
) -> Result<Prepared, RunError> {
    let Config { task, device, training, .. } = config;
    let tokenizer = RowTokenizer::new(&assembly.bundle, task, device.max_tokens)?;
    // The schema refuses zero for each of these.
    let size = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    let sizes = Sizes {
        batch: size(training.batch),
        epochs: training.epochs as u64,
        window: size(device.window),
        micro_batch: device.micro_batch(),
    };
    device::prepare(dataset, &tokenizer, training.seed, sizes, watch)
}

/// Names a config whatever its transport, for a server may come back at another address, and wherever its plugins
/// are, for these are known by what they are.
fn fingerprint(toml: &str) -> io::Result<Fingerprint> {
    let mut config: toml::Table = toml.parse().map_err(io::Error::other)?;
    if let Some(link) = config.get_mut("link").and_then(toml::Value::as_table_mut) {
        link.remove("transport");
    }
    config.remove("plugins");
    Ok(Fingerprint::of(config.to_string().as_bytes()))
}

/// A head's outputs are the task's labels by their order alone; a model that has other names for them may
/// mean something else.
fn warn_of_other_labels(assembly: &Assembly, config: &Config, watch: &Watch<'_>) {
    let ours = &config.task.labels;
    if let Some(heads) = assembly.bundle.own_labels().filter(|heads| heads != ours)
        && config.device.own_prediction == OwnPrediction::Head
    {
        let message = format!(
            "the model's head calls its outputs {heads:?}, the task {ours:?}: they are taken to be the \
             same in this order"
        );
        watch.news(News::Warning { message });
    }
}

fn check_leave(loaded: &Loaded, options: &RunOptions) -> Result<(), RunError> {
    if !options.leave || loaded.config.server.store.caches() {
        return Ok(());
    }
    let problem = "the server keeps no samples, so the device cannot leave before the end";
    let diagnostic = Diagnostic::new("server.store.type", problem).expected("`memory` or `disk`");
    Err(loaded.errors([diagnostic]).into())
}

fn needs_processes(loaded: &Loaded) -> Result<(), RunError> {
    if loaded.config.link.transport.crosses_processes() {
        return Ok(());
    }
    let problem = "this transport joins two threads of one process";
    let diagnostic = Diagnostic::new("link.transport.type", problem)
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
