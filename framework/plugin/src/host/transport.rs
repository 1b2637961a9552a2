//! A transport on the other side: its calls block, so each half of a link has a thread of its own.
//!
//! A thread is asked one thing after the other over a channel, and asks the other side nothing by itself: no
//! frame is received before somebody waits for it, so a slow reader holds the writer back as with any link. Who
//! drops a half does not wait: a call that is out is stopped, and whoever is last, the half or its thread, gives it back.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::transport::{
    Emulated, FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportConfig,
    TransportError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::component::Chosen;
use super::hang;
use super::instance::{CallError, Instance, outcome};
use super::thread::{Worker, on_thread};
use crate::abi::{
    MOBILLM_BULK, MOBILLM_CONTROL, MobillmBytes, MobillmLink, MobillmText, MobillmTransport,
};
use crate::context::LinkInfo;
use crate::refusal::LinkRefused;
use crate::text::{written, written_bytes};

const CONNECT: &str = "connect to";
const LISTEN: &str = "listen on";
/// Bytes that a transport may add to a frame. More is no overhead but a lie.
const MOST_OVERHEAD: usize = 1 << 20;

/// The config twin of every transport that is loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoadedTransportConfig(Chosen);

#[typetag::serde(name = "loaded")]
impl TransportConfig for LoadedTransportConfig {
    fn check(&self) -> Vec<Diagnostic> {
        let found = self.0.check::<MobillmTransport>(&json!({}));
        // Neither `build` nor `crosses_processes` can say that it failed: so they are tried here, where that has a
        // place in the config.
        let tried = || crosses_processes(&self.0).and_then(|_| LoadedTransport::new(&self.0));
        match found.is_empty().then(tried) {
            Some(Err(error)) => vec![Diagnostic::new("", error.to_string())],
            _ => found,
        }
    }

    /// `false` if the plugin fails.
    fn crosses_processes(&self) -> bool {
        crosses_processes(&self.0).unwrap_or(false)
    }

    fn build(&self) -> Box<dyn Transport> {
        match LoadedTransport::new(&self.0) {
            Ok(transport) => Box::new(transport),
            Err(error) => Box::new(Unbuilt(error)),
        }
    }
}

fn crosses_processes(chosen: &Chosen) -> Result<bool, CallError> {
    const CALL: &str = "crosses_processes";
    let (name, table) = chosen.table::<MobillmTransport>()?;
    let options = Value::Object(chosen.options.clone()).to_string();
    let mut crosses = 0;
    let _out = hang::out(name, &CALL);
    // SAFETY: the table has all its functions; texts, answer and writer live for the call.
    let (status, error) = written(|error| unsafe {
        let (tag, options) = (MobillmText::of(&chosen.tag), MobillmText::of(&options));
        (table.crosses_processes)(tag, options, &mut crosses, error)
    });
    outcome(name, CALL, status, &error)?;
    match crosses {
        0 | 1 => Ok(crosses == 1),
        other => {
            let problem = format!("{other}, expected 0 or 1");
            Err(CallError::Lied { name: name.to_string(), call: CALL, problem })
        }
    }
}

/// What a transport says of itself.
///
/// # Errors
/// If it says nothing, or what cannot be.
fn info(instance: &Held) -> Result<LinkInfo, CallError> {
    // SAFETY: the instance is of this table, and the writers live for the call.
    let info: LinkInfo = instance.json(&"info", |table, instance, out, error| unsafe {
        (table.info)(instance, out, error)
    })?;
    if info.overhead > MOST_OVERHEAD {
        let problem = format!("{} bytes, expected at most {MOST_OVERHEAD}", info.overhead);
        return Err(instance.lied("info", format!("the overhead is {problem}")));
    }
    Ok(info)
}

/// A transport, a listener or half of a link.
type Held = Instance<MobillmTransport>;

struct LoadedTransport {
    instance: Arc<Held>,
    overhead: usize,
    /// What was told last of what the network has cost.
    cost: Mutex<Option<Emulated>>,
}

impl LoadedTransport {
    fn new(chosen: &Chosen) -> Result<Self, CallError> {
        let instance = chosen.build::<MobillmTransport>(&json!({}))?;
        let LinkInfo { overhead, .. } = info(&instance)?;
        Ok(Self { instance: Arc::new(instance), overhead, cost: Mutex::new(None) })
    }
}

