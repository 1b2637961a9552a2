//! A transport for mobillm, `plugin.tag` in a config: frames between two threads of one process.
//!
//! Both ends are given the same instance: what one connects, the other accepts. To reach another process, put a
//! socket where the channels are, and let `crosses_processes` say so.
//!
//! ```
//! use mobillm_core::transport::TransportConfig;
//! use plugin_ident::PluginTypeConfig;
//!
//! assert_eq!(PluginTypeConfig::default().build().overhead(), 0);
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use flume::{Receiver, Sender};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportConfig, TransportError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "plugin")]
mobillm_plugin::export! {
    transports: [PluginTypeConfig],
}

/// Frames between two threads of one process.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTypeConfig {
    /// Frames that are under way in each direction before the writer waits.
    #[schemars(range(min = 1, max = 1024))]
    pub capacity: usize,
}

impl Default for PluginTypeConfig {
    fn default() -> Self {
        Self { capacity: 8 }
    }
}

impl Plugin for PluginTypeConfig {
    const SLOT: Slot = Slot::Transport;
    const TAG: &'static str = "plugin.tag";
}

#[typetag::serde(name = "plugin.tag")]
impl TransportConfig for PluginTypeConfig {
    fn check(&self) -> Vec<Diagnostic> {
        if (1..=1024).contains(&self.capacity) {
            return Vec::new();
        }
        let message = format!("{} is out of range", self.capacity);
        vec![Diagnostic::new("capacity", message).expected("1 to 1024")]
    }

    fn crosses_processes(&self) -> bool {
        false
    }

    fn build(&self) -> Box<dyn Transport> {
        let (connected, to_accept) = flume::unbounded();
        let door = Arc::new(Door {
            connected,
            to_accept,
            listens: Mutex::new(false),
        });
        Box::new(PluginType {
            capacity: self.capacity.max(1),
            door,
        })
    }
}

/// See [`PluginTypeConfig`].
pub struct PluginType {
    capacity: usize,
    door: Arc<Door>,
}

/// Where those who connect wait for the listener.
struct Door {
    connected: Sender<Link>,
    to_accept: Receiver<Link>,
    listens: Mutex<bool>,
}

impl Door {
    fn listens(&self) -> MutexGuard<'_, bool> {
        self.listens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ADDRESS: &str = "plugin.tag";

#[async_trait]
impl Transport for PluginType {
    async fn connect(&self) -> Result<Link, TransportError> {
        let (up, from_below) = flume::bounded(self.capacity);
        let (down, from_above) = flume::bounded(self.capacity);
        let end = |frames, source| Link {
            sink: Box::new(Sink {
                frames: Some(frames),
            }),
            source: Box::new(Source { frames: source }),
        };
        let (ours, theirs) = (end(up, from_above), end(down, from_below));
        self.door
            .connected
            .send(theirs)
            .map_err(|_| TransportError::Closed)?;
        Ok(ours)
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        let mut listens = self.door.listens();
        if *listens {
            return Err(TransportError::Address {
                action: "listen on",
                address: ADDRESS.to_owned(),
                problem: "this instance has a listener; one is enough".to_owned(),
            });
        }
        *listens = true;
        Ok(Box::new(Doorway {
            door: Arc::clone(&self.door),
        }))
    }

    fn overhead(&self) -> usize {
        0
    }
}

struct Doorway {
    door: Arc<Door>,
}

#[async_trait]
impl Listener for Doorway {
    fn address(&self) -> String {
        ADDRESS.to_owned()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        self.door
            .to_accept
            .recv_async()
            .await
            .map_err(|_| TransportError::Closed)
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        *self.door.listens() = false;
        // Who waits on a link that nobody will accept learns that it is closed.
        self.door.to_accept.drain();
    }
}

struct Sink {
    /// `None` once it is closed.
    frames: Option<Sender<Bytes>>,
}

#[async_trait]
impl FrameSink for Sink {
    async fn send(&mut self, frame: Bytes, _lane: Lane) -> Result<(), TransportError> {
        let frames = self.frames.as_ref().ok_or(TransportError::Closed)?;
        frames
            .send_async(frame)
            .await
            .map_err(|_| TransportError::Closed)
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.frames = None;
        Ok(())
    }
}

struct Source {
    frames: Receiver<Bytes>,
}

#[async_trait]
impl FrameSource for Source {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        // Frames under way come first; after them the end.
        Ok(self.frames.recv_async().await.ok())
    }
}
