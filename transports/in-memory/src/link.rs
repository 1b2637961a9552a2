//! The two halves of a link, as bounded channels.

use async_trait::async_trait;
use bytes::Bytes;
use flume::{Receiver, Sender};
use mobillm_core::transport::{FrameSink, FrameSource, Lane, Link, TransportError};

/// Two ends of one link with `capacity` frames under way in each direction.
pub(crate) fn pair(capacity: usize) -> (Link, Link) {
    let (up, from_below) = flume::bounded(capacity);
    let (down, from_above) = flume::bounded(capacity);
    let end = |frames, source| Link {
        sink: Box::new(InMemorySink { frames: Some(frames) }),
        source: Box::new(InMemorySource { frames: source }),
    };
    (end(up, from_above), end(down, from_below))
}

struct InMemorySink {
    /// `None` once it is closed.
    frames: Option<Sender<Bytes>>,
}

#[async_trait]
impl FrameSink for InMemorySink {
    async fn send(&mut self, frame: Bytes, _: Lane) -> Result<(), TransportError> {
        let frames = self.frames.as_ref().ok_or(TransportError::Closed)?;
        frames.send_async(frame).await.map_err(|_| TransportError::Closed)
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.frames = None;
        Ok(())
    }
}

struct InMemorySource {
    frames: Receiver<Bytes>,
}

#[async_trait]
impl FrameSource for InMemorySource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.frames.recv_async().await.ok())
    }
}
