//! The inbox's laws, over frames as a device sends them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use bytes::Bytes;
use mobillm_core::privacy::Supervision;
use mobillm_core::quantizer::{Quantizer, QuantizerConfig};
use mobillm_core::sample::SampleId;
use mobillm_quantizers::Nf4Config;
use mobillm_wire::frame::{Frame, Open, Step};
use mobillm_wire::inbox::{Event, Inbox, Room};
use proptest::prelude::*;

const HIDDEN: usize = 5;

fn quantizer() -> Arc<dyn Quantizer> {
    Arc::from(Nf4Config::default().build())
}

/// A payload of `rows` rows, each filled with its number, as the quantizer lays it out.
fn payload(rows: usize) -> Bytes {
    let quantizer = quantizer();
    let format = quantizer.format();
    let mut out = format.name.to_vec();
    out.extend([format.version, format.flags]);
    out.extend(format.block.to_le_bytes());
    out.extend((rows as u32).to_le_bytes());
    out.extend((HIDDEN as u32).to_le_bytes());
    for row in 0..rows {
        out.extend(vec![row as u8; quantizer.row_bytes(HIDDEN)]);
    }
    out.into()
}

fn open(micro_batch: u32, samples: &[(u64, u32)]) -> Frame {
    let samples = samples.iter().map(|&(id, rows)| (SampleId(id), (0..rows).collect())).collect();
    Frame::Open(Open { micro_batch, samples })
}

/// A tap or supervision as it comes from a device: only a policy's clearance makes one here.
fn tap(micro_batch: u32, tap: u16, rows: usize) -> Frame {
    let mut bytes = vec![5];
    bytes.extend(micro_batch.to_le_bytes());
    bytes.extend(tap.to_le_bytes());
    bytes.extend(payload(rows));
    Frame::parse(bytes.into()).unwrap()
}

fn supervise(micro_batch: u32, labels: &[u32]) -> Frame {
    let mut bytes = vec![6];
    bytes.extend(micro_batch.to_le_bytes());
    bytes.extend((labels.len() as u32).to_le_bytes());
    bytes.extend([0, 1, 0]);
    labels.iter().for_each(|&label| Supervision::Label(label).write(&mut bytes));
    Frame::parse(bytes.into()).unwrap()
}

fn step(step: u64, places: &[u32]) -> Frame {
    Frame::Step(Step { step, samples: places.to_vec() })
}

fn inbox(next_step: u64) -> Inbox {
    Inbox::new(quantizer(), 2, HIDDEN, next_step, Room { samples: 9, rows: 20 })
}

#[test]
fn a_micro_batch_is_cut_into_samples() {
    let mut inbox = inbox(0);
    for frame in [open(0, &[(7, 2), (9, 1)]), tap(0, 1, 3), tap(0, 0, 3), supervise(0, &[1, 0])] {
        assert_eq!(inbox.receive(frame).unwrap(), Event::Waiting);
    }
    let Event::Step { step: 0, samples } = inbox.receive(step(0, &[1, 0])).unwrap() else {
        panic!("expected step 0");
    };
    let row_bytes = quantizer().row_bytes(HIDDEN);
    assert_eq!((samples[0].id, samples[0].positions.len()), (SampleId(9), 1));
    assert_eq!(samples[0].taps[1], vec![2; row_bytes]);
    assert_eq!(samples[1].taps[0], [vec![0; row_bytes], vec![1; row_bytes]].concat());
    assert_eq!(samples[1].supervision, Supervision::Label(1));
    assert_eq!(inbox.receive(Frame::Finish).unwrap(), Event::Finished);
    assert!(inbox.receive(step(1, &[])).is_err());
}

#[test]
fn a_resumed_device_may_send_old_steps_again() {
    let mut inbox = inbox(4);
    for frame in [open(0, &[(7, 1)]), tap(0, 0, 1), tap(0, 1, 1), supervise(0, &[1])] {
        inbox.receive(frame).unwrap();
    }
    assert_eq!(inbox.receive(step(3, &[0])).unwrap(), Event::Waiting);
    assert_eq!(inbox.next_step(), 4);
}

#[test]
fn what_is_out_of_order_is_refused_with_what_was_expected() {
    let refused = |frames: Vec<Frame>| {
        let mut inbox = inbox(0);
        let mut results = frames.into_iter().map(|frame| inbox.receive(frame));
        results.find_map(Result::err).expect("one frame is refused").to_string()
    };
    assert!(refused(vec![tap(0, 0, 1)]).contains("micro-batch 0 is not open"));
    assert!(refused(vec![open(0, &[]), open(0, &[])]).contains("open already"));
    assert!(refused(vec![open(0, &[(1, 1)]), tap(0, 2, 1)]).contains("2 taps once, got tap 2"));
    assert!(refused(vec![open(0, &[(1, 1)]), tap(0, 0, 2)]).contains("expected 1 rows of 5"));
    let twice = vec![open(0, &[(1, 1)]), tap(0, 0, 1), tap(0, 0, 1)];
    assert!(refused(twice).contains("got tap 0"));
    let early = vec![open(0, &[(1, 1)]), tap(0, 0, 1), supervise(0, &[0])];
    assert!(refused(early).contains("has not had all 2 taps"));
    let fewer = vec![open(0, &[(1, 1)]), tap(0, 0, 1), tap(0, 1, 1), supervise(0, &[])];
    assert!(refused(fewer).contains("has 1 samples, got 0"));
    let trained = vec![
        open(0, &[(1, 1)]),
        tap(0, 0, 1),
        tap(0, 1, 1),
        supervise(0, &[0]),
        step(0, &[0]),
        step(1, &[0]),
    ];
    assert!(refused(trained).contains("step 1: sample 0 is not here"));
    let many = vec![open(0, &[(1, 15)]), open(1, &[(2, 6)])];
    assert!(refused(many).contains("room is left for 8 and 5"));
    assert!(refused(vec![open(0, &[(1, 0); 10])]).contains("more samples"));
    assert!(refused(vec![step(1, &[])]).contains("expected step 0, got 1"));
    assert!(refused(vec![step(0, &[3])]).contains("is not here"));
    assert!(
        refused(vec![Frame::Failure("no disk".into())]).contains("the device gave up: no disk")
    );
}

proptest! {
    #[test]
    fn frames_in_any_order_never_panic(order in proptest::collection::vec(0u32..12, 0..40)) {
        let mut inbox = inbox(0);
        for choice in order {
            let frame = match choice {
                0 => open(0, &[(7, 2), (9, 1)]),
                1 => open(1, &[(8, 0)]),
                2 => tap(0, 0, 3),
                3 => tap(0, 1, 3),
                4 => tap(1, 0, 0),
                5 => tap(1, 1, 0),
                6 => supervise(0, &[0, 1]),
                7 => supervise(1, &[1]),
                place => step(inbox.next_step(), &[place - 8]),
            };
            let _ = inbox.receive(frame);
        }
    }
}