#[async_trait]
impl Transport for LoadedTransport {
    async fn connect(&self) -> Result<Link, TransportError> {
        let instance = Arc::clone(&self.instance);
        let connected = on_thread("plugin connect", move || connect(&instance))?;
        connected.recv_async().await.map_err(|_| TransportError::Closed)?
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        let instance = Arc::clone(&self.instance);
        let listening = on_thread("plugin listen", move || listen(&instance))?;
        let listener = listening.recv_async().await.map_err(|_| TransportError::Closed)??;
        Ok(Box::new(listener))
    }

    fn overhead(&self) -> usize {
        self.overhead
    }

    /// What was told before if the plugin fails, or tells less than that.
    fn emulated(&self) -> Option<Emulated> {
        let mut cost = self.cost.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = info(&self.instance).ok().and_then(|info| info.emulated) {
            let before = cost.unwrap_or_default();
            *cost = Some(Emulated {
                up_seconds: told.up_seconds.max(before.up_seconds),
                down_seconds: told.down_seconds.max(before.down_seconds),
                lost_packets: told.lost_packets.max(before.lost_packets),
            });
        }
        *cost
    }
}

const NO_LINK: MobillmLink =
    MobillmLink { sink: std::ptr::null_mut(), source: std::ptr::null_mut() };

fn connect(transport: &Arc<Held>) -> Result<Link, TransportError> {
    let mut halves = NO_LINK;
    // SAFETY: the instance is of this table, and the link lives for the call.
    let connected = transport.wait(&"connect", |table, instance, error| unsafe {
        (table.connect)(instance, &mut halves, error)
    });
    connected.map_err(|error| failed(error, Some(CONNECT)))?;
    link(transport, "connect", halves)
}

fn listen(transport: &Arc<Held>) -> Result<LoadedListener, TransportError> {
    let mut listener = std::ptr::null_mut();
    let (listening, address) = written(|address| {
        // SAFETY: as above; the writers live for the call, too.
        transport.call(&"listen", |table, instance, error| unsafe {
            (table.listen)(instance, &mut listener, address, error)
        })
    });
    listening.map_err(|error| failed(error, Some(LISTEN)))?;
    let release = transport.table.release_listener;
    let listener = Instance::of(transport, listener, release, "listen").map_err(broken)?;
    let address = address.bytes().and_then(|address| {
        String::from_utf8(address).map_err(|error| format!("the address is no text: {error}"))
    });
    let address = address.map_err(|problem| broken(transport.lied("listen", problem)))?;
    let (listener, transport) = (Arc::new(listener), Arc::clone(transport));
    Ok(LoadedListener { listener, transport, address, accepted: None })
}

/// The link of two halves that the function `call` gave.
fn link(of: &Arc<Held>, call: &'static str, halves: MobillmLink) -> Result<Link, TransportError> {
    let table = of.table;
    let sink = Instance::of(of, halves.sink, table.release_sink, call);
    let source = Instance::of(of, halves.source, table.release_source, call);
    let (Ok(sink), Ok(source)) = (sink, source) else {
        return Err(broken(of.lied(call, "a link that lacks a half")));
    };
    let (sink, source) = (Arc::new(sink), Arc::new(source));
    let (sends, receives) = (Arc::clone(&sink), Arc::clone(&source));
    let worker = Worker::new("plugin sink", move |asked| match asked {
        Asked::Send(frame, lane) => send(&sends, &frame, lane),
        Asked::Close => close(&sends),
    })?;
    let sink = Box::new(LoadedSink { worker, sink });
    let worker = Worker::new("plugin source", move |()| receive(&receives))?;
    Ok(Link { sink, source: Box::new(LoadedSource { worker, source }) })
}

struct LoadedListener {
    listener: Arc<Held>,
    transport: Arc<Held>,
    address: String,
    /// Where a link comes that was waited for before.
    accepted: Option<flume::Receiver<Result<Link, TransportError>>>,
}

impl Drop for LoadedListener {
    /// Nobody waits any more: the thread that does comes back and gives the listener away.
    fn drop(&mut self) {
        if self.accepted.is_some() {
            self.listener.stop(self.listener.table.stop_listener);
        }
    }
}

#[async_trait]
impl Listener for LoadedListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        let accepted = match self.accepted.take() {
            Some(accepted) => accepted,
            None => {
                let (listener, transport) =
                    (Arc::clone(&self.listener), Arc::clone(&self.transport));
                on_thread("plugin accept", move || accept(&listener, &transport))?
            }
        };
        // Kept until the link is there: who stops to wait here does not lose it.
        let accepted = self.accepted.insert(accepted);
        let link = accepted.recv_async().await;
        self.accepted = None;
        link.map_err(|_| TransportError::Closed)?
    }
}

