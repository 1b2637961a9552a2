//! Frames, handshake and session state machine between device and server, without I/O.
//!
//! A transport carries whole frames ([`frame::Frame`]); this crate says what is in them and in which
//! order they may come. It reads no socket and starts no thread, so every state is reachable in a
//! test. `SPEC.md` beside this crate is the layout for people who write another end.
//!
//! ```text
//! device                                   server
//! Hello  (version, run, pipeline) ------->
//!        <------------------------------- Welcome (next step), or Refuse (why)
//! Open   (micro-batch, its samples) ----->
//! Tap    (one layer's payload) ---------->   one for each tapped layer
//! Supervise (what to train on) ---------->
//! Step   (number, its samples) ---------->
//!        <------------------------------- Stored (steps), if the server keeps samples
//!        <------------------------------- Ack (step, loss)
//!        <------------------------------- Adapter (at the end of an epoch)
//! Finish -------------------------------->
//! ```
//!
//! A server that keeps samples (PAE MobiLLM's activation cache) is sent the first epoch and goes on alone:
//! it acknowledges the steps of later epochs without being asked for them.
//!
//! * [`frame`]: one frame to bytes and back.
//! * [`handshake`]: what both ends must agree on before the first activation.
//! * [`inbox`]: the server's half: frames in, complete samples and steps out.
//!
//! # Example
//!
//! ```
//! use mobillm_wire::frame::{Ack, Frame};
//!
//! let ack = Frame::Ack(Ack { step: 7, samples: 16, loss: 0.25, learning_rate: 1e-3, seconds: 0.01 });
//! assert_eq!(Frame::parse(ack.encode())?, ack);
//! # Ok::<(), mobillm_wire::WireError>(())
//! ```
#![forbid(unsafe_code)]

pub mod frame;
pub mod handshake;
pub mod inbox;

use mobillm_core::quantizer::QuantizeError;
use thiserror::Error;

/// The version of the wire format; both ends must have the same.
pub const VERSION: u16 = 2;

/// A frame that is not what it should be, or not when it should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are no frame of this version.
    #[error("frame: {problem}")]
    Frame {
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The other end is of another release.
    #[error(
        "the other end speaks wire version {version}, this one {VERSION}; use the same release on both"
    )]
    Version {
        /// What it speaks.
        version: u16,
    },
    /// A frame that may not come now.
    #[error("{frame} frame out of order: {problem}")]
    Order {
        /// Its kind.
        frame: &'static str,
        /// What was expected.
        problem: String,
    },
    /// A payload that is not one of this pipeline's quantizer.
    #[error("micro-batch {micro_batch}, tap {tap}: {source}")]
    Payload {
        /// The micro-batch.
        micro_batch: u32,
        /// The index of the tapped layer.
        tap: usize,
        /// What is wrong with it.
        #[source]
        source: QuantizeError,
    },
    /// The two ends do not fit together.
    #[error("{0}")]
    Handshake(handshake::Refusal),
    /// The other end gave up.
    #[error("the {end} gave up: {message}")]
    Other {
        /// "device" or "server".
        end: &'static str,
        /// Its error.
        message: String,
    },
}
