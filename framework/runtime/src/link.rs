//! Threads on one side, an asynchronous transport on the other, bounded channels between.
//!
//! Nothing heavy runs on a tokio worker: compute threads put frames into a channel and take frames
//! out of one, and two tasks per link carry them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mobillm_core::transport::{FrameSink, FrameSource, Lane, Link, Transport, TransportError};
use mobillm_wire::WireError;
use mobillm_wire::frame::Frame;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::RunError;
use crate::stop::{NoValue, Stop};

/// Frames that may wait to be sent: one under way and one behind it keep the link busy, and the
/// device never holds the taps of many layers.
const OUTGOING_FRAMES: usize = 2;

/// How long a new link may stay silent. A server may be busy with another device.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// How long the last words of an end may take.
const GRACE: Duration = Duration::from_secs(5);

/// What was heard of the other end.
#[derive(Debug)]
pub enum Heard {
    /// A frame.
    Frame(Frame),
    /// Nothing yet.
    Nothing,
    /// It has closed the link.
    End,
}

/// Bytes that crossed a link, the transport's own included.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent by this end.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received by this end.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// One end of a link, for threads.
pub struct ThreadLink {
    outgoing: flume::Sender<(Bytes, Lane)>,
    incoming: flume::Receiver<Bytes>,
    /// The first error of either task.
    error: Arc<Mutex<Option<TransportError>>>,
    traffic: Arc<Traffic>,
    /// Bytes that the transport adds to a frame.
    overhead: u64,
    writer: JoinHandle<()>,
    handle: Handle,
}

impl ThreadLink {
    /// Puts `link` on the runtime `handle`. At most `incoming` received frames wait for a thread.
    pub fn new(handle: &Handle, link: Link, transport: &dyn Transport, incoming: usize) -> Self {
        let (frame_sender, frame_receiver) = flume::bounded(OUTGOING_FRAMES);
        let (incoming_sender, incoming_receiver) = flume::bounded(incoming);
        let error = Arc::new(Mutex::new(None));
        let traffic = Arc::new(Traffic::default());
        let overhead = transport.overhead() as u64;
        let writer = handle.spawn(write(
            link.sink,
            frame_receiver,
            traffic.clone(),
            overhead,
            error.clone(),
        ));
        handle.spawn(read(link.source, incoming_sender, traffic.clone(), overhead, error.clone()));
        Self {
            outgoing: frame_sender,
            incoming: incoming_receiver,
            error,
            traffic,
            overhead,
            writer,
            handle: handle.clone(),
        }
    }

    /// Bytes so far.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Sends an encoded frame; waits while the link is behind. Returns the bytes that will cross.
    ///
    /// # Errors
    /// If the link is broken or the run is to stop.
    pub fn send(&self, stop: &Stop, frame: Bytes, lane: Lane) -> Result<u64, RunError> {
        let bytes = frame.len() as u64 + self.overhead;
        stop.send(&self.outgoing, (frame, lane)).map_err(|why| self.explain(why))?;
        Ok(bytes)
    }

