//! The options of the transport.

use std::ops::RangeInclusive;
use std::time::Duration;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::transport::{Transport, TransportConfig};
use mobillm_transport_in_memory::InMemoryConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schedule::Conditions;
use crate::transport::LinkEmulator;

/// Another transport, as if over a slow, far or lossy network. Frames are really held back; the end
/// that connects does it, for both directions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinkEmulatorConfig {
    /// The transport that carries the frames.
    #[schemars(schema_with = "inner_schema")]
    pub inner: Box<dyn TransportConfig>,
    /// Bandwidth from device to server, in 10^6 bits per second; without it there is no limit.
    #[schemars(range(min = 0.001, max = 1_000_000.0))]
    pub up_mbit_per_s: Option<f64>,
    /// Bandwidth from server to device, in 10^6 bits per second; without it there is no limit.
    #[schemars(range(min = 0.001, max = 1_000_000.0))]
    pub down_mbit_per_s: Option<f64>,
    /// From when a frame has left one end to when it is at the other, in milliseconds; half a round
    /// trip. At most 2,000: what is under way when a link closes has 5 seconds to arrive.
    #[schemars(range(min = 0.0, max = 2_000.0))]
    pub latency_ms: f64,
    /// The most that is added to the latency of a frame, in milliseconds; all values up to it are
    /// equally likely. Frames keep their order. At most 1,000, for the same reason.
    #[schemars(range(min = 0.0, max = 1_000.0))]
    pub jitter_ms: f64,
    /// Probability that a packet of 1,500 bytes is lost, and sent again.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub loss: f64,
    /// Draws jitter and loss: equal frames under an equal seed see equal fates.
    pub seed: u64,
}

impl Default for LinkEmulatorConfig {
    /// A network that takes no time, within one process.
    fn default() -> Self {
        Self {
            inner: Box::new(InMemoryConfig::default()),
            up_mbit_per_s: None,
            down_mbit_per_s: None,
            latency_ms: 0.0,
            jitter_ms: 0.0,
            loss: 0.0,
            seed: 0,
        }
    }
}

fn inner_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-mobillm-slot": "transport",
        "default": { "type": "in-memory" },
    })
}

impl Plugin for LinkEmulatorConfig {
    const SLOT: Slot = Slot::Transport;
    const TAG: &'static str = "link-emulator";
}

const MBIT_PER_S: RangeInclusive<f64> = 0.001..=1_000_000.0;
/// Together 3 s, of the 5 s that the runtime gives what is under way when a link closes; there and back
/// 6 s, of the 30 s that it gives a handshake. A slower network would lose last words, not delay them.
const LATENCY_MS: RangeInclusive<f64> = 0.0..=2_000.0;
const JITTER_MS: RangeInclusive<f64> = 0.0..=1_000.0;
const LOSS: RangeInclusive<f64> = 0.0..=0.5;

impl LinkEmulatorConfig {
    /// What is wrong with the imitated network, whatever carries it.
    pub(crate) fn check_network(&self) -> Vec<Diagnostic> {
        let bandwidth = "0.001 to 1000000 Mbit/s, or nothing where there is no limit";
        let options = [
            ("up_mbit_per_s", self.up_mbit_per_s, MBIT_PER_S, "bandwidth", bandwidth),
            ("down_mbit_per_s", self.down_mbit_per_s, MBIT_PER_S, "bandwidth", bandwidth),
            ("latency_ms", Some(self.latency_ms), LATENCY_MS, "latency", "0 to 2000 ms"),
            ("jitter_ms", Some(self.jitter_ms), JITTER_MS, "jitter", "0 to 1000 ms"),
            ("loss", Some(self.loss), LOSS, "probability", "0 to 0.5"),
        ];
        let mut found = Vec::new();
        for (key, value, range, what, expected) in options {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                let message = format!("{value} is no {what} that can be imitated");
                found.push(Diagnostic::new(key, message).expected(expected));
            }
        }
        found
    }

    /// The network from device to server, and back.
    pub(crate) fn conditions(&self) -> [Conditions; 2] {
        let ms = |ms: f64| Duration::from_nanos((ms * 1e6).round() as u64);
        [self.up_mbit_per_s, self.down_mbit_per_s].map(|mbit_per_s| Conditions {
            mbit_per_s,
            latency: ms(self.latency_ms),
            jitter: ms(self.jitter_ms),
            loss: self.loss,
        })
    }
}

