//! Transports behind the door.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::transport::{
    Emulated, FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportConfig,
    TransportError,
};
use mobillm_testkit::transport::{Limits, conformance};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::silence::Silent;
use super::{loaded, native, panic};

/// A link to nowhere, with one fault.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MischiefConfig {
    what: String,
}

impl Plugin for MischiefConfig {
    const SLOT: Slot = Slot::Transport;
    const TAG: &'static str = "test.mischief";
}

#[typetag::serde(name = "test.mischief")]
impl TransportConfig for MischiefConfig {
    fn check(&self) -> Vec<Diagnostic> {
        match &*self.what {
            "finding" => vec![Diagnostic::new("what", "not here")],
            _ => Vec::new(),
        }
    }

    fn crosses_processes(&self) -> bool {
        match &*self.what {
            "panic in crosses_processes" => panic("from crosses_processes"),
            _ => true,
        }
    }

    fn build(&self) -> Box<dyn Transport> {
        match &*self.what {
            "panic in build" => panic("from build"),
            "silence" => Box::new(Silent::new()),
            _ => Box::new(Mischief(self.what.clone())),
        }
    }
}

#[derive(Clone)]
struct Mischief(String);

#[async_trait]
impl Transport for Mischief {
    async fn connect(&self) -> Result<Link, TransportError> {
        match &*self.0 {
            "panic in connect" => panic("from connect"),
            _ => Ok(Link { sink: Box::new(self.clone()), source: Box::new(self.clone()) }),
        }
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        match &*self.0 {
            "panic in listen" => panic("from listen"),
            _ => Ok(Box::new(self.clone())),
        }
    }

    fn overhead(&self) -> usize {
        match &*self.0 {
            "much overhead" => usize::MAX,
            _ => 3,
        }
    }

    fn emulated(&self) -> Option<Emulated> {
        let cost = Emulated { up_seconds: 0.5, down_seconds: 0.25, lost_packets: 7 };
        (self.0 == "emulated").then_some(cost)
    }
}

#[async_trait]
impl Listener for Mischief {
    fn address(&self) -> String {
        "nowhere".to_owned()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        panic("from accept")
    }
}

#[async_trait]
impl FrameSink for Mischief {
    async fn send(&mut self, _: Bytes, _: Lane) -> Result<(), TransportError> {
        match &*self.0 {
            "no system" => Err(TransportError::System("out of order".into())),
            _ => panic("from send"),
        }
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        Ok(())
    }
}

#[async_trait]
impl FrameSource for Mischief {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        match &*self.0 {
            "cut" => Err(TransportError::Cut { expected: 7, got: 5 }),
            "gone" => Err(TransportError::Closed),
            _ => panic("from receive"),
        }
    }
}

const NAME: &str = "transport `test.mischief` of mobillm-plugin 0.1.0";

pub(crate) fn mischief(what: &str) -> Box<dyn Transport> {
    let config: Box<dyn TransportConfig> = loaded("test.mischief", &json!({ "what": what }));
    config.build()
}

fn there(tag: &str, options: &Value) -> Box<dyn TransportConfig> {
    loaded(tag, options)
}

