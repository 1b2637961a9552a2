//! Laws of the model, on traffic of all kinds.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const IDEAL: Conditions =
    Conditions { mbit_per_s: None, latency: Duration::ZERO, jitter: Duration::ZERO, loss: 0.0 };

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1000.0)
}

/// Frames as (time since the one before was ready, bytes): bursts and pauses, small and large.
fn traffic() -> impl Strategy<Value = Vec<(Duration, u64)>> {
    let pause = prop_oneof![Just(0.0), 0.0..1.0, 0.0..500.0].prop_map(ms);
    let bytes = prop_oneof![0_u64..4, 1..3000_u64, 1..3_000_000_u64];
    vec((pause, bytes), 1..40)
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let times = (prop_oneof![Just(0.0), 0.0..200.0], prop_oneof![Just(0.0), 0.0..100.0]);
    let loss = prop_oneof![Just(0.0), 0.0..0.02, 0.0..=0.5];
    (option::of(0.1..1000.0), times, loss).prop_map(|(mbit_per_s, (latency, jitter), loss)| {
        Conditions { mbit_per_s, latency: ms(latency), jitter: ms(jitter), loss }
    })
}

/// When each frame is ready, its bytes, and its passage.
type Journey = (Duration, u64, Passage);

fn journeys(conditions: Conditions, seed: u64, traffic: &[(Duration, u64)]) -> Vec<Journey> {
    let mut schedule = Schedule::new(conditions, seed, 0);
    let mut ready = Duration::ZERO;
    let mut pass = |&(pause, bytes): &(Duration, u64)| {
        ready += pause;
        (ready, bytes, schedule.pass(ready, bytes))
    };
    traffic.iter().map(&mut pass).collect()
}

proptest! {
    #[test]
    fn order_is_kept(conditions in conditions(), seed: u64, traffic in traffic()) {
        for pair in journeys(conditions, seed, &traffic).windows(2) {
            prop_assert!(pair[0].2.leaves <= pair[1].2.leaves);
            prop_assert!(pair[0].2.arrives <= pair[1].2.arrives);
        }
    }

    #[test]
    fn throughput_never_exceeds_the_bandwidth(
        conditions in conditions(), mbit_per_s in 0.1..1000.0, seed: u64, traffic in traffic(),
    ) {
        let conditions = Conditions { mbit_per_s: Some(mbit_per_s), ..conditions };
        let journeys = journeys(conditions, seed, &traffic);
        // Between any two frames, so that no pause is credit for a later burst.
        for (index, (ready, ..)) in journeys.iter().enumerate() {
            let mut bits = 0.0;
            for (_, bytes, passage) in &journeys[index..] {
                bits += *bytes as f64 * 8.0;
                let least = bits / (mbit_per_s * 1e6);
                prop_assert!((passage.leaves - *ready).as_secs_f64() >= least * (1.0 - 1e-12));
            }
        }
    }

    #[test]
    fn without_loss_a_frame_leaves_when_those_before_and_its_own_bytes_have(
        conditions in conditions(), seed: u64, traffic in traffic(),
    ) {
        let conditions = Conditions { loss: 0.0, ..conditions };
        let mut free = Duration::ZERO;
        for (ready, bytes, passage) in journeys(conditions, seed, &traffic) {
            free = free.max(ready) + conditions.serialization(bytes);
            prop_assert_eq!(passage.leaves, free);
            prop_assert_eq!(passage.lost_packets, 0);
        }
    }

    #[test]
    fn a_frame_is_under_way_for_the_latency_at_least(
        conditions in conditions(), seed: u64, traffic in traffic(),
    ) {
        let mut before = Duration::ZERO;
        for (_, _, passage) in journeys(conditions, seed, &traffic) {
            let earliest = passage.leaves + conditions.latency;
            prop_assert!(passage.arrives >= earliest);
            if passage.lost_packets == 0 {
                let latest = (earliest + conditions.jitter).max(before);
                prop_assert!(passage.arrives <= latest);
            } else {
                prop_assert!(passage.arrives >= earliest + 2 * conditions.latency);
            }
            before = passage.arrives;
        }
    }

    #[test]
    fn an_ideal_network_delays_nothing(seed: u64, traffic in traffic()) {
        for (ready, _, passage) in journeys(IDEAL, seed, &traffic) {
            let expected = Passage { leaves: ready, arrives: ready, lost_packets: 0 };
            prop_assert_eq!(passage, expected);
        }
    }

    #[test]
    fn loss_only_ever_delays(conditions in conditions(), seed: u64, traffic in traffic()) {
        let lossless = journeys(Conditions { loss: 0.0, ..conditions }, seed, &traffic);
        let lossy = journeys(conditions, seed, &traffic);
        for ((.., lossless), (.., lossy)) in lossless.iter().zip(&lossy) {
            prop_assert!(lossy.leaves >= lossless.leaves);
            prop_assert!(lossy.arrives >= lossless.arrives);
        }
    }

    #[test]
    fn equal_seeds_give_equal_fates(conditions in conditions(), seed: u64, traffic in traffic()) {
        let (once, again) =
            (journeys(conditions, seed, &traffic), journeys(conditions, seed, &traffic));
        prop_assert_eq!(once, again);
    }

    #[test]
    fn fates_do_not_depend_on_when_frames_are_ready(
        conditions in conditions(), seed: u64, traffic in traffic(),
    ) {
        let at_once: Vec<_> =
            traffic.iter().map(|(_, bytes)| (Duration::ZERO, *bytes)).collect();
        let (spread, burst) =
            (journeys(conditions, seed, &traffic), journeys(conditions, seed, &at_once));
        for ((.., spread), (.., burst)) in spread.iter().zip(&burst) {
            prop_assert_eq!(spread.lost_packets, burst.lost_packets);
        }
    }

    #[test]
    fn nothing_overflows(ready: u64, bytes: u64, mbit_per_s in option::of(0.001..1e6)) {
        let conditions = Conditions { mbit_per_s, latency: ms(60_000.0), ..IDEAL };
        let mut schedule = Schedule::new(conditions, 0, u64::MAX >> 2);
        for _ in 0..3 {
            schedule.pass(Duration::from_nanos(ready), bytes);
        }
    }
}

