//! The options of the transport.

use std::net::SocketAddr;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::transport::{Transport, TransportConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::transport::Tcp;

/// Frames over TCP between two processes of one machine.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    /// Where the server listens, such as "127.0.0.1:7340". Only loopback addresses: frames are not
    /// encrypted. With port 0 the system chooses a port, which the server then prints.
    #[schemars(example = &"127.0.0.1:7340")]
    pub address: String,
    /// Bytes of the largest frame that is sent or taken.
    #[serde(default = "default_max_frame_bytes")]
    #[schemars(range(min = 1))]
    pub max_frame_bytes: u32,
    /// How long a device waits for the server to listen, in seconds.
    #[serde(default = "default_connect_timeout_seconds")]
    #[schemars(range(min = 0.0, max = 86400.0))]
    pub connect_timeout_seconds: f64,
}

fn default_max_frame_bytes() -> u32 {
    256 << 20
}

fn default_connect_timeout_seconds() -> f64 {
    30.0
}

impl TcpConfig {
    /// The defaults, at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            max_frame_bytes: default_max_frame_bytes(),
            connect_timeout_seconds: default_connect_timeout_seconds(),
        }
    }
}

impl Plugin for TcpConfig {
    const SLOT: Slot = Slot::Transport;
    const TAG: &'static str = "tcp";
}

#[typetag::serde(name = "tcp")]
impl TransportConfig for TcpConfig {
    fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if let Err(problem) = loopback(&self.address) {
            found.push(Diagnostic::new("address", problem));
        }
        if self.max_frame_bytes == 0 {
            let message = "0 bytes are no frame";
            found.push(Diagnostic::new("max_frame_bytes", message).expected("1 or more"));
        }
        if !(0.0..=86400.0).contains(&self.connect_timeout_seconds) {
            let message = format!("{} is no time to wait", self.connect_timeout_seconds);
            let expected = "0 to 86400 seconds";
            found.push(Diagnostic::new("connect_timeout_seconds", message).expected(expected));
        }
        found
    }

    fn crosses_processes(&self) -> bool {
        true
    }

    fn build(&self) -> Box<dyn Transport> {
        Box::new(Tcp::new(self.clone()))
    }
}

/// The address that `text` is, if it is one of this machine alone.
pub(crate) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("`{text}` is no address; expected an IP address and a port, such as 127.0.0.1:7340")
    })?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} can be reached from other machines, and frames are not encrypted; use \
             127.0.0.1, and a tunnel such as `ssh -L` to another machine"
        ));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(config: &TcpConfig) -> Vec<String> {
        config.check().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loopback_addresses_are_taken() {
        for address in ["127.0.0.1:0", "127.8.0.1:7340", "[::1]:7340"] {
            assert_eq!(findings(&TcpConfig::new(address)), [""; 0]);
        }
    }

    #[test]
    fn addresses_that_others_reach_are_refused_with_the_reason() {
        for address in ["0.0.0.0:7340", "192.0.2.1:7340", "[::]:7340"] {
            let finding = findings(&TcpConfig::new(address)).remove(0);
            assert!(finding.contains("frames are not encrypted"), "{finding}");
        }
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let mut config = TcpConfig::new("localhost");
        config.max_frame_bytes = 0;
        config.connect_timeout_seconds = f64::NAN;
        let expected = [
            "address: `localhost` is no address; expected an IP address and a port, such as \
             127.0.0.1:7340",
            "max_frame_bytes: 0 bytes are no frame; expected 1 or more",
            "connect_timeout_seconds: NaN is no time to wait; expected 0 to 86400 seconds",
        ];
        assert_eq!(findings(&config), expected);
    }

    #[test]
    fn only_the_address_must_be_given() {
        let config = serde_json::from_str::<Box<dyn TransportConfig>>;
        assert!(
            config(r#"{ "type": "tcp", "address": "127.0.0.1:1" }"#).unwrap().crosses_processes()
        );
        assert!(config(r#"{ "type": "tcp" }"#).unwrap_err().to_string().contains("address"));
    }
}