/// The next link that comes to `listener`. It is of `transport`: a listener may go before it.
fn accept(listener: &Held, transport: &Arc<Held>) -> Result<Link, TransportError> {
    let mut halves = NO_LINK;
    // SAFETY: the listener is of this table, and the link lives for the call.
    let accepted = listener.wait(&"accept", |table, listener, error| unsafe {
        (table.accept)(listener, &mut halves, error)
    });
    accepted.map_err(|error| failed(error, Some(LISTEN)))?;
    link(transport, "accept", halves)
}

/// What a sink is asked.
enum Asked {
    Send(Bytes, Lane),
    Close,
}

struct LoadedSink {
    worker: Worker<Asked, Result<(), TransportError>>,
    sink: Arc<Held>,
}

impl LoadedSink {
    async fn ask(&mut self, asked: Asked) -> Result<(), TransportError> {
        // A frame whose sender did not wait is sent first; that it failed is told now.
        if self.worker.is_asked() {
            self.worker.answer().await??;
        }
        self.worker.ask(asked);
        self.worker.answer().await?
    }
}

impl Drop for LoadedSink {
    /// Nobody waits any more for what is being sent.
    fn drop(&mut self) {
        if self.worker.is_asked() {
            self.sink.stop(self.sink.table.stop_sink);
        }
    }
}

#[async_trait]
impl FrameSink for LoadedSink {
    async fn send(&mut self, frame: Bytes, lane: Lane) -> Result<(), TransportError> {
        self.ask(Asked::Send(frame, lane)).await
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.ask(Asked::Close).await
    }
}

fn send(sink: &Held, frame: &Bytes, lane: Lane) -> Result<(), TransportError> {
    let lane = match lane {
        Lane::Control => MOBILLM_CONTROL,
        Lane::Bulk => MOBILLM_BULK,
    };
    let frame = MobillmBytes::of(frame);
    // SAFETY: the sink is of this table, and the frame lives for the call.
    let sent =
        sink.wait(&"send", |table, sink, error| unsafe { (table.send)(sink, frame, lane, error) });
    sent.map_err(|error| failed(error, None))
}

fn close(sink: &Held) -> Result<(), TransportError> {
    // SAFETY: the sink is of this table.
    let closed = sink.wait(&"close", |table, sink, error| unsafe { (table.close)(sink, error) });
    closed.map_err(|error| failed(error, None))
}

struct LoadedSource {
    worker: Worker<(), Result<Option<Bytes>, TransportError>>,
    source: Arc<Held>,
}

impl Drop for LoadedSource {
    /// Nobody waits for a frame any more.
    fn drop(&mut self) {
        if self.worker.is_asked() {
            self.source.stop(self.source.table.stop_source);
        }
    }
}

#[async_trait]
impl FrameSource for LoadedSource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        // A frame that nobody waited for in the end is the next one.
        if !self.worker.is_asked() {
            self.worker.ask(());
        }
        self.worker.answer().await?
    }
}

fn receive(source: &Held) -> Result<Option<Bytes>, TransportError> {
    let (received, frame) = written_bytes(|frame| {
        // SAFETY: the source is of this table, and the writers live for the call.
        source.wait(&"receive", |table, source, error| unsafe {
            (table.receive)(source, frame, error)
        })
    });
    match received {
        Ok(()) => {
            let lied = |problem| broken(source.lied("receive", problem));
            Ok(Some(frame.bytes().map_err(lied)?.into()))
        }
        Err(CallError::Closed { .. }) => Ok(None),
        Err(error) => Err(failed(error, None)),
    }
}

fn broken(error: CallError) -> TransportError {
    TransportError::System(error.into())
}

/// What `error` means to somebody who wanted to do `action` at an address.
fn failed(error: CallError, action: Option<&'static str>) -> TransportError {
    let (name, problem) = match &error {
        CallError::Closed { .. } => return TransportError::Closed,
        CallError::Refused { name, problem, .. } | CallError::Failed { name, problem, .. } => {
            (name, problem)
        }
        _ => return broken(error),
    };
    match (serde_json::from_str::<LinkRefused>(problem), action, &error) {
        (Ok(refused), action, _) => refused.error(action.unwrap_or(CONNECT)),
        (Err(_), Some(action), CallError::Refused { .. }) => {
            TransportError::Address { action, address: name.clone(), problem: problem.clone() }
        }
        _ => broken(error),
    }
}

/// A transport that could not be built: whatever it is asked, it says why.
struct Unbuilt(CallError);

#[async_trait]
impl Transport for Unbuilt {
    async fn connect(&self) -> Result<Link, TransportError> {
        Err(broken(self.0.clone()))
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        Err(broken(self.0.clone()))
    }

    fn overhead(&self) -> usize {
        0
    }
}
