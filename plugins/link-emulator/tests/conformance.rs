//! The laws of the slot, over several networks and both transports.

use mobillm_core::transport::TransportConfig;
use mobillm_link_emulator::LinkEmulatorConfig;
use mobillm_testkit::transport::{Limits, conformance};
use mobillm_transport_tcp::TcpConfig;

const UNLIMITED: Limits = Limits { max_frame_bytes: None };

async fn conforms(config: LinkEmulatorConfig) {
    conformance(|| config.build(), UNLIMITED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_takes_no_time_conforms() {
    conforms(LinkEmulatorConfig::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_far_network_conforms() {
    let config = LinkEmulatorConfig { latency_ms: 120.0, jitter_ms: 80.0, ..Default::default() };
    conforms(config).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_network_conforms() {
    let (up_mbit_per_s, down_mbit_per_s) = (Some(50.0), Some(20.0));
    conforms(LinkEmulatorConfig { up_mbit_per_s, down_mbit_per_s, ..Default::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_network_with_everything_conforms() {
    let config = LinkEmulatorConfig {
        up_mbit_per_s: Some(100.0),
        down_mbit_per_s: Some(300.0),
        latency_ms: 20.0,
        jitter_ms: 5.0,
        loss: 0.02,
        seed: 5,
        ..Default::default()
    };
    conforms(config).await;
}

/// On the real clock, because the paused one does not wait for sockets; so the network is fast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_over_tcp_conform() {
    let over_tcp = || Box::new(TcpConfig::new("127.0.0.1:0"));
    conforms(LinkEmulatorConfig { inner: over_tcp(), ..Default::default() }).await;
    let config = LinkEmulatorConfig {
        inner: over_tcp(),
        up_mbit_per_s: Some(4000.0),
        down_mbit_per_s: Some(2000.0),
        latency_ms: 2.0,
        jitter_ms: 1.0,
        loss: 0.001,
        seed: 6,
    };
    conforms(config).await;
}
