//! A transport on which nothing ever happens: its calls wait until they are stopped.

use std::future::pending;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportError,
};
use tokio::time::timeout;

use super::transport::{SHORT, mischief, soon};

/// It, a listener of it or a half of a link.
#[derive(Clone)]
pub(crate) struct Silent(#[expect(dead_code, reason = "it is counted")] Arc<()>);

/// The last transport of this kind, as long as anything of it is there.
static SILENT: Mutex<Weak<()>> = Mutex::new(Weak::new());

impl Silent {
    pub(crate) fn new() -> Self {
        let all = Arc::new(());
        *SILENT.lock().unwrap() = Arc::downgrade(&all);
        Self(all)
    }

    /// Waits until of the transport, its listeners and halves so many are left.
    async fn left(count: usize) {
        let is_left = || SILENT.lock().unwrap().strong_count() == count;
        soon(async {
            while !is_left() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

#[async_trait]
impl Transport for Silent {
    async fn connect(&self) -> Result<Link, TransportError> {
        Ok(Link { sink: Box::new(self.clone()), source: Box::new(self.clone()) })
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        Ok(Box::new(self.clone()))
    }

    fn overhead(&self) -> usize {
        0
    }
}

#[async_trait]
impl Listener for Silent {
    fn address(&self) -> String {
        "nowhere".to_owned()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        pending().await
    }
}

#[async_trait]
impl FrameSink for Silent {
    async fn send(&mut self, _: Bytes, _: Lane) -> Result<(), TransportError> {
        pending().await
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        pending().await
    }
}

#[async_trait]
impl FrameSource for Silent {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        pending().await
    }
}

#[tokio::test]
async fn calls_that_wait_for_ever_end_when_nobody_waits_for_them() {
    let transport = mischief("silence");
    let mut listener = soon(transport.listen()).await.unwrap();
    let Link { mut sink, mut source } = soon(transport.connect()).await.unwrap();
    Silent::left(4).await;
    assert!(timeout(SHORT, listener.accept()).await.is_err());
    assert!(timeout(SHORT, source.receive()).await.is_err());
    assert!(timeout(SHORT, sink.send("x".into(), Lane::Bulk)).await.is_err());
    drop(listener);
    Silent::left(3).await;
    drop(source);
    Silent::left(2).await;
    // What its link came from is not given back before it.
    drop(transport);
    tokio::time::sleep(SHORT).await;
    Silent::left(2).await;
    drop(sink);
    Silent::left(0).await;
}
