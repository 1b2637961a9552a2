//! Frames on a byte stream.

use std::io;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use mobillm_core::transport::{FrameSink, FrameSource, Lane, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes of the length before each frame.
pub(crate) const PREFIX_BYTES: usize = 4;

/// Bytes that are asked for at once when little is known of what comes.
const READ_BYTES: usize = 64 << 10;

pub(crate) struct TcpSink {
    /// `None` once it is closed or broken.
    stream: Option<OwnedWriteHalf>,
    limit: u32,
}

impl TcpSink {
    pub(crate) fn new(stream: OwnedWriteHalf, limit: u32) -> Self {
        Self { stream: Some(stream), limit }
    }
}

#[async_trait]
impl FrameSink for TcpSink {
    async fn send(&mut self, frame: Bytes, _: Lane) -> Result<(), TransportError> {
        let length = match u32::try_from(frame.len()) {
            Ok(length) if length <= self.limit => length,
            _ => {
                let (bytes, limit) = (frame.len() as u64, self.limit.into());
                return Err(TransportError::TooLarge { bytes, limit });
            }
        };
        // Taken out while the frame is under way: if this future is dropped or fails halfway, the
        // stream is closed with it, and the other end sees a cut instead of a frame of two halves.
        let mut stream = self.stream.take().ok_or(TransportError::Closed)?;
        let prefix = length.to_le_bytes();
        stream.write_all_buf(&mut Buf::chain(prefix.as_slice(), frame)).await.map_err(broken)?;
        self.stream = Some(stream);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        match self.stream.take() {
            Some(mut stream) => stream.shutdown().await.map_err(broken),
            None => Ok(()),
        }
    }
}

pub(crate) struct TcpSource {
    stream: OwnedReadHalf,
    limit: u32,
    /// What has arrived and was not handed out. It outlives a dropped `receive`.
    buffer: BytesMut,
}

impl TcpSource {
    pub(crate) fn new(stream: OwnedReadHalf, limit: u32) -> Self {
        Self { stream, limit, buffer: BytesMut::new() }
    }

    /// Bytes of the next frame with its prefix, as far as is known.
    fn wanted(&self) -> Result<usize, TransportError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(PREFIX_BYTES);
        };
        let length = u32::from_le_bytes(*prefix);
        if length > self.limit {
            return Err(TransportError::TooLarge {
                bytes: length.into(),
                limit: self.limit.into(),
            });
        }
        Ok(PREFIX_BYTES + length as usize)
    }
}

#[async_trait]
impl FrameSource for TcpSource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let (wanted, got) = (self.wanted()?, self.buffer.len());
            if got >= PREFIX_BYTES && got >= wanted {
                self.buffer.advance(PREFIX_BYTES);
                return Ok(Some(self.buffer.split_to(wanted - PREFIX_BYTES).freeze()));
            }
            // At most as much again as has really come, whatever the prefix claims.
            self.buffer.reserve((wanted - got).min(got.max(READ_BYTES)));
            let cut = TransportError::Cut { expected: wanted as u64, got: got as u64 };
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(cut),
                Ok(_) => {}
                Err(error) => {
                    return Err(match broken(error) {
                        TransportError::Closed if got > 0 => cut,
                        error => error,
                    });
                }
            }
        }
    }
}

fn broken(error: io::Error) -> TransportError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected => TransportError::Closed,
        _ => TransportError::System(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: u32 = 1 << 20;

    async fn streams() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    /// A source, and the bare stream that feeds it.
    async fn source() -> (TcpStream, TcpSource) {
        let (raw, stream) = streams().await;
        (raw, TcpSource::new(stream.into_split().0, LIMIT))
    }

    #[tokio::test]
    async fn a_cut_within_a_frame_is_an_error() {
        for (sent, expected) in [(&b"\x02\0"[..], 4), (b"\x0a\0\0\0abc", 14), (b"\x01\0\0\0", 5)] {
            let (mut raw, mut source) = source().await;
            raw.write_all(sent).await.unwrap();
            drop(raw);
            let error = source.receive().await.unwrap_err();
            let (wanted, came) = (expected as u64, sent.len() as u64);
            assert!(
                matches!(error, TransportError::Cut { expected, got } if (expected, got) == (wanted, came)),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn an_oversize_claim_is_refused_before_its_bytes_come() {
        let (mut raw, mut source) = source().await;
        raw.write_all(&(LIMIT + 1).to_le_bytes()).await.unwrap();
        let error = source.receive().await.unwrap_err();
        assert!(matches!(error, TransportError::TooLarge { bytes: 0x10_0001, limit: 0x10_0000 }));
    }

    #[tokio::test]
    async fn a_claim_allocates_nothing() {
        let (mut raw, mut source) = source().await;
        raw.write_all(&LIMIT.to_le_bytes()).await.unwrap();
        raw.write_all(&[1; 100]).await.unwrap();
        let waited = timeout(Duration::from_millis(200), source.receive()).await;
        assert!(waited.is_err() && source.buffer.len() == 104);
        assert!(source.buffer.capacity() <= 4 * READ_BYTES, "{}", source.buffer.capacity());
    }

    #[tokio::test]
    async fn a_dropped_receive_loses_nothing() {
        let (mut raw, mut source) = source().await;
        let writer = tokio::spawn(async move {
            for part in [&b"\x05\0"[..], b"\0\0he", b"llo\x01", b"\0\0\0!"] {
                raw.write_all(part).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
        });
        let mut frames = Vec::new();
        while frames.len() < 2 {
            if let Ok(frame) = timeout(Duration::from_millis(1), source.receive()).await {
                frames.push(frame.unwrap().unwrap());
            }
        }
        assert_eq!(frames, ["hello", "!"]);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_send_is_a_cut_and_not_half_a_frame() {
        let (ours, theirs) = streams().await;
        let mut sink = TcpSink::new(ours.into_split().1, u32::MAX);
        let large = Bytes::from(vec![0; 64 << 20]);
        let sent = timeout(Duration::from_millis(100), sink.send(large, Lane::Bulk)).await;
        assert!(sent.is_err(), "the socket's buffers do not hold that much");
        let next = sink.send("next".into(), Lane::Control).await;
        assert!(matches!(next, Err(TransportError::Closed)));
        let mut source = TcpSource::new(theirs.into_split().0, u32::MAX);
        assert!(matches!(source.receive().await, Err(TransportError::Cut { .. })));
    }
}