#[typetag::serde(name = "link-emulator")]
impl TransportConfig for LinkEmulatorConfig {
    fn check(&self) -> Vec<Diagnostic> {
        let mut found = self.check_network();
        if self.inner.typetag_name() == Self::TAG {
            let message = "a link-emulator within a link-emulator would hide its seconds";
            let help = "put both networks into one: add latencies, take the smaller bandwidth";
            found.push(Diagnostic::new("inner", message).help(help));
        }
        found.extend(self.inner.check().into_iter().map(|finding| finding.under("inner")));
        found
    }

    fn crosses_processes(&self) -> bool {
        self.inner.crosses_processes()
    }

    fn build(&self) -> Box<dyn Transport> {
        Box::new(LinkEmulator::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Box<dyn TransportConfig> {
        serde_json::from_str(json).unwrap()
    }

    fn findings(config: &dyn TransportConfig) -> Vec<String> {
        config.check().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let config = LinkEmulatorConfig {
            inner: Box::new(mobillm_transport_tcp::TcpConfig::new("192.0.2.1:80")),
            up_mbit_per_s: Some(0.0),
            down_mbit_per_s: Some(f64::INFINITY),
            latency_ms: -1.0,
            jitter_ms: f64::NAN,
            loss: 0.6,
            seed: 0,
        };
        let expected = [
            "up_mbit_per_s: 0 is no bandwidth that can be imitated; expected 0.001 to 1000000 \
             Mbit/s, or nothing where there is no limit",
            "down_mbit_per_s: inf is no bandwidth that can be imitated; expected 0.001 to 1000000 \
             Mbit/s, or nothing where there is no limit",
            "latency_ms: -1 is no latency that can be imitated; expected 0 to 2000 ms",
            "jitter_ms: NaN is no jitter that can be imitated; expected 0 to 1000 ms",
            "loss: 0.6 is no probability that can be imitated; expected 0 to 0.5",
        ];
        let findings = findings(&config);
        assert_eq!(findings[..5], expected);
        assert!(findings[5].starts_with("inner.address: 192.0.2.1:80 can be"), "{}", findings[5]);
        assert_eq!(findings.len(), 6);
    }

    #[test]
    fn what_is_possible_is_taken() {
        for json in [
            r#"{ "type": "link-emulator" }"#,
            r#"{ "type": "link-emulator", "up_mbit_per_s": 0.001, "down_mbit_per_s": 1000000,
                 "latency_ms": 2000, "jitter_ms": 1000, "loss": 0.5, "seed": 1 }"#,
        ] {
            assert_eq!(findings(config(json).as_ref()), [""; 0]);
        }
    }

    #[test]
    fn what_takes_longer_than_a_link_may_take_to_close_is_not() {
        let (latency_ms, jitter_ms) = (2000.5, 1000.5);
        let config = LinkEmulatorConfig { latency_ms, jitter_ms, ..Default::default() };
        let keys: Vec<_> = config.check().into_iter().map(|finding| finding.path).collect();
        assert_eq!(keys, ["latency_ms", "jitter_ms"]);
        let schema = schemars::schema_for!(LinkEmulatorConfig);
        let maximum = |key| schema.pointer(&format!("/properties/{key}/maximum"));
        let of = |range: &RangeInclusive<f64>| serde_json::Value::from(*range.end());
        assert_eq!(maximum("latency_ms"), Some(&of(&LATENCY_MS)));
        assert_eq!(maximum("jitter_ms"), Some(&of(&JITTER_MS)));
    }

    #[test]
    fn it_reaches_as_far_as_its_inner_transport() {
        let over =
            |inner: &str| config(&format!(r#"{{ "type": "link-emulator", "inner": {inner} }}"#));
        assert!(!config(r#"{ "type": "link-emulator" }"#).crosses_processes());
        assert!(over(r#"{ "type": "tcp", "address": "127.0.0.1:1" }"#).crosses_processes());
        assert_eq!(over(r#"{ "type": "tcp", "address": "127.0.0.1:1" }"#).build().overhead(), 4);
        let twice = findings(over(r#"{ "type": "link-emulator", "loss": 1 }"#).as_ref());
        assert!(twice[0].starts_with("inner: a link-emulator within"), "{}", twice[0]);
        assert!(twice[1].starts_with("inner.loss: 1 is no probability"), "{}", twice[1]);
    }

    #[test]
    fn a_config_survives_its_own_json() {
        let before = config(r#"{ "type": "link-emulator", "up_mbit_per_s": 20, "seed": 7 }"#);
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(format!("{:?}", config(&json)), format!("{before:?}"));
        assert!(json.contains(r#""inner":{"type":"in-memory""#), "{json}");
    }
}
