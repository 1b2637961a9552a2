//! What links promise.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportError,
};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long something may take before it is said never to happen. Our own tests wait for what
/// really never happens.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 30 });

/// Waits for what should happen soon.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("this does not happen: {what}"),
    }
}

fn sound<T>(what: &str, result: Result<T, TransportError>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

async fn finished<T>(what: &str, task: JoinHandle<T>) -> T {
    match soon(what, task).await {
        Ok(value) => value,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

async fn listen(transport: &dyn Transport) -> Box<dyn Listener> {
    sound("it listens", soon("listen", transport.listen()).await)
}

/// Two ends that were joined: who connected and who accepted.
async fn link(transport: &dyn Transport, listener: &mut dyn Listener) -> (Link, Link) {
    let connected = sound("it connects", soon("connect", transport.connect()).await);
    let accepted = sound("it accepts", soon("accept", listener.accept()).await);
    (connected, accepted)
}

/// `length` bytes that differ from those of other seeds and lengths.
fn frame(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length as u64 | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Lengths around what buffers and headers are made of, in no order.
fn lengths(most: usize) -> Vec<usize> {
    let around = [0, 1, 3, 4, 5, 1023, 65_535, 65_536, 65_540, 1 << 20, 2_000_003];
    let mixed = (0..200).map(|index: usize| index * index * 7919 % 3001);
    let all = around.into_iter().chain(mixed).chain(around.into_iter().rev());
    all.filter(|length| *length <= most).collect()
}

pub(super) async fn frames_arrive_whole_and_in_order(transport: &dyn Transport, most: usize) {
    let mut listener = listen(transport).await;
    let (device, server) = link(transport, listener.as_mut()).await;
    // Both ways at once: a link whose two ends write before they read must not lock up.
    let up = exchange(device.sink, server.source, 1, most);
    let down = exchange(server.sink, device.source, 2, most);
    soon("frames arrive", async { tokio::join!(up, down) }).await;
}

async fn exchange(
    mut sink: Box<dyn FrameSink>,
    mut source: Box<dyn FrameSource>,
    seed: u64,
    most: usize,
) {
    let writer = tokio::spawn(async move {
        for (index, length) in lengths(most).into_iter().enumerate() {
            let lane = if index % 3 == 0 { Lane::Control } else { Lane::Bulk };
            sound("a frame is sent", sink.send(frame(seed, length), lane).await);
        }
        sound("the sink is closed", sink.close().await);
    });
    for length in lengths(most) {
        let received = sound("a frame is received", source.receive().await);
        assert!(
            received == Some(frame(seed, length)),
            "a frame of {length} bytes arrives as it was"
        );
    }
    assert_eq!(sound("the end is received", source.receive().await), None);
    finished("the writer ends", writer).await;
}

/// Sends `count` frames, counting them.
fn write(
    mut sink: Box<dyn FrameSink>,
    frame: Bytes,
    count: usize,
) -> (Arc<AtomicUsize>, JoinHandle<Result<(), TransportError>>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let writer = tokio::spawn(async move {
        for _ in 0..count {
            sink.send(frame.clone(), Lane::Bulk).await?;
            counter.fetch_add(1, Ordering::SeqCst);
        }
        sink.close().await
    });
    (sent, writer)
}

/// Waits until a writer stands still, and says how far it came.
async fn standstill(sent: &AtomicUsize) -> usize {
    soon("the writer stands still", async {
        let mut before = usize::MAX;
        loop {
            let now = sent.load(Ordering::SeqCst);
            if now == before {
                return now;
            }
            before = now;
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await
}

/// More than any link should have under way: 128 MiB.
const FLOOD_BYTES: usize = 128 << 20;

fn flood(most: usize) -> (Bytes, usize) {
    let length = most.min(1 << 20);
    (frame(3, length), FLOOD_BYTES / length)
}

pub(super) async fn a_slow_reader_holds_the_writer_back(transport: &dyn Transport, most: usize) {
    let mut listener = listen(transport).await;
    let (device, mut server) = link(transport, listener.as_mut()).await;
    let (frame, count) = flood(most);
    let (sent, writer) = write(device.sink, frame.clone(), count);
    let under_way = standstill(&sent).await;
    assert!(under_way < count, "a writer nobody reads from is held back, but sent {count} frames");
    for _ in 0..count {
        let received = soon("a frame comes", server.source.receive()).await;
        assert!(received.is_ok_and(|received| received == Some(frame.clone())), "none is lost");
    }
    sound("the writer goes on", finished("the writer ends", writer).await);
}

pub(super) async fn closing_a_sink_ends_the_other_source(transport: &dyn Transport) {
    let mut listener = listen(transport).await;
    let (mut device, mut server) = link(transport, listener.as_mut()).await;
    sound("a frame is sent", device.sink.send(frame(4, 100), Lane::Control).await);
    sound("the sink is closed", device.sink.close().await);
    sound("a closed sink is closed again", device.sink.close().await);
    let refused = device.sink.send(frame(4, 1), Lane::Control).await;
    assert!(matches!(refused, Err(TransportError::Closed)), "a closed sink sends: {refused:?}");
    let received = sound("what was under way comes", server.source.receive().await);
    assert_eq!(received, Some(frame(4, 100)));
    for _ in 0..2 {
        let end = soon("the source ends", server.source.receive()).await;
        assert_eq!(sound("the end is no error", end), None);
    }
}

pub(super) async fn closing_one_way_leaves_the_other_open(transport: &dyn Transport) {
    let mut listener = listen(transport).await;
    let (mut device, mut server) = link(transport, listener.as_mut()).await;
    sound("the sink is closed", device.sink.close().await);
    assert_eq!(sound("the source ends", server.source.receive().await), None);
    sound("the other way is open", server.sink.send(frame(5, 10), Lane::Control).await);
    let received = sound("and a frame comes", device.source.receive().await);
    assert_eq!(received, Some(frame(5, 10)));
}

pub(super) async fn dropping_a_link_unblocks_who_waits(transport: &dyn Transport, most: usize) {
    let mut listener = listen(transport).await;
    let (device, mut server) = link(transport, listener.as_mut()).await;
    let reader = tokio::spawn(async move { server.source.receive().await });
    sleep(Duration::from_millis(50)).await;
    drop(device);
    let ended = finished("a dropped link unblocks the reader", reader).await;
    assert!(matches!(ended, Ok(None) | Err(_)), "nothing was sent: {ended:?}");

    let (device, server) = link(transport, listener.as_mut()).await;
    let (frame, count) = flood(most);
    let (sent, writer) = write(device.sink, frame, count);
    standstill(&sent).await;
    drop(server);
    let ended = finished("a dropped link unblocks the writer", writer).await;
    assert!(ended.is_err(), "what nobody will read is not sent");
}

/// A sender that gives up or dies within a frame: of every frame all arrives or nothing. That the end is then an
/// error, and not an end in order, is for the transport's own tests: nobody sees from here how much of a
/// frame has left.
pub(super) async fn a_frame_that_was_cut_does_not_arrive(transport: &dyn Transport, most: usize) {
    let mut listener = listen(transport).await;
    let (device, mut server) = link(transport, listener.as_mut()).await;
    let (frame, count) = flood(most);
    let (sent, writer) = write(device.sink, frame.clone(), count);
    let whole = standstill(&sent).await;
    writer.abort();
    drop((device.source, writer));
    let mut arrived = 0;
    while let Ok(Some(received)) = soon("the link ends", server.source.receive()).await {
        assert!(received == frame, "a frame that was cut does not arrive in part");
        arrived += 1;
    }
    assert!(arrived <= whole + 1, "{arrived} frames arrive of {whole} and one that was cut");
}

/// Who waits for one of several things gives up the others again and again.
pub(super) async fn a_receive_that_is_given_up_loses_nothing(
    transport: &dyn Transport,
    most: usize,
) {
    const FRAMES: u64 = 20;
    let mut listener = listen(transport).await;
    let (mut device, mut server) = link(transport, listener.as_mut()).await;
    let length = most.min(100_000);
    let writer = tokio::spawn(async move {
        for seed in 0..FRAMES {
            sleep(Duration::from_millis(3)).await;
            sound("a frame is sent", device.sink.send(frame(seed, length), Lane::Bulk).await);
        }
        device
    });
    for seed in 0..FRAMES {
        let received = soon("a frame comes", async {
            loop {
                if let Ok(received) =
                    timeout(Duration::from_millis(1), server.source.receive()).await
                {
                    return received;
                }
            }
        });
        let received = sound("it receives", received.await);
        assert!(received == Some(frame(seed, length)), "a receive that is given up loses nothing");
    }
    drop(finished("the writer ends", writer).await);
}

pub(super) async fn links_do_not_mix(transport: &dyn Transport) {
    const LINKS: u64 = 3;
    let mut listener = listen(transport).await;
    let server = tokio::spawn(async move {
        let mut echoes = Vec::new();
        for _ in 0..LINKS {
            let mut link = sound("it accepts", listener.accept().await);
            echoes.push(tokio::spawn(async move {
                while let Some(frame) = sound("it receives", link.source.receive().await) {
                    sound("it sends", link.sink.send(frame, Lane::Control).await);
                }
            }));
        }
        for echo in echoes {
            finished("the echo ends", echo).await;
        }
    });
    let mut links = Vec::new();
    for _ in 0..LINKS {
        links.push(sound("it connects", soon("connect", transport.connect()).await));
    }
    for round in 0..20 {
        for (seed, link) in (0..).zip(&mut links) {
            sound("it sends", link.sink.send(frame(seed, 50 + round), Lane::Control).await);
        }
        for (seed, link) in (0..).zip(&mut links) {
            let echo = soon("the echo comes", link.source.receive()).await;
            assert_eq!(sound("it receives", echo), Some(frame(seed, 50 + round)), "links mix");
        }
    }
    drop(links);
    finished("the server ends", server).await;
}

pub(super) async fn a_second_listener_is_refused_and_a_later_one_is_not(transport: &dyn Transport) {
    let first = listen(transport).await;
    assert!(!first.address().is_empty(), "a listener says where it is");
    let second = soon("listen", transport.listen()).await;
    let is_refused = matches!(second, Err(TransportError::Address { action: "listen on", .. }));
    assert!(is_refused, "an address has one listener");
    drop(first);
    let mut later = listen(transport).await;
    link(transport, later.as_mut()).await;
}

pub(super) async fn an_oversize_frame_is_refused_and_the_link_stays(
    transport: &dyn Transport,
    most: usize,
) {
    let mut listener = listen(transport).await;
    let (mut device, mut server) = link(transport, listener.as_mut()).await;
    let refused = device.sink.send(frame(6, most + 1), Lane::Bulk).await;
    let is_too_large = matches!(
        refused,
        Err(TransportError::TooLarge { bytes, limit })
            if bytes == most as u64 + 1 && limit == most as u64
    );
    assert!(is_too_large, "a frame over the limit is refused: {refused:?}");
    let (largest, writer) = (frame(6, most), write(device.sink, frame(6, most), 1).1);
    let received = soon("the largest comes", server.source.receive()).await;
    assert!(sound("it receives", received) == Some(largest), "the largest frame arrives");
    sound("it is sent", finished("the writer ends", writer).await);
}
