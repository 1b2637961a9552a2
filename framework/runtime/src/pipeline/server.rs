//! The server's half, in a process of its own.

use std::path::Path;

use mobillm_core::side_network::SideNetworkError;
use mobillm_core::transport::{Link, Listener, TransportError};
use mobillm_store::StoreError;

use crate::assembly::pipeline;
use crate::config::{Config, Loaded};
use crate::error::RunError;
use crate::link::ThreadLink;
use crate::pipeline::{io_runtime, needs_processes};
use crate::progress::{News, Watch};
use crate::server::{Served, ServerFolder, ServerJob, serve, train_alone};
use crate::stop::NoValue;

type Links = flume::Receiver<Result<Link, TransportError>>;

/// The server's half: serves one run in `folder`, over as many connections as it takes. Between them
/// it trains on the samples that it keeps.
///
/// # Errors
/// If a file cannot be written, the listener breaks, or the server is to stop; the run can then be gone
/// on with.
pub fn server(loaded: &Loaded, folder: &Path, watch: &Watch<'_>) -> Result<(), RunError> {
    needs_processes(loaded)?;
    let mut folder = ServerFolder::open(folder)?;
    let io = io_runtime()?;
    let transport = loaded.config.link.transport.build();
    let listener = io.block_on(transport.listen())?;
    watch.news(News::Note { message: format!("listening on {}", listener.address()) });
    let (sender, links): (_, Links) = flume::bounded(1);
    io.spawn(accept(listener, sender));
    let job = server_job(loaded);
    loop {
        let others = || !links.is_empty();
        if let Err(error) = train_alone(&job, &mut folder, &others, watch) {
            wait_if_it_helps(error, watch)?;
        }
        let link = next(&links, watch)?;
        watch.news(News::Note { message: "a device has connected".into() });
        let waiting = server_waiting_frames(&loaded.config);
        let link = ThreadLink::new(io.handle(), link, &*transport, waiting);
        match serve(&job, &mut folder, link, &others, watch) {
            Ok(Served::Finished) => return Ok(()),
            Ok(Served::Interrupted) => {
                let message = format!(
                    "the device went away after {} steps; waiting for it to come back",
                    folder.next_step()
                );
                watch.news(News::Warning { message });
            }
            Err(error) => wait_if_it_helps(error, watch)?,
        }
    }
}

/// What a device did wrong is no reason to leave the others alone, and a sample that was damaged is one
/// to ask a device for again.
fn wait_if_it_helps(error: RunError, watch: &Watch<'_>) -> Result<(), RunError> {
    match error {
        RunError::Wire(_)
        | RunError::Transport(_)
        | RunError::Quantizer(_)
        | RunError::Store(
            StoreError::Damaged { .. } | StoreError::Full { .. } | StoreError::TooLarge { .. },
        )
        | RunError::SideNetwork(SideNetworkError::Batch { .. }) => {
            watch.news(News::Warning { message: format!("{error}; waiting for a device") });
            Ok(())
        }
        error => Err(error),
    }
}

/// Takes connections while the server is busy with others, so that it sees that one waits.
async fn accept(
    mut listener: Box<dyn Listener>,
    links: flume::Sender<Result<Link, TransportError>>,
) {
    loop {
        let link = listener.accept().await;
        let broken = link.is_err();
        if links.send_async(link).await.is_err() || broken {
            return;
        }
    }
}

fn next(links: &Links, watch: &Watch<'_>) -> Result<Link, RunError> {
    match watch.stop.receive(links, None) {
        Ok(link) => Ok(link?),
        Err(NoValue::Stopped) => Err(RunError::Stopped),
        Err(NoValue::Closed | NoValue::Late) => Err(TransportError::Closed.into()),
    }
}

/// What a server of `loaded` is set up with.
pub(super) fn server_job(loaded: &Loaded) -> ServerJob<'_> {
    ServerJob {
        pipeline: pipeline(loaded),
        quantizer: loaded.config.device.quantizer.build().into(),
        side_network: &*loaded.config.server.side_network,
        plugins: loaded.libraries_of(&["device.quantizer", "server.side_network"]),
        objective: loaded.config.task.objective(),
        training: &loaded.config.training,
        store: &loaded.config.server.store,
        checkpoint_steps: loaded.config.server.checkpoint_steps as u64,
    }
}

/// Frames of a window or two: the device goes on while the server trains. Above that the link holds
/// the device back.
pub(super) fn server_waiting_frames(config: &Config) -> usize {
    const FRAMES_PER_STEP: usize = 64;
    (config.device.window * FRAMES_PER_STEP).max(256)
}
