//! A sound transport, and what it takes to break each law.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const LIMIT: usize = 2 << 20;

/// Channels, with one thing wrong.
struct Mutant {
    broken: &'static str,
    connected: Sender<Link>,
    to_accept: Arc<tokio::sync::Mutex<Receiver<Link>>>,
    is_listening: Arc<AtomicBool>,
    first: Mutex<Option<Sender<Bytes>>>,
}

impl Mutant {
    fn new(broken: &'static str) -> Self {
        let (connected, to_accept) = channel(8);
        let to_accept = Arc::new(tokio::sync::Mutex::new(to_accept));
        let (is_listening, first) = (Arc::default(), Mutex::default());
        Self { broken, connected, to_accept, is_listening, first }
    }

    fn end(&self, frames: Sender<Bytes>, source: Receiver<Bytes>) -> Link {
        if self.broken == "endless" {
            std::mem::forget(frames.clone());
        }
        let broken = self.broken;
        Link {
            sink: Box::new(MutantSink { broken, frames: Some(frames), sent: 0, held: None }),
            source: Box::new(MutantSource { broken, frames: Some(source) }),
        }
    }
}

#[async_trait]
impl Transport for Mutant {
    async fn connect(&self) -> Result<Link, TransportError> {
        let capacity = if self.broken == "unbounded" { 1 << 16 } else { 4 };
        let (mut up, from_below) = channel(capacity);
        let (down, from_above) = channel(capacity);
        let theirs = self.end(down, from_below);
        if self.broken == "mixed" {
            up = self.first.lock().unwrap().get_or_insert(up).clone();
        }
        self.connected.send(theirs).await.map_err(|_| TransportError::Closed)?;
        Ok(self.end(up, from_above))
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        if self.is_listening.swap(true, Ordering::SeqCst) && self.broken != "shared" {
            let (address, problem) = ("mutant".into(), "it is taken".into());
            return Err(TransportError::Address { action: "listen on", address, problem });
        }
        let (links, is_listening) = (Arc::clone(&self.to_accept), Arc::clone(&self.is_listening));
        Ok(Box::new(MutantListener { links, is_listening }))
    }

    fn overhead(&self) -> usize {
        0
    }
}

struct MutantListener {
    links: Arc<tokio::sync::Mutex<Receiver<Link>>>,
    is_listening: Arc<AtomicBool>,
}

#[async_trait]
impl Listener for MutantListener {
    fn address(&self) -> String {
        "mutant".into()
    }

    async fn accept(&mut self) -> Result<Link, TransportError> {
        self.links.lock().await.recv().await.ok_or(TransportError::Closed)
    }
}

impl Drop for MutantListener {
    fn drop(&mut self) {
        self.is_listening.store(false, Ordering::SeqCst);
    }
}

struct MutantSink {
    broken: &'static str,
    frames: Option<Sender<Bytes>>,
    sent: usize,
    held: Option<Bytes>,
}

#[async_trait]
impl FrameSink for MutantSink {
    async fn send(&mut self, mut frame: Bytes, _: Lane) -> Result<(), TransportError> {
        if frame.len() > LIMIT && self.broken != "unlimited" {
            if self.broken == "torn" {
                self.frames = None;
            }
            let (bytes, limit) = (frame.len() as u64, LIMIT as u64);
            return Err(TransportError::TooLarge { bytes, limit });
        }
        self.sent += 1;
        match self.broken {
            "lossy" if self.sent == 20 => return Ok(()),
            "cut" if frame.len() == 65_540 => frame.truncate(65_536),
            "swapped" if self.sent == 20 => {
                self.held = Some(frame);
                return Ok(());
            }
            _ => {}
        }
        let frames = self.frames.as_ref().ok_or(TransportError::Closed)?;
        for frame in std::iter::once(frame).chain(self.held.take()) {
            frames.send(frame).await.map_err(|_| TransportError::Closed)?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        if self.broken != "unclosed" {
            self.frames = None;
        }
        Ok(())
    }
}

struct MutantSource {
    broken: &'static str,
    frames: Option<Receiver<Bytes>>,
}

#[async_trait]
impl FrameSource for MutantSource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        match &mut self.frames {
            Some(frames) => Ok(frames.recv().await),
            None => Ok(None),
        }
    }
}

impl Drop for MutantSource {
    fn drop(&mut self) {
        if self.broken == "stuck" {
            std::mem::forget(self.frames.take());
        }
    }
}

/// Runs the law that `broken` breaks.
async fn law(broken: &'static str) {
    let mutant = Mutant::new(broken);
    match broken {
        "lossy" | "cut" | "swapped" => frames_arrive_whole_and_in_order(&mutant, LIMIT).await,
        "unbounded" => a_slow_reader_holds_the_writer_back(&mutant, LIMIT).await,
        "unclosed" => closing_a_sink_ends_the_other_source(&mutant).await,
        "endless" | "stuck" => dropping_a_link_unblocks_who_waits(&mutant, LIMIT).await,
        "mixed" => links_do_not_mix(&mutant).await,
        "shared" => a_second_listener_is_refused_and_a_later_one_is_not(&mutant).await,
        _ => an_oversize_frame_is_refused_and_the_link_stays(&mutant, LIMIT).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_transport_passes() {
    let limits = Limits { max_frame_bytes: Some(LIMIT) };
    conformance(|| Box::new(Mutant::new("nothing")), limits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_break_is_caught() {
    let mutants = [
        "lossy",
        "cut",
        "swapped",
        "unbounded",
        "unclosed",
        "endless",
        "stuck",
        "mixed",
        "shared",
        "unlimited",
        "torn",
    ];
    let laws = mutants.map(|broken| (broken, tokio::spawn(law(broken))));
    for (broken, law) in laws {
        let caught = law.await.is_err_and(|error| error.is_panic());
        assert!(caught, "`{broken}` is not caught");
    }
}
