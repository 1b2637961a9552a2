//! PAE MobiLLM on the toy task, with device and server as processes.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::setup::{Running, Setup, assert_tidy, failed, succeeded};

const PAE: &str = r#"
schema = 1
extends = "toy.toml"
[device]
selector = { type = "loss-tokens" }
privacy = { type = "prediction-difference" }
[link]
ahead = 1
[server]
store = { type = "disk" }
side_network = { type = "candle", architecture = { type = "additive-adapter", rank = 8 } }
[training]
epochs = 24
"#;

/// Rows that are trained on, and those of a window of three steps.
pub const ROWS: u64 = 48;
pub const WINDOW: u64 = 12;

/// The toy task as a PAE MobiLLM in `pae.toml`.
pub struct Pae {
    pub setup: Setup,
}

impl Pae {
    pub fn new() -> Self {
        let setup = Setup::new();
        setup.write("pae.toml", PAE);
        Self { setup }
    }

    /// A server in `server`, and the transport that reaches it.
    pub fn serve(&self, more: &[&str]) -> (Running, String) {
        let mut server = Running::start(self.setup.command(&server_arguments(more)));
        let transport = reached(&mut server);
        (server, transport)
    }

    pub fn device(&self, transport: &str, more: &[&str]) -> Running {
        Running::start(self.setup.command(&device_arguments(transport, more)))
    }

    /// A device whose every message takes a tenth of a second: as it is never more than a step ahead, an
    /// epoch takes some messages there and back.
    pub fn slow_device(&self, transport: &str) -> Running {
        let inner = transport.trim_start_matches("link.transport=");
        let slow =
            format!("link.transport={{type=\"link-emulator\", latency_ms=100.0, inner={inner}}}");
        self.device(&slow, &[])
    }

    /// Samples that the index of the store lists, whoever writes it at the moment: after its header,
    /// which tells the length of a JSON in it, 12 bytes each.
    pub fn stored(&self) -> u64 {
        let index = fs::read(self.setup.path("server/store/index")).unwrap_or_default();
        let Some(length) = index.get(12..16) else { return 0 };
        let header = 20 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        (index.len().saturating_sub(header) / 12) as u64
    }

    /// What the device has noted of its run.
    pub fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.setup.path("device/state.json")).unwrap()).unwrap()
    }

    pub fn samples(&self) -> PathBuf {
        self.setup.path("server/store/samples")
    }

    /// Both ends go on and come to the end of an undisturbed run. Returns how many rows went forward
    /// for that, training rows only.
    pub fn goes_on(&self) -> u64 {
        let before = forwarded(&self.state());
        let (server, transport) = self.serve(&[]);
        let device = self.device(&transport, &[]).end();
        forwarded(&self.finished(&device, &server.end())) - before
    }

    /// Both ends have finished, with the adapter of an undisturbed run. Returns the summary.
    #[track_caller]
    pub fn finished(&self, device: &Output, server: &Output) -> Value {
        let summary: Value = serde_json::from_str(&succeeded(device)).unwrap();
        succeeded(server);
        let setup = &self.setup;
        if !setup.path("whole").exists() {
            setup.succeeds(&["run", "pae.toml", "--out", "whole"]);
        }
        assert!(setup.adapter("device") == setup.adapter("whole"), "the adapters differ");
        assert_tidy(&setup.path("device"));
        assert_tidy(&setup.path("server"));
        summary
    }

    /// Lets the device leave a server that is stopped as soon as it has trained every epoch.
    pub fn trained_alone(&self) {
        let (mut server, transport) = self.serve(&[]);
        succeeded(&self.device(&transport, &["--leave"]).end());
        server.wait_for("every epoch is trained");
        server.signal("INT");
        failed(130, &server.end());
    }
}

pub fn server_arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let any = "link.transport={type=\"tcp\", address=\"127.0.0.1:0\"}";
    [&["server", "pae.toml", "--out", "server", "--set", any], more].concat()
}

pub fn device_arguments<'a>(transport: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let device = ["device", "pae.toml", "--out", "device", "--json", "--set", transport];
    [&device, more].concat()
}

/// The transport that reaches a server, once it says where it listens.
pub fn reached(server: &mut Running) -> String {
    let line = server.wait_for("listening on ");
    let address = line.trim_start_matches("listening on ");
    format!("link.transport={{type=\"tcp\", address=\"{address}\"}}")
}

/// Training rows that went forward, from a summary or a state.
pub fn forwarded(of: &Value) -> u64 {
    of["device"]["samples_forwarded"].as_u64().unwrap()
}

/// Rows that have to be sent again when `stored` are stored: those of windows that are not whole.
pub fn missing(stored: u64) -> u64 {
    ROWS - stored / WINDOW * WINDOW
}
