//! Frames to bytes and back, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn frames() -> impl Strategy<Value = Frame> {
    let positions = prop_oneof![
        (0u32..40).prop_map(|rows| (0..rows).collect::<Vec<_>>()),
        proptest::collection::vec(any::<u32>(), 0..9),
    ];
    let samples = proptest::collection::vec((any::<u64>().prop_map(SampleId), positions), 0..5);
    let many = 0usize..9;
    let number = || -1e9f32..1e9;
    let numbers = |width| proptest::collection::vec(number(), width);
    let supervision = prop_oneof![
        proptest::collection::vec(any::<u32>().prop_map(Supervision::Label), many.clone()),
        proptest::collection::vec(number().prop_map(Supervision::Value), many.clone()),
        proptest::collection::vec(numbers(3).prop_map(Supervision::Difference), many.clone()),
        proptest::collection::vec(
            (any::<u32>(), numbers(2))
                .prop_map(|(label, own)| Supervision::LabelAndOwn(label, own)),
            many
        ),
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..99).prop_map(Bytes::from);
    prop_oneof![
        (any::<u32>(), samples)
            .prop_map(|(micro_batch, samples)| { Frame::Open(Open { micro_batch, samples }) }),
        (any::<u32>(), any::<u16>(), bytes.clone()).prop_map(|(micro_batch, tap, payload)| {
            Frame::Tap(Tap { micro_batch, tap, payload })
        }),
        (any::<u32>(), supervision).prop_map(|(micro_batch, supervision)| Frame::Supervise(
            Supervise { micro_batch, supervision }
        )),
        (any::<u64>(), proptest::collection::vec(any::<u32>(), 0..9))
            .prop_map(|(step, samples)| Frame::Step(Step { step, samples })),
        (any::<u64>(), any::<u32>(), -1e9f32..1e9, 0.0..1.0, 0.0..9.0).prop_map(
            |(step, samples, loss, learning_rate, seconds)| {
                Frame::Ack(Ack { step, samples, loss, learning_rate, seconds })
            }
        ),
        (any::<u32>(), bytes).prop_map(|(epoch, bytes)| Frame::Adapter(Adapter { epoch, bytes })),
        Just(Frame::Finish),
        ".*".prop_map(Frame::Failure),
        any::<u64>().prop_map(|steps| Frame::Stored(Stored { steps })),
    ]
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(frame in frames()) {
        prop_assert_eq!(Frame::parse(frame.encode())?, frame);
    }

    #[test]
    fn a_cut_or_lengthened_frame_never_panics(frame in frames(), cut in 0usize..200) {
        let bytes = frame.encode();
        let cut = cut.min(bytes.len());
        let _ = Frame::parse(bytes.slice(..cut));
        let mut longer = bytes.to_vec();
        longer.extend_from_slice(&[0; 3]);
        let _ = Frame::parse(longer.into());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Frame::parse(bytes.into());
    }
}

/// The bytes of version 2: what one release wrote, every later one of that version reads.
#[test]
fn the_layout_is_the_one_of_the_specification() {
    let hex = |frame: Frame| -> String {
        frame.encode().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let samples = vec![(SampleId(1), vec![0, 1]), (SampleId(2), vec![5])];
    assert_eq!(
        hex(Frame::Open(Open { micro_batch: 3, samples })),
        "0403000000020000000100000000000000040000000200000000000000\
         0300000005000000"
    );
    let payload = Bytes::from_static(&[0xaa]);
    assert_eq!(hex(Frame::Tap(Tap { micro_batch: 3, tap: 2, payload })), "05030000000200aa");
    let supervise = |supervision| hex(Frame::Supervise(Supervise { micro_batch: 3, supervision }));
    let head = "0603000000";
    let labels = vec![Supervision::Label(1), Supervision::Label(0)];
    assert_eq!(supervise(labels), format!("{head}020000000001000100000000000000"));
    let value = vec![Supervision::Value(1.0)];
    assert_eq!(supervise(value), format!("{head}010000000101000000803f"));
    let difference = vec![Supervision::Difference(vec![-0.5, 0.5])];
    assert_eq!(supervise(difference), format!("{head}01000000020200000000bf0000003f"));
    let both = vec![Supervision::LabelAndOwn(1, vec![2.0])];
    assert_eq!(supervise(both), format!("{head}010000000302000100000000000040"));
    assert_eq!(
        hex(Frame::Step(Step { step: 4, samples: vec![2] })),
        "0704000000000000000100000002000000"
    );
    let ack = Ack { step: 4, samples: 1, loss: 0.5, learning_rate: 0.25, seconds: 2.0 };
    let ack = hex(Frame::Ack(ack));
    assert_eq!(ack, "080400000000000000010000000000003f000000000000d03f0000000000000040");
    assert_eq!(ack.len() / 2, ACK_BYTES);
    let bytes = Bytes::from_static(&[0xbb]);
    assert_eq!(hex(Frame::Adapter(Adapter { epoch: 1, bytes })), "0901000000bb");
    assert_eq!(hex(Frame::Finish), "0a");
    assert_eq!(hex(Frame::Failure("no".into())), "0b6e6f");
    assert_eq!(hex(Frame::Stored(Stored { steps: 5 })), "0c0500000000000000");
}

#[test]
fn rows_without_bytes_are_bounded() {
    let mut bytes = vec![kind::OPEN];
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&100u32.to_le_bytes());
    for id in 0u64..100 {
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&(1u32 << 20).to_le_bytes());
    }
    let error = Frame::parse(bytes.into()).unwrap_err();
    assert!(error.to_string().contains("more than 8388608 rows"), "{error}");
}

#[test]
fn a_count_that_cannot_be_there_is_refused_before_anything_is_allocated() {
    let mut bytes = vec![kind::STEP];
    bytes.extend_from_slice(&0u64.to_le_bytes());
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    let error = Frame::parse(bytes.into()).unwrap_err();
    assert_eq!(error.to_string(), "frame: 4294967295 samples do not fit into 0 bytes");
}

#[test]
fn supervision_whose_size_cannot_be_is_refused() {
    let refused = |samples: u32, code: u8, numbers: u16, bytes: usize| {
        let mut frame = vec![kind::SUPERVISE];
        frame.extend_from_slice(&0u32.to_le_bytes());
        frame.extend_from_slice(&samples.to_le_bytes());
        frame.push(code);
        frame.extend_from_slice(&numbers.to_le_bytes());
        frame.resize(frame.len() + bytes, 0);
        Frame::parse(frame.into()).unwrap_err().to_string()
    };
    assert!(refused(2, 0, 1, 4).contains("2 samples of 1 numbers do not make 4 bytes"));
    assert!(refused(u32::MAX, 0, 0, 0).contains("without supervision"));
    assert!(refused(1, 0, 2, 8).contains("no supervision has code 0 and 2 numbers"));
    assert!(refused(1, 9, 1, 4).contains("code 9"));
}
