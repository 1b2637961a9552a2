//! A transport on the other side: its calls block, so each half of a link has a thread of its own.
//!
//! A thread is asked one thing after the other over a channel, and asks the other side nothing by itself: no
//! frame is received before somebody waits for it, so a slow reader holds the writer back as with any link. Who
//! drops a half does not wait. Its thread gives it back as soon as no call is out, and a call that waits for a frame
//! or a link comes back only when there is one, or the other end closes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportConfig, TransportError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::component::Chosen;
use super::instance::{CallError, Instance, outcome};
use super::thread::{Worker, on_thread};
use crate::abi::{MobillmBytes, MobillmLink, MobillmText, MobillmTransport};
use crate::refusal::LinkRefused;
use crate::text::Written;

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
    let (name, table) = chosen.table::<MobillmTransport>()?;
    let options = Value::Object(chosen.options.clone()).to_string();
    let mut crosses = false;
    // SAFETY: the table has all its functions; texts and answer live for the call.
    let status = unsafe {
        let (tag, options) = (MobillmText::of(&chosen.tag), MobillmText::of(&options));
        (table.crosses_processes)(tag, options, &mut crosses)
    };
    outcome(&name, "crosses_processes", status, &Written::default())?;
    Ok(crosses)
}

/// A transport, a listener or half of a link.
type Held = Instance<MobillmTransport>;

struct LoadedTransport {
    instance: Arc<Held>,
    overhead: usize,
}

impl LoadedTransport {
    fn new(chosen: &Chosen) -> Result<Self, CallError> {
        let instance = chosen.build::<MobillmTransport>(&json!({}))?;
        let mut overhead = 0;
        // SAFETY: the instance is of this table, and the number lives for the call.
        instance.call(&"overhead", |table, instance, _| unsafe {
            (table.overhead)(instance, &mut overhead)
        })?;
        if overhead > MOST_OVERHEAD {
            let problem = format!("{overhead} bytes, expected at most {MOST_OVERHEAD}");
            return Err(instance.lied("overhead", problem));
        }
        Ok(Self { instance: Arc::new(instance), overhead })
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
}

const NO_LINK: MobillmLink =
    MobillmLink { sink: std::ptr::null_mut(), source: std::ptr::null_mut() };

fn connect(transport: &Held) -> Result<Link, TransportError> {
    let mut halves = NO_LINK;
    // SAFETY: the instance is of this table, and the link lives for the call.
    let connected = transport.wait(&"connect", |table, instance, error| unsafe {
        (table.connect)(instance, &mut halves, error)
    });
    connected.map_err(|error| failed(error, Some(CONNECT)))?;
    link(transport, "connect", halves)
}

fn listen(transport: &Held) -> Result<LoadedListener, TransportError> {
    let (mut listener, mut address) = (std::ptr::null_mut(), Written::default());
    let to_address = address.writer();
    // SAFETY: as above; the writers live for the call, too.
    let listening = transport.call(&"listen", |table, instance, error| unsafe {
        (table.listen)(instance, &mut listener, &to_address, error)
    });
    listening.map_err(|error| failed(error, Some(LISTEN)))?;
    let (name, table) = (Arc::clone(&transport.name), transport.table);
    let listener = Instance::new(name, table, listener, table.release_listener);
    let listener = listener.map_err(|_| transport.lied("listen", "no listener")).map_err(broken)?;
    Ok(LoadedListener { listener: Arc::new(listener), address: address.text(), accepted: None })
}

/// The link of two halves that the function `call` gave.
fn link(of: &Held, call: &'static str, halves: MobillmLink) -> Result<Link, TransportError> {
    let table = of.table;
    let half = |pointer, release| Instance::new(Arc::clone(&of.name), table, pointer, release);
    let sink = half(halves.sink, table.release_sink);
    let source = half(halves.source, table.release_source);
    let (Ok(sink), Ok(source)) = (sink, source) else {
        return Err(broken(of.lied(call, "a link that lacks a half")));
    };
    let sink = Worker::new("plugin sink", move |asked| match asked {
        Asked::Send(frame, lane) => send(&sink, &frame, lane),
        Asked::Close => close(&sink),
    })?;
    let source = Worker::new("plugin source", move |()| receive(&source))?;
    Ok(Link { sink: Box::new(LoadedSink(sink)), source: Box::new(LoadedSource(source)) })
}

struct LoadedListener {
    listener: Arc<Held>,
    address: String,
    /// Where a link comes that was waited for before.
    accepted: Option<flume::Receiver<Result<Link, TransportError>>>,
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
                let listener = Arc::clone(&self.listener);
                on_thread("plugin accept", move || accept(&listener))?
            }
        };
        // Kept until the link is there: who stops to wait here does not lose it.
        let accepted = self.accepted.insert(accepted);
        let link = accepted.recv_async().await;
        self.accepted = None;
        link.map_err(|_| TransportError::Closed)?
    }
}

fn accept(listener: &Held) -> Result<Link, TransportError> {
    let mut halves = NO_LINK;
    // SAFETY: the listener is of this table, and the link lives for the call.
    let accepted = listener.wait(&"accept", |table, listener, error| unsafe {
        (table.accept)(listener, &mut halves, error)
    });
    accepted.map_err(|error| failed(error, Some(LISTEN)))?;
    link(listener, "accept", halves)
}

/// What a sink is asked.
enum Asked {
    Send(Bytes, Lane),
    Close,
}

struct LoadedSink(Worker<Asked, Result<(), TransportError>>);

impl LoadedSink {
    async fn ask(&mut self, asked: Asked) -> Result<(), TransportError> {
        // A frame whose sender did not wait is sent first; that it failed is told now.
        if self.0.is_asked() {
            self.0.answer().await??;
        }
        self.0.ask(asked);
        self.0.answer().await?
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
    let (frame, bulk) = (MobillmBytes::of(frame), lane == Lane::Bulk);
    // SAFETY: the sink is of this table, and the frame lives for the call.
    let sent =
        sink.wait(&"send", |table, sink, error| unsafe { (table.send)(sink, frame, bulk, error) });
    sent.map_err(|error| failed(error, None))
}

fn close(sink: &Held) -> Result<(), TransportError> {
    // SAFETY: the sink is of this table.
    let closed = sink.wait(&"close", |table, sink, error| unsafe { (table.close)(sink, error) });
    closed.map_err(|error| failed(error, None))
}

struct LoadedSource(Worker<(), Result<Option<Bytes>, TransportError>>);

#[async_trait]
impl FrameSource for LoadedSource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        // A frame that nobody waited for in the end is the next one.
        if !self.0.is_asked() {
            self.0.ask(());
        }
        self.0.answer().await?
    }
}

fn receive(source: &Held) -> Result<Option<Bytes>, TransportError> {
    let mut frame = Written::default();
    let to_frame = frame.writer();
    // SAFETY: the source is of this table, and the writers live for the call.
    let received = source.wait(&"receive", |table, source, error| unsafe {
        (table.receive)(source, &to_frame, error)
    });
    match received {
        Ok(()) => Ok(Some(frame.0.into())),
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
        CallError::Refused { name, problem, .. } => (name, problem),
        _ => return broken(error),
    };
    match (serde_json::from_str::<LinkRefused>(problem), action) {
        (Ok(refused), action) => refused.error(action.unwrap_or(CONNECT)),
        (Err(_), Some(action)) => {
            TransportError::Address { action, address: name.clone(), problem: problem.clone() }
        }
        (Err(_), None) => broken(error),
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
