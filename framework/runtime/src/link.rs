//! Threads on one side, an asynchronous transport on the other, bounded channels between.
//!
//! Nothing heavy runs on a tokio worker: compute threads put frames into a channel and take frames
//! out of one, and two tasks per link carry them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mobillm_core::transport::{FrameSink, FrameSource, Lane, Link, Transport, TransportError};
use mobillm_wire::WireError;
use mobillm_wire::frame::Frame;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::RunError;
use crate::stop::{NoValue, Stop};

/// Frames that may wait to be sent: enough to keep the link busy, few enough to hold the device back.
const OUTGOING_FRAMES: usize = 16;

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

    /// The next frame; `None` once the other end has closed the link.
    ///
    /// # Errors
    /// If the link is broken, the frame is none, or the run is to stop.
    pub fn receive(&self, stop: &Stop) -> Result<Option<Frame>, RunError> {
        match stop.receive(&self.incoming) {
            Ok(bytes) => Ok(Some(Frame::parse(bytes)?)),
            Err(NoValue::Closed) => self.take_error().map_or(Ok(None), |error| Err(error.into())),
            Err(NoValue::Stopped) => Err(RunError::Stopped),
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

    /// Tells the other end why this one gives up, and closes the link.
    pub fn fail(self, error: &RunError) {
        let failure = Frame::Failure(error.to_string()).encode();
        // The link may be what failed; then there is nobody to tell.
        let _ = self.outgoing.try_send((failure, Lane::Control));
        self.close();
    }

    /// Sends what is under way and closes the link.
    pub fn close(self) {
        drop(self.outgoing);
        // The task ends by itself; that it was cancelled with its runtime is no news.
        let _ = self.handle.block_on(self.writer);
    }

    fn explain(&self, why: NoValue) -> RunError {
        match why {
            NoValue::Stopped => RunError::Stopped,
            NoValue::Closed => self.take_error().unwrap_or(TransportError::Closed).into(),
        }
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