    /// Whether a frame can be sent without waiting, at the latest after `wait`. Only for the one thread
    /// that sends.
    pub fn has_room(&self, wait: Duration) -> bool {
        const TICK: Duration = Duration::from_millis(1);
        let deadline = Instant::now() + wait;
        while self.outgoing.is_full() && !self.outgoing.is_disconnected() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(TICK);
        }
        true
    }

    /// The next frame; `None` once the other end has closed the link.
    ///
    /// # Errors
    /// If the link is broken, the frame is none, or the run is to stop.
    pub fn receive(&self, stop: &Stop) -> Result<Option<Frame>, RunError> {
        self.receive_before(stop, None)
    }

    /// The first frame of a new link, which the other end owes within some seconds.
    ///
    /// # Errors
    /// As [`receive`](Self::receive), and if nothing comes.
    pub fn receive_first(&self, stop: &Stop) -> Result<Option<Frame>, RunError> {
        self.receive_before(stop, Some(Instant::now() + HANDSHAKE))
    }

    fn receive_before(
        &self,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Option<Frame>, RunError> {
        match stop.receive(&self.incoming, deadline) {
            Ok(bytes) => Ok(Some(Frame::parse(bytes)?)),
            Err(NoValue::Closed) => self.take_error().map_or(Ok(None), |error| Err(error.into())),
            Err(why) => Err(self.explain(why)),
        }
    }

    /// What comes within `patience`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn listen(&self, stop: &Stop, patience: Duration) -> Result<Heard, RunError> {
        match stop.receive(&self.incoming, Some(Instant::now() + patience)) {
            Ok(bytes) => Ok(Heard::Frame(Frame::parse(bytes)?)),
            Err(NoValue::Late) => Ok(Heard::Nothing),
            Err(NoValue::Closed) => self.take_error().map_or(Ok(Heard::End), |e| Err(e.into())),
            Err(why) => Err(self.explain(why)),
        }
    }

    /// A frame that is there already.
    ///
    /// # Errors
    /// If the link is closed or broken, or the frame is none.
    pub fn try_receive(&self) -> Result<Option<Frame>, RunError> {
        match self.incoming.try_recv() {
            Ok(bytes) => Ok(Some(Frame::parse(bytes)?)),
            Err(flume::TryRecvError::Empty) => Ok(None),
            Err(flume::TryRecvError::Disconnected) => Err(self.explain(NoValue::Closed)),
        }
    }

    /// Tells the other end that this one gives up, and closes the link.
    pub fn fail(self, message: &str) {
        let failure = Frame::Failure(message.to_owned()).encode();
        // The link may be what failed; then there is nobody to tell.
        let _ = self.outgoing.send_timeout((failure, Lane::Control), GRACE);
        self.close();
    }

    /// Sends what is under way and closes the link; an end that does not read is not waited for.
    pub fn close(self) {
        let Self { outgoing, incoming, writer, handle, .. } = self;
        // With the receiver our reader ends, and with it whoever waits to send to us.
        drop((outgoing, incoming));
        let writing = writer.abort_handle();
        if handle.block_on(async { tokio::time::timeout(GRACE, writer).await }).is_err() {
            writing.abort();
        }
    }

    fn explain(&self, why: NoValue) -> RunError {
        match why {
            NoValue::Stopped => RunError::Stopped,
            NoValue::Late => {
                let problem = format!(
                    "nothing came for {} s; is the other end mobillm, and free?",
                    HANDSHAKE.as_secs()
                );
                WireError::Frame { problem }.into()
            }
            NoValue::Closed => self
                .last_words()
                .unwrap_or_else(|| self.take_error().unwrap_or(TransportError::Closed).into()),
        }
    }

    /// Why the other end went, if it said so.
    fn last_words(&self) -> Option<RunError> {
        while let Ok(bytes) = self.incoming.recv_timeout(GRACE) {
            if let Ok(frame @ (Frame::Failure(_) | Frame::Refuse(_))) = Frame::parse(bytes) {
                return Some(unexpected(&frame, "another frame").into());
            }
        }
        None
    }

    fn take_error(&self) -> Option<TransportError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type FirstError = Arc<Mutex<Option<TransportError>>>;

fn keep(first: &FirstError, error: TransportError) {
    first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

async fn write(
    mut sink: Box<dyn FrameSink>,
    frames: flume::Receiver<(Bytes, Lane)>,
    traffic: Arc<Traffic>,
    overhead: u64,
    error: FirstError,
) {
    while let Ok((frame, lane)) = frames.recv_async().await {
        let bytes = frame.len() as u64 + overhead;
        if let Err(problem) = sink.send(frame, lane).await {
            return keep(&error, problem);
        }
        traffic.sent.fetch_add(bytes, Ordering::Relaxed);
    }
    if let Err(problem) = sink.close().await {
        keep(&error, problem);
    }
}

async fn read(
    mut source: Box<dyn FrameSource>,
    frames: flume::Sender<Bytes>,
    traffic: Arc<Traffic>,
    overhead: u64,
    error: FirstError,
) {
    loop {
        match source.receive().await {
            Ok(Some(frame)) => {
                traffic.received.fetch_add(frame.len() as u64 + overhead, Ordering::Relaxed);
                if frames.send_async(frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(problem) => return keep(&error, problem),
        }
    }
}

/// A frame that the protocol does not allow here.
pub(crate) fn unexpected(frame: &Frame, expected: &str) -> WireError {
    match frame {
        Frame::Refuse(refusal) => WireError::Handshake(refusal.clone()),
        Frame::Failure(message) => WireError::Other { end: "other end", message: message.clone() },
        other => WireError::Order { frame: other.name(), problem: format!("expected {expected}") },
    }
}
