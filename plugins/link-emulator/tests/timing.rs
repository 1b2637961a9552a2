//! What a link does in time, to the millisecond: on a paused clock, which jumps to the next timer.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use mobillm_core::transport::{
    Emulated, FrameSink, FrameSource, Lane, Link, Transport, TransportConfig, TransportError,
};
use mobillm_link_emulator::LinkEmulatorConfig;
use mobillm_transport_in_memory::InMemoryConfig;
use mobillm_transport_tcp::TcpConfig;
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);

/// At 20 Mbit/s, this takes 1 ms.
const ONE_MS: usize = 2500;

/// 20 Mbit/s both ways, 50 ms.
fn network() -> LinkEmulatorConfig {
    LinkEmulatorConfig {
        up_mbit_per_s: Some(20.0),
        down_mbit_per_s: Some(20.0),
        latency_ms: 50.0,
        ..Default::default()
    }
}

fn frame(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

/// The end that connected and the end that accepted.
async fn join(transport: &dyn Transport) -> (Link, Link) {
    let mut listener = transport.listen().await.unwrap();
    let (device, server) = tokio::join!(transport.connect(), listener.accept());
    (device.unwrap(), server.unwrap())
}

/// Sends frames of these bytes; when each was let go, since `start`.
async fn send(sink: &mut dyn FrameSink, start: Instant, all: &[usize]) -> Vec<Duration> {
    let mut sent = Vec::new();
    for bytes in all {
        sink.send(frame(*bytes), Lane::Bulk).await.unwrap();
        sent.push(start.elapsed());
    }
    sent
}

/// When each of `count` frames came, since `start`.
async fn receive(source: &mut dyn FrameSource, start: Instant, count: usize) -> Vec<Duration> {
    let mut came = Vec::new();
    for _ in 0..count {
        source.receive().await.unwrap().unwrap();
        came.push(start.elapsed());
    }
    came
}

/// When frames that are sent in a row come.
async fn transfer(
    sink: &mut dyn FrameSink,
    source: &mut dyn FrameSource,
    all: &[usize],
) -> Vec<Duration> {
    let start = Instant::now();
    tokio::join!(send(sink, start, all), receive(source, start, all.len())).1
}

fn assert_emulated(transport: &dyn Transport, up_ms: u32, down_ms: u32) {
    let Emulated { up_seconds, down_seconds, .. } = transport.emulated().unwrap();
    let expected = [up_ms, down_ms].map(|ms| f64::from(ms) / 1000.0);
    let off = [up_seconds - expected[0], down_seconds - expected[1]];
    assert!(off.iter().all(|off| off.abs() < 1e-9), "{up_seconds}, {down_seconds}: {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_held_back_at_the_bandwidth_and_no_longer() {
    let transport = network().build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    let start = Instant::now();
    let all = [ONE_MS, 10 * ONE_MS, 0, 2 * ONE_MS];
    let (sent, came) = tokio::join!(
        send(device.sink.as_mut(), start, &all),
        receive(server.source.as_mut(), start, 4),
    );
    assert_eq!(sent, [MS, 11 * MS, 11 * MS, 13 * MS]);
    assert_eq!(came, [51 * MS, 61 * MS, 61 * MS, 63 * MS]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_pays_the_latency_once_each_way() {
    let transport = network().build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    let up = transfer(device.sink.as_mut(), server.source.as_mut(), &[ONE_MS; 200]).await;
    assert_eq!(up, (51..=250).map(|ms| ms * MS).collect::<Vec<_>>());
    let down = transfer(server.sink.as_mut(), device.source.as_mut(), &[5 * ONE_MS; 30]).await;
    assert_eq!(down, (1..=30).map(|frame| (50 + 5 * frame) * MS).collect::<Vec<_>>());
    assert_emulated(transport.as_ref(), 250, 200);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_ready_late_has_no_credit_for_the_pause() {
    let transport = network().build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    transfer(device.sink.as_mut(), server.source.as_mut(), &[ONE_MS]).await;
    sleep(Duration::from_secs(60)).await;
    let came = transfer(device.sink.as_mut(), server.source.as_mut(), &[ONE_MS; 3]).await;
    assert_eq!(came, [51 * MS, 52 * MS, 53 * MS]);
    assert_emulated(transport.as_ref(), 51 + 53, 0);
}

#[tokio::test(start_paused = true)]
async fn bandwidths_may_differ_and_have_no_limit() {
    let config = LinkEmulatorConfig { up_mbit_per_s: None, ..network() };
    let transport = config.build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    let up = transfer(device.sink.as_mut(), server.source.as_mut(), &[1 << 24; 50]).await;
    assert_eq!(up, [50 * MS; 50]);
    let down = transfer(server.sink.as_mut(), device.source.as_mut(), &[10 * ONE_MS]).await;
    assert_eq!(down, [60 * MS]);
}

#[tokio::test(start_paused = true)]
async fn the_inner_overhead_is_on_the_wire() {
    let inner = Box::new(TcpConfig::new("127.0.0.1:0"));
    let transport = LinkEmulatorConfig { inner, ..network() }.build();
    let (mut device, _server) = join(transport.as_ref()).await;
    let start = Instant::now();
    assert_eq!(transport.overhead(), 4);
    // 5 bytes each.
    let sent = send(device.sink.as_mut(), start, &[1; 1000]).await;
    assert_eq!(sent.last(), Some(&(2 * MS)));
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_is_under_way() {
    let transport = network().build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    let start = Instant::now();
    send(device.sink.as_mut(), start, &[ONE_MS; 3]).await;
    assert_eq!(start.elapsed(), 3 * MS);
    device.sink.close().await.unwrap();
    assert_eq!(start.elapsed(), 53 * MS);
    assert_eq!(receive(server.source.as_mut(), start, 3).await, [53 * MS; 3]);
    assert_eq!(server.source.receive().await.unwrap(), None);
}

/// The runtime waits for 5 seconds, then cuts off what is still under way.
#[tokio::test(start_paused = true)]
async fn the_farthest_network_closes_in_time() {
    let config = LinkEmulatorConfig { latency_ms: 2000.0, jitter_ms: 1000.0, ..network() };
    assert!(config.check().is_empty());
    let transport = config.build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    send(device.sink.as_mut(), Instant::now(), &[ONE_MS; 50]).await;
    let closed = timeout(Duration::from_secs(5), device.sink.close());
    let received = receive(server.source.as_mut(), Instant::now(), 50);
    let (closed, received) = tokio::join!(closed, received);
    closed.unwrap().unwrap();
    assert_eq!(received.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn emulated_seconds_are_a_union_and_grow_as_time_passes() {
    let transport = network().build();
    let (mut one, mut one_end) = join(transport.as_ref()).await;
    let (mut two, mut two_end) = join(transport.as_ref()).await;
    assert_emulated(transport.as_ref(), 0, 0);
    let both = async {
        tokio::join!(
            transfer(one.sink.as_mut(), one_end.source.as_mut(), &[10 * ONE_MS; 4]),
            transfer(two.sink.as_mut(), two_end.source.as_mut(), &[30 * ONE_MS; 2]),
        )
    };
    let midway = async {
        sleep(25 * MS).await;
        assert_emulated(transport.as_ref(), 25, 0);
    };
    tokio::join!(both, midway);
    // From 0 to 90 ms and from 0 to 110 ms.
    assert_emulated(transport.as_ref(), 110, 0);
    sleep(Duration::from_secs(1)).await;
    assert_emulated(transport.as_ref(), 110, 0);
}

/// When frames come and what was lost, under this seed.
async fn fates(seed: u64) -> (Vec<Duration>, Vec<Duration>, Emulated) {
    let config = LinkEmulatorConfig { jitter_ms: 20.0, loss: 0.2, seed, ..network() };
    let transport = config.build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    let up = transfer(device.sink.as_mut(), server.source.as_mut(), &[ONE_MS; 50]).await;
    let down = transfer(server.sink.as_mut(), device.source.as_mut(), &[ONE_MS; 50]).await;
    (up, down, transport.emulated().unwrap())
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_fates() {
    let (up, down, emulated) = fates(1).await;
    let (up_again, down_again, emulated_again) = fates(1).await;
    assert_eq!((&up, &down), (&up_again, &down_again));
    assert_eq!(emulated.lost_packets, emulated_again.lost_packets);
    let difference = emulated.up_seconds - emulated_again.up_seconds;
    assert!(emulated.lost_packets > 0 && difference.abs() < 1e-3, "{emulated:?}");
    assert_ne!(up, down);
    assert_ne!(up, fates(2).await.0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_bounds_what_is_under_way() {
    const ONE: NonZeroUsize = NonZeroUsize::MIN;
    let config = LinkEmulatorConfig {
        inner: Box::new(InMemoryConfig { capacity: ONE }),
        latency_ms: 30.0,
        ..network()
    };
    let transport = config.build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    let mut sent = 0;
    let second = Duration::from_secs(1);
    while timeout(second, device.sink.send(frame(ONE_MS), Lane::Bulk)).await.is_ok() {
        sent += 1;
    }
    // 30 ms and the tolerance of 20 ms in the delay line, one that leaves it, one at the server.
    assert_eq!(sent, 50 + 1 + 1);
    // As much in the delay line, one that has left the interface, one before it.
    let mut sent = 0;
    while timeout(second, server.sink.send(frame(ONE_MS), Lane::Bulk)).await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 50 + 1 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_learns_within_a_frame_that_the_other_end_is_gone() {
    let config = LinkEmulatorConfig { up_mbit_per_s: Some(0.008), ..network() };
    let (mut device, server) = join(config.build().as_ref()).await;
    device.sink.send(frame(1), Lane::Control).await.unwrap();
    drop(server);
    let start = Instant::now();
    // This one would take 1,000 seconds.
    let sent = device.sink.send(frame(1_000_000), Lane::Bulk).await;
    assert!(matches!(sent, Err(TransportError::Closed)), "{sent:?}");
    assert_eq!(start.elapsed(), 50 * MS);
    let again = device.sink.send(frame(1), Lane::Control).await;
    assert!(matches!(again, Err(TransportError::Closed)), "{again:?}");
    device.sink.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_link_lets_everybody_go() {
    let transport = network().build();
    let (mut device, mut server) = join(transport.as_ref()).await;
    device.sink.send(frame(1), Lane::Control).await.unwrap();
    let writer = tokio::spawn(async move {
        while server.sink.send(frame(ONE_MS), Lane::Bulk).await.is_ok() {}
        server.source.receive().await
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!writer.is_finished());
    drop(device);
    let last = timeout(Duration::from_secs(1), writer).await.unwrap().unwrap();
    assert_eq!(last.unwrap().unwrap(), frame(1));
}

#[tokio::test]
async fn what_the_inner_sink_refuses_is_said_at_the_next_frame_or_the_end() {
    for is_at_close in [false, true] {
        let inner = TcpConfig { max_frame_bytes: 10, ..TcpConfig::new("127.0.0.1:0") };
        let config = LinkEmulatorConfig { inner: Box::new(inner), ..Default::default() };
        let (mut device, _server) = join(config.build().as_ref()).await;
        device.sink.send(frame(11), Lane::Bulk).await.unwrap();
        // Until the delivery has seen it, which is soon, further frames may be taken.
        let error = if is_at_close {
            device.sink.close().await.unwrap_err()
        } else {
            let refused = async {
                loop {
                    if let Err(error) = device.sink.send(frame(1), Lane::Bulk).await {
                        break error;
                    }
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), refused).await.unwrap()
        };
        assert!(matches!(error, TransportError::TooLarge { bytes: 11, limit: 10 }), "{error}");
        let after = device.sink.send(frame(1), Lane::Bulk).await;
        assert!(matches!(after, Err(TransportError::Closed)), "{after:?}");
    }
}

#[tokio::test]
async fn what_is_cut_is_an_error_after_the_frames_before_it() {
    use tokio::io::AsyncWriteExt;

    let raw = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inner = TcpConfig::new(raw.local_addr().unwrap().to_string());
    let config =
        LinkEmulatorConfig { inner: Box::new(inner), latency_ms: 1.0, ..Default::default() };
    let transport = config.build();
    let (device, accepted) = tokio::join!(transport.connect(), raw.accept());
    let (mut source, mut raw) = (device.unwrap().source, accepted.unwrap().0);
    raw.write_all(b"\x02\0\0\0ok\x02\0\0\0c").await.unwrap();
    drop(raw);
    assert_eq!(source.receive().await.unwrap().unwrap(), "ok");
    let error = source.receive().await.unwrap_err();
    assert!(matches!(error, TransportError::Cut { .. }), "{error}");
}

#[tokio::test]
async fn a_network_that_cannot_be_is_not_imitated() {
    let config = LinkEmulatorConfig { loss: 1.0, ..network() };
    let error = config.build().connect().await.err().unwrap();
    let expected = "cannot connect to link-emulator: loss: 1 is no probability that can be \
                    imitated; expected 0 to 0.5";
    assert_eq!(error.to_string(), expected);
}