#[test]
fn seeds_and_streams_draw_different_fates() {
    let conditions = Conditions { jitter: ms(10.0), loss: 0.3, ..IDEAL };
    let fates = |seed, stream| {
        let mut schedule = Schedule::new(conditions, seed, stream);
        let seconds = Duration::from_secs;
        // Far apart, so that no frame waits for the one before.
        (0..20).map(|index| schedule.pass(seconds(index), 6000)).collect::<Vec<_>>()
    };
    let all = [fates(0, 0), fates(0, 1), fates(0, 2), fates(1, 0), fates(1, 1)];
    for (index, one) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|other| {
            let lost = |fates: &[Passage]| fates.iter().map(|fate| fate.lost_packets).collect();
            let (ours, theirs): (Vec<_>, Vec<_>) = (lost(one), lost(other));
            ours != theirs && one.iter().zip(other).all(|(one, other)| one.arrives != other.arrives)
        }));
    }
}

#[test]
fn what_is_lost_says_nothing_about_jitter() {
    let conditions = Conditions { jitter: ms(10.0), loss: 0.3, ..IDEAL };
    let first = |stream| Schedule::new(conditions, 0, stream).pass(Duration::ZERO, 100);
    // Drawn from the same numbers, lost packets would be those with less than 3 ms.
    let mut seen = [[0; 2]; 2];
    for passage in (0..400).map(first) {
        seen[usize::from(passage.lost_packets > 0)][usize::from(passage.arrives < ms(3.0))] += 1;
    }
    assert!(seen.as_flattened().iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn lost_packets_cost_their_bytes_again_and_a_round_trip_for_each_round() {
    // 8 bits per microsecond: a byte takes 1 microsecond.
    let conditions = Conditions { mbit_per_s: Some(8.0), latency: ms(10.0), loss: 0.4, ..IDEAL };
    let mut schedule = Schedule::new(conditions, 3, 0);
    let (mut rounds_seen, mut rests_seen) = ([false; 4], [false; 2]);
    for index in 0..500 {
        let ready = Duration::from_secs(index);
        let passage = schedule.pass(ready, 3100);
        let again = (passage.leaves - ready - Duration::from_micros(3100)).as_micros() as u64;
        let under_way = passage.arrives - passage.leaves;
        // Two packets of 1,500 bytes and one of 100 that may be lost, each any number of times.
        let rest = (0..=passage.lost_packets)
            .find(|rest| again == 1500 * (passage.lost_packets - rest) + 100 * rest);
        let rounds = (under_way - ms(10.0)).as_nanos() / ms(20.0).as_nanos();
        assert_eq!(under_way, ms(10.0 + 20.0 * rounds as f64));
        assert!(rounds as u64 <= passage.lost_packets && passage.lost_packets <= 3 * rounds as u64);
        rounds_seen[(rounds as usize).min(3)] = true;
        rests_seen[usize::from(rest.unwrap() > 0)] = true;
    }
    assert_eq!((rounds_seen, rests_seen), ([true; 4], [true; 2]));
}

#[test]
fn as_many_packets_are_lost_as_the_config_says() {
    for loss in [0.001, 0.05, 0.5] {
        let mut schedule = Schedule::new(Conditions { loss, ..IDEAL }, 9, 0);
        let packets = 200_000.0;
        let passage = schedule.pass(Duration::ZERO, 200_000 * PACKET_BYTES);
        // Each packet is sent until it arrives: a geometric number of times.
        let (mean, variance) = (loss / (1.0 - loss), loss / (1.0 - loss).powi(2));
        let off = passage.lost_packets as f64 - packets * mean;
        assert!(off.abs() < 5.0 * (packets * variance).sqrt(), "{off} off at a loss of {loss}");
    }
}
