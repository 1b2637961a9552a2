//! A transport's table. Calls from outside block; inside an asynchronous transport runs on tokio.
//!
//! The host's runtime is not here: the statics of a library are copies of its own, and a socket that was
//! registered with one runtime does not work under another. So the kit has a runtime itself, started by the
//! first call. It has one worker, which watches sockets and timers and runs what a transport spawns, also
//! while no call is out; the future of a call is polled on the thread that called. Many of these may wait at once.
//! A transport that knows nothing of tokio is polled there as well.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportConfig, TransportError,
};
use serde::de::IgnoredAny;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::component::{Door, component};
use super::list::{Exports, Maker};
use super::thunk::{Ending, guard, hand_over, release, twin, write_json};
use crate::abi::{
    MOBILLM_BULK, MOBILLM_CONTROL, MobillmBytes, MobillmComponent, MobillmLink, MobillmStatus,
    MobillmText, MobillmTransport, MobillmWriter,
};
use crate::context::{Cost, LinkInfo};
use crate::refusal::LinkRefused;
use crate::text::write;

type Instance = Box<dyn Transport>;
type Listening = Waiting<Box<dyn Listener>>;
type Sink = Waiting<Box<dyn FrameSink>>;
type Source = Waiting<Box<dyn FrameSource>>;

/// Something whose calls wait, and can be stopped.
struct Waiting<T> {
    /// Calls come one at a time, so nobody ever waits here; a stop passes by.
    half: Mutex<T>,
    /// Closed once it is stopped.
    stopped: Semaphore,
}

impl<T> Waiting<T> {
    fn new(half: T) -> Self {
        Self { half: Mutex::new(half), stopped: Semaphore::new(0) }
    }

    /// What `work` comes to, unless it is stopped.
    fn wait<R>(&self, work: impl AsyncFnOnce(&mut T) -> Result<R, Ending>) -> Result<R, Ending> {
        let mut half = self.half.lock().unwrap_or_else(PoisonError::into_inner);
        let _inside = runtime()?.enter();
        runtime()?.block_on(async {
            tokio::select! {
                biased;
                // There is never a permit.
                _ = self.stopped.acquire() => Err(Ending::Closed),
                done = work(&mut half) => done,
            }
        })
    }
}

/// Stops what waits, now and later.
///
/// # Safety
/// The half was handed over as a `Waiting<T>`.
unsafe extern "C" fn stop<T>(half: *mut c_void) {
    // SAFETY: as the caller promises; a shared reference is all that the waiting call has, too.
    unsafe { waiting::<T>(half) }.stopped.close();
}

/// # Safety
/// The half was handed over as a `Waiting<T>`, and is not released before `'a` ends.
unsafe fn waiting<'a, T>(half: *mut c_void) -> &'a Waiting<T> {
    // SAFETY: as the caller promises.
    unsafe { &*half.cast::<Waiting<T>>() }
}

/// The table of the transports of `E`.
pub(crate) struct TransportDoor<E>(PhantomData<E>);

impl<E: Exports> TransportDoor<E> {
    pub(crate) const TABLE: &'static MobillmTransport = &MobillmTransport {
        size: size_of::<MobillmTransport>(),
        component: MobillmComponent { release: release_inside::<Instance>, ..component::<Self>() },
        crosses_processes: crosses_processes::<E>,
        info,
        connect,
        listen,
        accept,
        send,
        close,
        receive,
        stop_listener: stop::<Box<dyn Listener>>,
        stop_sink: stop::<Box<dyn FrameSink>>,
        stop_source: stop::<Box<dyn FrameSource>>,
        release_listener: release_inside::<Listening>,
        release_sink: release_inside::<Sink>,
        release_source: release_inside::<Source>,
    };
}

/// The runtime of this library. It lives as long as the library does: until the process ends.
fn runtime() -> Result<&'static Runtime, Ending> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("plugin transport").enable_all();
        builder.build().map_err(|error| format!("the runtime of the transports: {error}"))
    };
    RUNTIME.get_or_init(start).as_ref().map_err(|problem| Ending::Failed(problem.clone()))
}

/// Takes back what may hold sockets.
unsafe extern "C" fn release_inside<T>(instance: *mut c_void) {
    // SAFETY: as the ABI says, the instance is one that was handed over as a `T`, and is not used again.
    unsafe {
        guard(std::ptr::null(), || {
            let _inside = runtime()?.enter();
            release::<T>(instance);
            Ok(())
        });
    }
}

impl<E: Exports> Door for TransportDoor<E> {
    type Config = dyn TransportConfig;
    type Checked = IgnoredAny;
    type Built = IgnoredAny;
    type Instance = Instance;

    fn makers() -> Vec<Maker<Self::Config>> {
        E::components().transports
    }

    fn check(config: &Self::Config, _: &IgnoredAny) -> Result<Vec<Diagnostic>, Ending> {
        let _inside = runtime()?.enter();
        Ok(config.check())
    }

    fn build(config: &Self::Config, _: &IgnoredAny) -> Result<Instance, Ending> {
        let _inside = runtime()?.enter();
        Ok(config.build())
    }
}

