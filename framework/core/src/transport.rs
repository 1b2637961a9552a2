//! Frames between device and server: the one asynchronous trait.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::BoxError;
use crate::diagnostic::Diagnostic;

/// Why a link could not be made or broke.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Nobody answers there, or the address cannot be used.
    #[error("cannot {action} {address}: {problem}")]
    Address {
        /// "connect to" or "listen on".
        action: &'static str,
        /// Where.
        address: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// A frame is larger than this end takes.
    #[error(
        "a frame of {bytes} bytes is over the limit of {limit}; the other end is not mobillm, or `max_frame_bytes` is too small"
    )]
    TooLarge {
        /// Bytes that the frame claims.
        bytes: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// The link ended within a frame.
    #[error("the link was cut within a frame: expected {expected} bytes, got {got}")]
    Cut {
        /// Bytes that the frame claims.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// The other end is gone.
    #[error("the link is closed")]
    Closed,
    /// The system failed.
    #[error("link: {0}")]
    System(#[source] BoxError),
}

/// A hint which frames may overtake each other on transports that have streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Handshake, steps, acknowledgements, reports.
    Control,
    /// Activations and adapters.
    Bulk,
}

/// The sending half of a link.
#[async_trait]
pub trait FrameSink: Send {
    /// Sends one frame; waits while the other end is behind.
    ///
    /// # Errors
    /// If the frame is over the limit, or the link is closed or broken.
    async fn send(&mut self, frame: Bytes, lane: Lane) -> Result<(), TransportError>;

    /// Sends what is under way and closes this half. The other end's source then ends.
    ///
    /// # Errors
    /// If the link is broken.
    async fn close(&mut self) -> Result<(), TransportError>;
}

/// The receiving half of a link.
#[async_trait]
pub trait FrameSource: Send {
    /// The next frame, or `None` once the other end has closed its sink.
    ///
    /// # Errors
    /// If a frame is over the limit, or the link is cut within one.
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError>;
}

/// Two halves of a connection.
pub struct Link {
    /// Towards the other end.
    pub sink: Box<dyn FrameSink>,
    /// From the other end.
    pub source: Box<dyn FrameSource>,
}

/// Waits for devices.
#[async_trait]
pub trait Listener: Send {
    /// Where devices reach this listener.
    fn address(&self) -> String;

    /// The next link.
    ///
    /// # Errors
    /// If the listener is broken.
    async fn accept(&mut self) -> Result<Link, TransportError>;
}

/// Makes links.
///
/// What it promises beyond its types are the laws of `mobillm_testkit::transport`.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Connects to a listener.
    ///
    /// # Errors
    /// If nobody answers.
    async fn connect(&self) -> Result<Link, TransportError>;

    /// Starts to listen.
    ///
    /// # Errors
    /// If the address is taken or cannot be used.
    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError>;

    /// Bytes that this transport adds to every frame.
    fn overhead(&self) -> usize;

    /// What a network that is only imitated has cost so far; `None` where the network is real.
    fn emulated(&self) -> Option<Emulated> {
        None
    }
}

/// What a network that is only imitated has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulated {
    /// Seconds in which at least one frame from device to server was held back.
    pub up_seconds: f64,
    /// The same from server to device.
    pub down_seconds: f64,
    /// Packets that were lost and sent again, both ways.
    pub lost_packets: u64,
}

/// The config twin of [`Transport`].
#[typetag::serde(tag = "type")]
pub trait TransportConfig: std::fmt::Debug + Send + Sync {
    /// Everything that is wrong with this config. Pure.
    fn check(&self) -> Vec<Diagnostic>;

    /// Whether device and server may be two processes.
    fn crosses_processes(&self) -> bool;

    /// The transport. An in-memory one joins the two ends that were given the same instance.
    fn build(&self) -> Box<dyn Transport>;
}