fn tcp() -> Value {
    let limit = 4 << 20;
    json!({ "address": "127.0.0.1:0", "max_frame_bytes": limit, "connect_timeout_seconds": 0.2 })
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_in_memory_keep_the_laws() {
    let make = || there("in-memory", &json!({})).build();
    conformance(make, Limits { max_frame_bytes: None }).await;
}

/// On one thread: what blocks must do so elsewhere.
#[tokio::test]
async fn sockets_keep_the_laws() {
    let make = || there("tcp", &tcp()).build();
    conformance(make, Limits { max_frame_bytes: Some(4 << 20) }).await;
}

#[tokio::test]
async fn the_two_ends_may_be_on_either_side() {
    let server = native::<Box<dyn TransportConfig>>("tcp", &tcp()).build();
    let mut listener = server.listen().await.unwrap();
    let device = there("tcp", &json!({ "address": listener.address() }));
    let mut device = soon(device.build().connect()).await.unwrap();
    let mut accepted = soon(listener.accept()).await.unwrap();
    device.sink.send("up".into(), Lane::Control).await.unwrap();
    assert_eq!(soon(accepted.source.receive()).await.unwrap().unwrap(), "up");
    accepted.sink.send("down".into(), Lane::Bulk).await.unwrap();
    assert_eq!(soon(device.source.receive()).await.unwrap().unwrap(), "down");
}

#[tokio::test]
async fn errors_are_those_of_either_side() {
    for (tag, options) in [
        ("in-memory", json!({})),
        ("tcp", json!({ "address": "0.0.0.0:0" })),
        ("tcp", json!({ "address": "127.0.0.1:0", "connect_timeout_seconds": 0.0 })),
    ] {
        let here: Box<dyn TransportConfig> = native(tag, &options);
        let there = there(tag, &options);
        assert_eq!(here.check(), there.check());
        assert_eq!(here.crosses_processes(), there.crosses_processes());
        let (here, there) = (here.build(), there.build());
        assert_eq!(here.overhead(), there.overhead());
        let error = async |transport: &dyn Transport| -> String {
            // An in-memory transport refuses who comes after its listener.
            let listening = transport.listen().await.map(drop);
            let connected = transport.connect().await.map(drop);
            format!("{listening:?}, {connected:?}")
        };
        // Ports differ, if there are any.
        let no_digits = |text: String| text.replace(|c: char| c.is_ascii_digit(), "");
        assert_eq!(no_digits(error(&*here).await), no_digits(error(&*there).await), "{tag}");
    }
}

/// A link in memory: who connected, and who accepted.
async fn link() -> (Link, Link) {
    let transport = there("in-memory", &json!({ "capacity": 1 })).build();
    let device = soon(transport.connect()).await.unwrap();
    let mut listener = soon(transport.listen()).await.unwrap();
    (device, soon(listener.accept()).await.unwrap())
}

pub(crate) const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn who_stops_to_wait_loses_no_frame() {
    let (mut device, mut server) = link().await;
    assert!(timeout(SHORT, server.source.receive()).await.is_err(), "nothing was sent yet");
    for index in 0..4_u8 {
        device.sink.send(vec![index].into(), Lane::Control).await.unwrap();
        assert_eq!(soon(server.source.receive()).await.unwrap().unwrap(), [index][..]);
    }
    // The link holds one frame: the third waits, as nobody reads.
    let mut sent = 0_u8;
    while timeout(SHORT, device.sink.send(vec![sent].into(), Lane::Control)).await.is_ok() {
        sent += 1;
    }
    for index in 0..=sent {
        assert_eq!(soon(server.source.receive()).await.unwrap().unwrap(), [index][..]);
    }
    soon(device.sink.close()).await.unwrap();
    assert_eq!(soon(server.source.receive()).await.unwrap(), None);
}

#[tokio::test]
async fn who_drops_a_link_does_not_wait() {
    let (mut device, mut server) = link().await;
    assert!(timeout(SHORT, device.source.receive()).await.is_err(), "the call is out");
    drop(device);
    assert_eq!(soon(server.source.receive()).await.unwrap(), None, "its sink is given back");
    // With the call that was out its source is given back, too.
    let refused = async { while server.sink.send("x".into(), Lane::Bulk).await.is_ok() {} };
    soon(refused).await;
}

#[test]
fn what_an_imitated_network_cost_is_told() {
    let cost = Emulated { up_seconds: 0.5, down_seconds: 0.25, lost_packets: 7 };
    assert_eq!(mischief("emulated").emulated(), Some(cost));
    assert_eq!(mischief("").emulated(), None);
}

#[tokio::test]
async fn a_listener_that_nobody_waits_for_is_gone_when_it_is_dropped() {
    let transport = there("tcp", &tcp()).build();
    for _ in 0..20 {
        let mut listener = soon(transport.listen()).await.unwrap();
        let (connected, accepted) = tokio::join!(transport.connect(), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }
}

#[tokio::test]
async fn a_panic_ends_at_the_door() {
    let said = |error: TransportError, call: &str| {
        let expected = format!("link: {NAME}: {call} panicked: from {call}; ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    };
    let transport = mischief("panic in connect");
    said(soon(transport.connect()).await.err().unwrap(), "connect");
    let later = soon(transport.listen()).await.err().unwrap().to_string();
    assert_eq!(
        later,
        format!(
            "link: {NAME}: listen was not called, because connect panicked before: from connect"
        )
    );
    said(soon(mischief("panic in listen").listen()).await.err().unwrap(), "listen");

    let transport = mischief("");
    let mut listener = soon(transport.listen()).await.unwrap();
    assert_eq!((&*listener.address(), transport.overhead()), ("nowhere", 3));
    said(soon(listener.accept()).await.err().unwrap(), "accept");
    let mut link = soon(transport.connect()).await.unwrap();
    said(soon(link.sink.send("x".into(), Lane::Bulk)).await.unwrap_err(), "send");
    said(soon(link.source.receive()).await.unwrap_err(), "receive");
    let later = soon(link.sink.close()).await.unwrap_err().to_string();
    assert!(later.contains("close was not called"), "{later}");
}

#[tokio::test]
async fn how_a_link_breaks_is_told() {
    let mut link = soon(mischief("cut").connect()).await.unwrap();
    let cut = soon(link.source.receive()).await.unwrap_err();
    assert!(matches!(cut, TransportError::Cut { expected: 7, got: 5 }), "{cut}");
    let mut link = soon(mischief("gone").connect()).await.unwrap();
    let gone = soon(link.source.receive()).await.unwrap_err().to_string();
    assert_eq!(gone, format!("link: {NAME}: receive failed: the link is closed"));
    let mut link = soon(mischief("no system").connect()).await.unwrap();
    let system = soon(link.sink.send("x".into(), Lane::Bulk)).await.unwrap_err().to_string();
    assert_eq!(system, format!("link: {NAME}: send failed: out of order"));
}

#[tokio::test]
async fn what_cannot_be_built_is_a_finding() {
    let config = |what: &str| there("test.mischief", &json!({ "what": what }));
    assert_eq!(config("finding").check(), [Diagnostic::new("what", "not here")]);
    for (what, problem) in [
        ("panic in build", "build panicked: from build"),
        ("panic in crosses_processes", "crosses_processes panicked"),
        ("much overhead", "info gave something wrong: the overhead is 18446744073709551615 bytes"),
    ] {
        let found = config(what).check();
        assert!(found[0].message.contains(problem), "{found:?}");
    }
    assert!(!config("panic in crosses_processes").crosses_processes());
    let unbuilt = config("panic in build").build();
    for error in [unbuilt.connect().await.err(), unbuilt.listen().await.map(drop).err()] {
        let error = error.unwrap().to_string();
        assert!(error.contains("build panicked: from build"), "{error}");
    }
}