unsafe extern "C" fn crosses_processes<E: Exports>(
    tag: MobillmText,
    options: MobillmText,
    crosses: *mut u32,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; the answer's place is lent for the call, too.
    unsafe {
        guard(error, || {
            let _inside = runtime()?.enter();
            let config = twin(E::components().transports, tag, options)?;
            crosses.write(config.crosses_processes().into());
            Ok(())
        })
    }
}

/// # Safety
/// The instance is one of `build`.
unsafe fn transport<'a>(instance: *mut c_void) -> &'a dyn Transport {
    // SAFETY: as the caller promises.
    unsafe { &**instance.cast::<Instance>() }
}

fn ending(error: TransportError) -> Ending {
    let json = LinkRefused::of(&error).and_then(|refused| serde_json::to_string(&refused).ok());
    match (json, error) {
        (Some(json), _) => Ending::Refused(json),
        (None, TransportError::Closed) => Ending::Closed,
        (None, TransportError::System(error)) => Ending::failed(error),
        (None, error) => Ending::failed(error),
    }
}

unsafe extern "C" fn info(
    instance: *mut c_void,
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the instance is of `build`, and the writers are lent for the call.
    unsafe {
        guard(error, || {
            let _inside = runtime()?.enter();
            let transport = transport(instance);
            let (overhead, emulated) = (transport.overhead(), transport.emulated());
            let info = LinkInfo { overhead, emulated: emulated.map(Cost::from) };
            write_json(out, &info)
        })
    }
}

/// Hands the halves of `link` over.
///
/// # Safety
/// The place of the halves is the host's, lent for the call.
unsafe fn hand_over_link(link: Link, halves: *mut MobillmLink) {
    let Link { sink, source } = link;
    // SAFETY: as the caller promises.
    unsafe {
        hand_over::<Sink>(Waiting::new(sink), &raw mut (*halves).sink);
        hand_over::<Source>(Waiting::new(source), &raw mut (*halves).source);
    }
}

unsafe extern "C" fn connect(
    instance: *mut c_void,
    link: *mut MobillmLink,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above; the link's place and the writer are lent for the call, too.
    unsafe {
        guard(error, || {
            let _inside = runtime()?.enter();
            let connected = runtime()?.block_on(transport(instance).connect());
            hand_over_link(connected.map_err(ending)?, link);
            Ok(())
        })
    }
}

unsafe extern "C" fn listen(
    instance: *mut c_void,
    listener: *mut *mut c_void,
    address: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            let _inside = runtime()?.enter();
            let listening = runtime()?.block_on(transport(instance).listen()).map_err(ending)?;
            write(address, listening.address().as_bytes()).map_err(Ending::Failed)?;
            hand_over::<Listening>(Waiting::new(listening), listener);
            Ok(())
        })
    }
}

unsafe extern "C" fn accept(
    listener: *mut c_void,
    link: *mut MobillmLink,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the listener is of `listen`, calls on it come one at a time, and the link's place
    // and the writer are lent for the call.
    unsafe {
        guard(error, || {
            let listening = waiting::<Box<dyn Listener>>(listener);
            let accepted =
                listening.wait(async |listener| listener.accept().await.map_err(ending))?;
            hand_over_link(accepted, link);
            Ok(())
        })
    }
}

unsafe extern "C" fn send(
    sink: *mut c_void,
    frame: MobillmBytes,
    lane: u32,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the sink is of a link, calls on it come one at a time, and frame and writer are
    // lent for the call.
    unsafe {
        guard(error, || {
            let lane = match lane {
                MOBILLM_CONTROL => Lane::Control,
                MOBILLM_BULK => Lane::Bulk,
                other => return Err(Ending::Refused(format!("there is no lane {other}"))),
            };
            // A transport may keep a frame for longer than this call.
            let frame = Bytes::copy_from_slice(frame.read().map_err(Ending::Refused)?);
            waiting::<Box<dyn FrameSink>>(sink)
                .wait(async |sink| sink.send(frame, lane).await.map_err(ending))
        })
    }
}

unsafe extern "C" fn close(sink: *mut c_void, error: *const MobillmWriter) -> MobillmStatus {
    // SAFETY: as above.
    unsafe {
        guard(error, || {
            waiting::<Box<dyn FrameSink>>(sink)
                .wait(async |sink| sink.close().await.map_err(ending))
        })
    }
}

unsafe extern "C" fn receive(
    source: *mut c_void,
    frame: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the ABI says, the source is of a link, calls on it come one at a time, and the writers are
    // lent for the call.
    unsafe {
        guard(error, || {
            let received = waiting::<Box<dyn FrameSource>>(source).wait(async |source| {
                match source.receive().await {
                    Ok(received) => received.ok_or(Ending::Closed),
                    // The end of a link in order is no error: one that is must not look like it.
                    Err(TransportError::Closed) => Err(Ending::failed(TransportError::Closed)),
                    Err(error) => Err(ending(error)),
                }
            })?;
            write(frame, &received).map_err(Ending::Failed)
        })
    }
}
