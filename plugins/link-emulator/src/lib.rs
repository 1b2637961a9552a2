//! A transport that imitates a slow, far or lossy network around another transport.
//!
//! Frames are really held back, so whatever runs over this link really waits:
//!
//! ```text
//! send ─▶ interface: bytes x 8 / bandwidth ─▶ delay line: latency + jitter ─▶ inner transport
//!         lost packets are sent again         each round of loss: + 2 x latency
//! ```
//!
//! - **Bandwidth.** A frame occupies the interface for its bytes on the wire (the frame and what the
//!   inner transport adds to it), and `send` returns when it has left: a sender is held back at the
//!   link's rate. An idle interface saves nothing up.
//! - **Latency and jitter.** A frame arrives `latency_ms` after it has left, plus a uniform draw from
//!   0 to `jitter_ms`; frames in a row are under way together. None overtakes another, on no lane.
//!   At most 2 s and 1 s: a link that closes has 5 s in which what is under way must arrive, and one
//!   that opens 30 s for its handshake. Loss comes on top, and is not bounded.
//! - **Loss.** A frame is packets of 1,500 bytes, each lost with probability `loss`. What is lost is
//!   sent again at once, as by a fast retransmit, until it arrives: that costs the interface its
//!   bytes again, and the frame one round trip for each round of loss. The frames behind it wait.
//! - **Memory.** What is under way is bounded by bandwidth x time under way, or by 64 frames where
//!   the bandwidth has no limit. A sender that is further ahead waits.
//!
//! The end that connects, the device, imitates the whole network, both ways; `listen` is the inner
//! transport's own. So one seed draws all fates, one clock times them, and the end that reports both
//! figures knows them; and a server in another process may have the same config, or only the inner
//! transport's. The draws depend on the seed, the connection and the direction alone: equal frames
//! see equal fates.
//!
//! [`Transport::emulated`](mobillm_core::transport::Transport::emulated) says in how many seconds
//! something was held back, so that reports can tell imitated waiting from real work. Timers are
//! exact to a millisecond; what they are late is made up for and does not lower the bandwidth. Not
//! imitated: connecting, the end of a link, and the congestion control of TCP.
//!
//! # Example
//!
//! A phone's uplink to a server in another process:
//!
//! ```
//! # use mobillm_core::transport::TransportConfig;
//! let toml = r#"
//!     type = "link-emulator"
//!     up_mbit_per_s = 20.0
//!     down_mbit_per_s = 50.0
//!     latency_ms = 25.0
//!     jitter_ms = 5.0
//!     loss = 0.001
//!     seed = 1
//!     inner = { type = "tcp", address = "127.0.0.1:7340" }
//! "#;
//! # mobillm_transport_tcp::register(&mut mobillm_core::registry::Registry::new())?;
//! let config: Box<dyn TransportConfig> = toml::from_str(toml)?;
//! assert!(config.check().is_empty() && config.crosses_processes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Within one process the inner transport is the default, `in-memory`:
//!
//! ```
//! use mobillm_core::transport::{Lane, TransportConfig};
//! use mobillm_link_emulator::LinkEmulatorConfig;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let transport = LinkEmulatorConfig { latency_ms: 2.0, ..Default::default() }.build();
//! let mut device = transport.connect().await?;
//! let mut server = transport.listen().await?.accept().await?;
//! device.sink.send("hello".into(), Lane::Control).await?;
//! assert_eq!(server.source.receive().await?.as_deref(), Some(&b"hello"[..]));
//!
//! let emulated = transport.emulated().unwrap_or_default();
//! assert!((emulated.up_seconds - 0.002).abs() < 1e-6 && emulated.down_seconds == 0.0);
//! # Ok::<(), mobillm_core::transport::TransportError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod config;
mod delay_line;
mod interface;
mod link;
mod meter;
mod schedule;
mod transport;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use config::LinkEmulatorConfig;
pub use transport::LinkEmulator;

/// Registers the transport of this crate.
///
/// # Errors
/// If its tag is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<LinkEmulatorConfig>(env!("CARGO_PKG_NAME"))
}
