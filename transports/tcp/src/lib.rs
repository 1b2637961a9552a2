//! Length-prefixed frames over TCP on the loopback interface.
//!
//! A frame is its length as 4 bytes, little-endian, and then its bytes; nothing else crosses. Both
//! ends refuse a frame over `max_frame_bytes`, and a reader grows its buffer as bytes arrive: a
//! length that somebody merely claims allocates nothing.
//!
//! Frames are not encrypted, so only loopback addresses are taken. To reach another machine, forward
//! a local port through something that encrypts: `ssh -L 7340:127.0.0.1:7340 SERVER`.
//!
//! # Example
//!
//! ```
//! use mobillm_core::transport::{Lane, TransportConfig};
//! use mobillm_transport_tcp::TcpConfig;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // Port 0: the system chooses one, and the listener says which.
//! let transport = TcpConfig::new("127.0.0.1:0").build();
//! let mut listener = transport.listen().await?;
//! println!("listening on {}", listener.address());
//!
//! let (device, server) = tokio::join!(transport.connect(), listener.accept());
//! let (mut device, mut server) = (device?, server?);
//! device.sink.send("hello".into(), Lane::Control).await?;
//! assert_eq!(server.source.receive().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), mobillm_core::transport::TransportError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod config;
mod frames;
mod transport;

use mobillm_core::registry::{DuplicateTag, Registry};

pub use config::TcpConfig;
pub use transport::Tcp;

/// Registers the transport of this crate.
///
/// # Errors
/// If its tag is taken.
pub fn register(registry: &mut Registry) -> Result<(), DuplicateTag> {
    registry.register::<TcpConfig>(env!("CARGO_PKG_NAME"))
}
