//! Connecting and listening.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mobillm_core::transport::{Link, Listener, Transport, TransportError};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::config::{TcpConfig, loopback};
use crate::frames::{PREFIX_BYTES, TcpSink, TcpSource};

/// How long a device waits before it tries again.
const RETRY: Duration = Duration::from_millis(50);

/// Makes links over TCP.
pub struct Tcp {
    config: TcpConfig,
    /// The port that this instance last listened on, so that port 0 can be connected to as well.
    bound: AtomicU16,
}

impl Tcp {
    pub(crate) fn new(config: TcpConfig) -> Self {
        Self { config, bound: AtomicU16::new(0) }
    }

    fn error(&self, action: &'static str, problem: impl Into<String>) -> TransportError {
        let (address, problem) = (self.config.address.clone(), problem.into());
        TransportError::Address { action, address, problem }
    }

    /// Where to connect to.
    fn remote(&self) -> Result<SocketAddr, TransportError> {
        const CONNECT: &str = "connect to";
        let mut address =
            loopback(&self.config.address).map_err(|problem| self.error(CONNECT, problem))?;
        if address.port() == 0 {
            address.set_port(self.bound.load(Ordering::SeqCst));
        }
        if address.port() == 0 {
            let problem = "the system chooses port 0's number when a server listens; give the one \
                           that the server printed";
            return Err(self.error(CONNECT, problem));
        }
        Ok(address)
    }

    fn link(&self, stream: TcpStream) -> Result<Link, TransportError> {
        link(stream, self.config.max_frame_bytes)
    }
}

fn link(stream: TcpStream, limit: u32) -> Result<Link, TransportError> {
    // A step's last frame must not wait for one more to fill a packet.
    stream.set_nodelay(true).map_err(|error| TransportError::System(Box::new(error)))?;
    let (read, write) = stream.into_split();
    Ok(Link {
        sink: Box::new(TcpSink::new(write, limit)),
        source: Box::new(TcpSource::new(read, limit)),
    })
}

/// Connects once. On the loopback interface a port that nobody listens on may connect to itself,
/// when the system happens to choose it for our end; that is nobody answering.
async fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[async_trait]
impl Transport for Tcp {
    async fn connect(&self) -> Result<Link, TransportError> {
        let address = self.remote()?;
        let seconds = self.config.connect_timeout_seconds;
        let patience = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let deadline = Instant::now() + patience;
        loop {
            match try_connect(address).await {
                Ok(stream) => return self.link(stream),
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                    return Err(self.error("connect to", error.to_string()));
                }
                Err(_) if Instant::now() >= deadline => {
                    let problem = format!(
                        "nobody answered for {seconds} seconds; start `mobillm server` first, or \
                         raise `connect_timeout_seconds`"
                    );
                    return Err(self.error("connect to", problem));
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        const LISTEN: &str = "listen on";
        let problem = |problem: String| self.error(LISTEN, problem);
        let mut address = loopback(&self.config.address).map_err(problem)?;
        if address.port() == 0 {
            // Again the same port: who knows it from the first time finds it.
            address.set_port(self.bound.load(Ordering::SeqCst));
        }
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                problem("another program listens there; stop it, or choose another port".to_owned())
            }
            _ => problem(error.to_string()),
        })?;
        let address = listener.local_addr().map_err(|error| problem(error.to_string()))?;
        self.bound.store(address.port(), Ordering::SeqCst);
        let limit = self.config.max_frame_bytes;
        Ok(Box::new(TcpListening { listener, address, limit }))
    }

    fn overhead(&self) -> usize {
        PREFIX_BYTES
    }
}

/// Takes the links that others connected.
struct TcpListening {
    listener: TcpListener,
    address: SocketAddr,
    limit: u32,
}

#[async_trait]
impl Listener for TcpListening {
    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        let (stream, _) = self
            .listener
            .accept()
            .await
            .map_err(|error| TransportError::System(Box::new(error)))?;
        link(stream, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use mobillm_core::transport::{Lane, TransportConfig};

    use super::*;

    fn config(address: &str) -> TcpConfig {
        TcpConfig { connect_timeout_seconds: 0.2, ..TcpConfig::new(address) }
    }

    async fn connect_error(address: &str) -> String {
        config(address).build().connect().await.err().unwrap().to_string()
    }

    const LIMIT: u32 = 4 << 20;

    mobillm_testkit::transport_conformance!(
        conformance,
        || TcpConfig { max_frame_bytes: LIMIT, ..config("127.0.0.1:0") }.build(),
        mobillm_testkit::transport::Limits { max_frame_bytes: Some(LIMIT as usize) },
    );

    #[tokio::test]
    async fn a_device_waits_for_its_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let device = TcpConfig::new(&address).build();
        let server = config(&address).build();
        let late = async {
            sleep(Duration::from_millis(200)).await;
            let mut listener = server.listen().await.unwrap();
            assert_eq!(listener.address(), address);
            listener.accept().await.unwrap()
        };
        let (device, mut server) = tokio::join!(device.connect(), late);
        device.unwrap().sink.send("hello".into(), Lane::Control).await.unwrap();
        assert_eq!(server.source.receive().await.unwrap().unwrap(), "hello");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = connect_error(&address).await;
        assert!(
            error.contains("nobody answered for 0.2 seconds; start `mobillm server`"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn addresses_that_cannot_be_used_are_refused() {
        assert!(connect_error("127.0.0.1:0").await.contains("the server printed"));
        assert!(connect_error("192.0.2.1:80").await.contains("frames are not encrypted"));
        let error = config("0.0.0.0:0").build().listen().await.err().unwrap().to_string();
        assert!(error.starts_with("cannot listen on 0.0.0.0:0: "), "{error}");
        assert!(error.contains("frames are not encrypted"), "{error}");
    }

    #[test]
    fn a_prefix_is_what_it_adds() {
        assert_eq!(config("127.0.0.1:0").build().overhead(), 4);
    }
}
