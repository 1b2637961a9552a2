//! A sound transport, and what it takes to break each law.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mobillm_core::transport::{
    FrameSink, FrameSource, Lane, Link, Listener, Transport, TransportError,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;

use super::*;
use crate::law::Verdict;

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
        let (broken, is_closed) = (self.broken, Arc::new(AtomicBool::new(false)));
        let (frames, closes) = (Some(frames), Arc::clone(&is_closed));
        Link {
            sink: Box::new(MutantSink { broken, frames, sent: 0, held: None, closes }),
            source: Box::new(MutantSource { broken, frames: Some(source), is_closed }),
        }
    }
}

#[async_trait]
impl Transport for Mutant {
    async fn connect(&self) -> Result<Link, TransportError> {
        let capacity = match self.broken {
            "unbounded" => 1 << 16,
            // So that a writer waits between two halves.
            "halved" => 5,
            _ => 4,
        };
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
    closes: Arc<AtomicBool>,
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
            "halved" => self.held = Some(frame.split_off(frame.len() / 2)),
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
        self.closes.store(self.broken == "whole", Ordering::SeqCst);
        Ok(())
    }
}

struct MutantSource {
    broken: &'static str,
    frames: Option<Receiver<Bytes>>,
    is_closed: Arc<AtomicBool>,
}

#[async_trait]
impl FrameSource for MutantSource {
    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Some(frames) = &mut self.frames else { return Ok(None) };
        if self.is_closed.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let Some(mut frame) = frames.recv().await else { return Ok(None) };
        match self.broken {
            "hasty" => sleep(Duration::from_millis(5)).await,
            "halved" => {
                let rest = frames.recv().await.unwrap_or_default();
                frame = [frame, rest].concat().into();
            }
            _ => {}
        }
        Ok(Some(frame))
    }
}

impl Drop for MutantSource {
    fn drop(&mut self) {
        if self.broken == "stuck" {
            std::mem::forget(self.frames.take());
        }
    }
}

/// What holding the law `name` against a transport that is `broken` says.
fn verdict(broken: &'static str, name: &str) -> Verdict {
    let limits = Limits { max_frame_bytes: Some(LIMIT) };
    let laws = laws(|| Box::new(Mutant::new(broken)), limits);
    laws.iter().find(|law| law.name() == name).unwrap().run()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_transport_passes() {
    let limits = Limits { max_frame_bytes: Some(LIMIT) };
    conformance(|| Box::new(Mutant::new("nothing")), limits).await;
}

#[test]
fn each_break_is_caught() {
    let mutants = [
        ("lossy", "frames_arrive_whole_and_in_order"),
        ("cut", "frames_arrive_whole_and_in_order"),
        ("swapped", "frames_arrive_whole_and_in_order"),
        ("unbounded", "a_slow_reader_holds_the_writer_back"),
        ("unclosed", "closing_a_sink_ends_the_other_source"),
        ("whole", "closing_one_way_leaves_the_other_open"),
        ("endless", "dropping_a_link_unblocks_who_waits"),
        ("stuck", "dropping_a_link_unblocks_who_waits"),
        ("halved", "a_frame_that_was_cut_does_not_arrive"),
        ("hasty", "a_receive_that_is_given_up_loses_nothing"),
        ("mixed", "links_do_not_mix"),
        ("shared", "a_second_listener_is_refused_and_a_later_one_is_not"),
        ("unlimited", "an_oversize_frame_is_refused_and_the_link_stays"),
        ("torn", "an_oversize_frame_is_refused_and_the_link_stays"),
    ];
    // Some wait for what never happens: so all at once.
    let laws = mutants.map(|(broken, law)| (broken, law, spawn(move || verdict(broken, law))));
    for (broken, law, held) in laws {
        let verdict = held.join().unwrap();
        assert!(matches!(verdict, Verdict::Broken(_)), "`{broken}` is not caught by {law}");
    }
}

#[test]
fn without_a_limit_no_frame_is_too_large() {
    let laws = laws(|| Box::new(Mutant::new("unlimited")), Limits::default());
    assert!(matches!(laws.last().unwrap().run(), Verdict::Exempt(_)));
}
