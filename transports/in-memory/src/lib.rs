//! A transport between two threads of one process.
//!
//! Both ends are given the same instance: what one connects, the other accepts. Frames are handed
//! over without a copy, `capacity` of them at most are under way in each direction, and nothing is
//! added to them. It does not matter which end comes first: a link that is connected before anybody
//! listens waits to be accepted.
//!
//! # Example
//!
//! ```
//! use mobillm_core::transport::{Lane, TransportConfig};
//! use mobillm_transport_in_memory::InMemoryConfig;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let transport = InMemoryConfig::default().build();
//! let mut device = transport.connect().await?;
//! let mut server = transport.listen().await?.accept().await?;
//! device.sink.send("hello".into(), Lane::Control).await?;
//! assert_eq!(server.source.receive().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), mobillm_core::transport::TransportError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod link;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use flume::{Receiver, Sender};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{DuplicateTag, Plugin, Registry, Slot};
use mobillm_core::transport::{Link, Listener, Transport, TransportConfig, TransportError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Frames between two threads of one process.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InMemoryConfig {
    /// Frames that are under way in each direction before the writer waits.
    pub capacity: NonZeroUsize,
}

impl Default for InMemoryConfig {
    fn default() -> Self {
        const EIGHT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
        Self { capacity: EIGHT }
    }
}

impl Plugin for InMemoryConfig {
    const SLOT: Slot = Slot::Transport;
    const TAG: &'static str = "in-memory";
}

#[typetag::serde(name = "in-memory")]
impl TransportConfig for InMemoryConfig {
    fn check(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn crosses_processes(&self) -> bool {
        false
    }

    fn build(&self) -> Box<dyn Transport> {
        Box::new(InMemory::new(self.capacity))
    }
}

/// Registers the transport of this crate.
///
/// # Errors
/// If its tag is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<InMemoryConfig>(env!("CARGO_PKG_NAME"))
}

/// Joins two threads that hold the same instance.
pub struct InMemory {
    capacity: NonZeroUsize,
    connected: Sender<Link>,
    to_accept: Receiver<Link>,
    door: Arc<Door>,
}

impl InMemory {
    fn new(capacity: NonZeroUsize) -> Self {
        let (connected, to_accept) = flume::unbounded();
        Self { capacity, connected, to_accept, door: Arc::default() }
    }
}

/// Who listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Presence {
    /// Nobody yet; links wait.
    #[default]
    Expected,
    /// A listener.
    There,
    /// Nobody any more; links are refused.
    Gone,
}

#[derive(Debug, Default)]
struct Door(Mutex<Presence>);

impl Door {
    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ADDRESS: &str = "in-memory";

fn refused(action: &'static str, problem: &str) -> TransportError {
    TransportError::Address { action, address: ADDRESS.into(), problem: problem.into() }
}

#[async_trait]
impl Transport for InMemory {
    async fn connect(&self) -> Result<Link, TransportError> {
        let (ours, theirs) = link::pair(self.capacity.get());
        // Held while the link is queued: a listener that leaves at this moment takes it along.
        let presence = self.door.presence();
        if *presence == Presence::Gone {
            return Err(refused("connect to", "nobody listens any more"));
        }
        self.connected.send(theirs).map_err(|_| TransportError::Closed)?;
        Ok(ours)
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        let mut presence = self.door.presence();
        if *presence == Presence::There {
            return Err(refused("listen on", "this instance has a listener; one is enough"));
        }
        *presence = Presence::There;
        let (to_accept, door) = (self.to_accept.clone(), Arc::clone(&self.door));
        Ok(Box::new(InMemoryListener { to_accept, door }))
    }

    fn overhead(&self) -> usize {
        0
    }
}

/// Takes the links that others connected.
struct InMemoryListener {
    to_accept: Receiver<Link>,
    door: Arc<Door>,
}

#[async_trait]
impl Listener for InMemoryListener {
    fn address(&self) -> String {
        ADDRESS.into()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        self.to_accept.recv_async().await.map_err(|_| TransportError::Closed)
    }
}

impl Drop for InMemoryListener {
    fn drop(&mut self) {
        let mut presence = self.door.presence();
        *presence = Presence::Gone;
        // Whoever waits on a link that will never be accepted learns that it is closed.
        self.to_accept.drain();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn transport() -> Box<dyn Transport> {
        InMemoryConfig::default().build()
    }

    mobillm_testkit::transport_conformance!(transport);

    #[tokio::test]
    async fn a_frame_is_not_copied() {
        let transport = transport();
        let mut device = transport.connect().await.unwrap();
        let mut server = transport.listen().await.unwrap().accept().await.unwrap();
        let frame = bytes::Bytes::from(vec![1; 100]);
        let at = frame.as_ptr();
        device.sink.send(frame, mobillm_core::transport::Lane::Bulk).await.unwrap();
        assert_eq!(server.source.receive().await.unwrap().unwrap().as_ptr(), at);
    }

    #[tokio::test]
    async fn a_listener_that_leaves_closes_what_it_did_not_accept() {
        let transport = transport();
        let listener = transport.listen().await.unwrap();
        let mut waiting = transport.connect().await.unwrap();
        drop(listener);
        let end = timeout(Duration::from_secs(10), waiting.source.receive()).await;
        assert_eq!(end.unwrap().unwrap(), None);
        let error = transport.connect().await.err().unwrap();
        assert_eq!(error.to_string(), "cannot connect to in-memory: nobody listens any more");
    }

    #[tokio::test]
    async fn a_listener_learns_that_nobody_can_connect_any_more() {
        let transport = transport();
        let mut listener = transport.listen().await.unwrap();
        drop(transport);
        let accepted = timeout(Duration::from_secs(10), listener.accept()).await;
        assert!(matches!(accepted.unwrap(), Err(TransportError::Closed)));
    }

    #[test]
    fn a_capacity_of_0_is_no_config() {
        let config = |json: &str| serde_json::from_str::<Box<dyn TransportConfig>>(json);
        assert!(config(r#"{ "type": "in-memory", "capacity": 0 }"#).is_err());
        assert!(!config(r#"{ "type": "in-memory" }"#).unwrap().crosses_processes());
    }
}
