//! Puts an imitated network around the links of another transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mobillm_core::registry::Plugin;
use mobillm_core::transport::{Emulated, Link, Listener, Transport, TransportError};
use tokio::time::Instant;

use crate::config::LinkEmulatorConfig;
use crate::delay_line::Capacity;
use crate::interface::Interface;
use crate::link::{EmulatedSink, EmulatedSource, Way};
use crate::meter::Meter;
use crate::schedule::{Conditions, Schedule};

/// Another transport, as if over a worse network.
pub struct LinkEmulator {
    inner: Box<dyn Transport>,
    /// Why nobody can connect.
    problem: Option<String>,
    seed: u64,
    /// What all times count from.
    start: Instant,
    up: Direction,
    down: Direction,
    connections: AtomicU64,
}

/// One direction of all connections.
struct Direction {
    conditions: Conditions,
    meter: Arc<Meter>,
}

impl LinkEmulator {
    pub(crate) fn new(config: &LinkEmulatorConfig) -> Self {
        let [up, down] =
            config.conditions().map(|conditions| Direction { conditions, meter: Arc::default() });
        Self {
            inner: config.inner.build(),
            problem: config.check_network().first().map(ToString::to_string),
            seed: config.seed,
            start: Instant::now(),
            up,
            down,
            connections: AtomicU64::new(0),
        }
    }

    /// A direction of one connection, with the random numbers of `stream`.
    fn way(&self, direction: &Direction, stream: u64) -> Way {
        let schedule = Schedule::new(direction.conditions, self.seed, stream);
        Way {
            interface: Interface::new(schedule, self.start, Arc::clone(&direction.meter)),
            capacity: Capacity::of(&direction.conditions),
            overhead: self.overhead() as u64,
        }
    }
}

#[async_trait]
impl Transport for LinkEmulator {
    async fn connect(&self) -> Result<Link, TransportError> {
        if let Some(problem) = self.problem.clone() {
            let (action, address) = ("connect to", LinkEmulatorConfig::TAG.to_owned());
            return Err(TransportError::Address { action, address, problem });
        }
        let Link { sink, source } = self.inner.connect().await?;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let up = self.way(&self.up, 2 * connection);
        let down = self.way(&self.down, 2 * connection + 1);
        Ok(Link {
            sink: Box::new(EmulatedSink::new(sink, up)),
            source: Box::new(EmulatedSource::new(source, down)),
        })
    }

    /// The inner transport's own: the end that connects imitates both directions.
    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        self.inner.listen().await
    }

    fn overhead(&self) -> usize {
        self.inner.overhead()
    }

    /// Frames of a link that was dropped count as if they had arrived.
    fn emulated(&self) -> Option<Emulated> {
        let now = self.start.elapsed();
        Some(Emulated {
            up_seconds: self.up.meter.seconds(now),
            down_seconds: self.down.meter.seconds(now),
            lost_packets: self.up.meter.lost_packets() + self.down.meter.lost_packets(),
        })
    }
}
