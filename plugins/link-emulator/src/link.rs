//! The two halves of a link whose frames are held back.

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::transport::{FrameSink, FrameSource, Lane, TransportError};
use tokio::task::JoinSet;

use crate::delay_line::{Capacity, Entrance, Exit, delay_line};
use crate::interface::Interface;

/// A task that ends with the half that holds it.
type Task = JoinSet<Result<(), TransportError>>;

/// How a task ended; a second time there is nothing to say.
async fn end(task: &mut Task) -> Result<(), TransportError> {
    match task.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(panicked)) => Err(TransportError::System(Box::new(panicked))),
        None => Ok(()),
    }
}

/// One direction of the imitated network, for one connection.
pub(crate) struct Way {
    pub interface: Interface,
    pub capacity: Capacity,
    /// Bytes that the inner transport adds to every frame.
    pub overhead: u64,
}

impl Way {
    fn wire_bytes(&self, frame: &Bytes) -> u64 {
        self.overhead + frame.len() as u64
    }
}

/// Holds back what is sent.
pub(crate) struct EmulatedSink {
    way: Way,
    /// `None` once it is closed or broken.
    line: Option<Entrance<(Bytes, Lane)>>,
    delivery: Task,
}

impl EmulatedSink {
    pub(crate) fn new(inner: Box<dyn FrameSink>, way: Way) -> Self {
        let (line, exit) = delay_line(way.capacity);
        let mut delivery = Task::new();
        delivery.spawn(deliver(exit, inner));
        Self { way, line: Some(line), delivery }
    }
}

/// Sends on what has arrived.
async fn deliver(
    mut line: Exit<(Bytes, Lane)>,
    mut sink: Box<dyn FrameSink>,
) -> Result<(), TransportError> {
    while let Some((frame, lane)) = line.pop().await {
        sink.send(frame, lane).await?;
    }
    sink.close().await
}

#[async_trait]
impl FrameSink for EmulatedSink {
    async fn send(&mut self, frame: Bytes, lane: Lane) -> Result<(), TransportError> {
        let line = self.line.as_ref().ok_or(TransportError::Closed)?;
        let bytes = self.way.wire_bytes(&frame);
        let enters = async {
            let due = self.way.interface.pass(bytes).await;
            line.push((frame, lane), bytes, due).await
        };
        let entered = tokio::select! {
            biased;
            () = line.closed() => false,
            entered = enters => entered.is_ok(),
        };
        if entered {
            return Ok(());
        }
        self.line = None;
        end(&mut self.delivery).await.and(Err(TransportError::Closed))
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.line = None;
        end(&mut self.delivery).await
    }
}

/// Holds back what is received.
pub(crate) struct EmulatedSource {
    line: Exit<Bytes>,
    collection: Task,
}

impl EmulatedSource {
    pub(crate) fn new(inner: Box<dyn FrameSource>, way: Way) -> Self {
        let (entrance, line) = delay_line(way.capacity);
        let mut collection = Task::new();
        collection.spawn(collect(inner, way, entrance));
        Self { line, collection }
    }
}

/// Takes in what the other end has sent, no faster than the imitated network lets it.
async fn collect(
    mut source: Box<dyn FrameSource>,
    mut way: Way,
    line: Entrance<Bytes>,
) -> Result<(), TransportError> {
    while let Some(frame) = source.receive().await? {
        let bytes = way.wire_bytes(&frame);
        let due = way.interface.pass(bytes).await;
        if line.push(frame, bytes, due).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[async_trait]
impl FrameSource for EmulatedSource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        match self.line.pop().await {
            Some(frame) => Ok(Some(frame)),
            None => end(&mut self.collection).await.map(|()| None),
        }
    }
}
