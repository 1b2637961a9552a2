use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::architecture::Architecture;
use crate::blueprint::tests::{BOTTLENECK, blueprint};
use crate::network::Projection;
use mobillm_core::backbone::Pooling;
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::side_network::Optimizer;

fn training() -> Training {
    // 0.1 + 0.2 has no short decimal form
    let optimizer = Optimizer { learning_rate: 0.1 + 0.2, ..Optimizer::default() };
    Training { supervision: SupervisionKind::Truth, optimizer, steps: 100, seed: u64::MAX }
}

fn moments() -> Moments {
    let first: Weights = blueprint().initial(3);
    let second = first.iter().map(|values| values.iter().map(|value| value * value).collect());
    Moments { step: 17, second: second.collect(), first }
}

fn adapter() -> Vec<u8> {
    write_adapter(&blueprint(), &blueprint().initial(1)).unwrap()
}

fn checkpoint() -> Vec<u8> {
    write_checkpoint(&blueprint(), &training(), &blueprint().initial(1), &moments()).unwrap()
}

/// `bytes` with its safetensors header changed.
fn edited(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    change(&mut header);
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[end..]].concat()
}

/// `bytes` with our own header changed.
fn with_header(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    edited(bytes, |file| {
        let text = &mut file["__metadata__"][HEADER];
        let mut header: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        change(&mut header);
        *text = header.to_string().into();
    })
}

fn problem<T: std::fmt::Debug>(result: Result<T, SideNetworkError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn an_adapter_comes_back_and_has_one_form() {
    let weights = blueprint().initial(1);
    assert_eq!(read_adapter(&adapter()).unwrap(), (blueprint(), weights));
    assert_eq!(adapter(), adapter());
}

/// The network of [`blueprint`], to be added to the device's own prediction.
fn additive() -> Blueprint {
    let architecture = Architecture::AdditiveAdapter(BOTTLENECK);
    Blueprint { architecture, ..blueprint() }
}

/// One that pools over tokens, to be added.
fn pooling() -> Blueprint {
    let architecture = Architecture::AdditivePooling(Projection { width: 4 });
    Blueprint { architecture, ..blueprint() }
}

fn on_differences() -> Training {
    Training { supervision: SupervisionKind::Difference, ..training() }
}

#[test]
fn an_additive_network_stays_one() {
    let weights = additive().initial(1);
    let bytes = write_adapter(&additive(), &weights).unwrap();
    let (read, _) = read_adapter(&bytes).unwrap();
    assert!(read.info("any").additive && !blueprint().info("any").additive);
    assert_eq!(read, additive());
    let parallel = read_checkpoint(&additive_checkpoint(), &blueprint(), &on_differences());
    assert!(problem(parallel).contains("network.architecture is"));
}

fn additive_checkpoint() -> Vec<u8> {
    write_checkpoint(&additive(), &on_differences(), &additive().initial(1), &moments()).unwrap()
}

/// Files that version 1 wrote. They are read for ever; a new version adds its own. `additive` is from
/// when networks could first be trained on differences, `pooling` from when they could first pool tokens.
#[test]
fn files_of_version_1_are_read() {
    let adapter = include_bytes!("../../fixtures/adapter-v1.safetensors");
    assert_eq!(read_adapter(adapter).unwrap(), (blueprint(), blueprint().initial(1)));
    let checkpoint = include_bytes!("../../fixtures/checkpoint-v1.safetensors");
    let (weights, read) = read_checkpoint(checkpoint, &blueprint(), &training()).unwrap();
    assert_eq!((weights, read), (blueprint().initial(1), moments()));
    let checkpoint = include_bytes!("../../fixtures/checkpoint-additive-v1.safetensors");
    let (weights, read) = read_checkpoint(checkpoint, &additive(), &on_differences()).unwrap();
    assert_eq!((weights, read), (additive().initial(1), moments()));
    let adapter = include_bytes!("../../fixtures/adapter-pooling-v1.safetensors");
    assert_eq!(read_adapter(adapter).unwrap(), (pooling(), pooling().initial(1)));
}

#[test]
fn one_tap_has_no_gates() {
    let single = Blueprint { taps: vec![2], ..blueprint() };
    let weights = single.initial(1);
    assert!(single.chain_places(&weights).1[0].is_empty());
    let bytes = write_adapter(&single, &weights).unwrap();
    assert_eq!(read_adapter(&bytes).unwrap(), (single, weights));
}

#[test]
fn a_checkpoint_comes_back() {
    let (weights, read) = read_checkpoint(&checkpoint(), &blueprint(), &training()).unwrap();
    assert_eq!((weights, read), (blueprint().initial(1), moments()));
    assert_eq!(checkpoint(), checkpoint());
}

#[test]
fn a_checkpoint_is_of_its_own_network_and_run() {
    let other = Blueprint { pooling: Pooling::LastToken, ..blueprint() };
    assert_eq!(
        problem(read_checkpoint(&checkpoint(), &other, &training())),
        "adapter: the checkpoint is of another run: network.pooling is \"mean\"; expected \
         \"last-token\""
    );
    let longer = Training { steps: 200, ..training() };
    assert_eq!(
        problem(read_checkpoint(&checkpoint(), &blueprint(), &longer)),
        "adapter: the checkpoint is of another run: training.steps is 100; expected 200"
    );
    let with_own = Training { supervision: SupervisionKind::TruthAndOwn, ..training() };
    assert_eq!(
        problem(read_checkpoint(&additive_checkpoint(), &additive(), &with_own)),
        "adapter: the checkpoint is of another run: training.supervision is \"difference\"; expected \
         \"truth-and-own\""
    );
}

#[test]
fn one_file_is_not_taken_for_the_other() {
    assert!(problem(read_adapter(&checkpoint())).contains("this is a checkpoint"));
    let wrong = read_checkpoint(&adapter(), &blueprint(), &training());
    assert!(problem(wrong).contains("this is an adapter"));
}

#[test]
fn another_version_or_format_is_named() {
    let newer = with_header(&adapter(), |header| header["version"] = json!(2));
    assert_eq!(
        problem(read_adapter(&newer)),
        "adapter: format \"mobillm-adapter\", version 2; this build reads \"mobillm-adapter\", \
         version 1"
    );
    let foreign = edited(&adapter(), |file| file["__metadata__"] = json!({"format": "pt"}));
    assert!(problem(read_adapter(&foreign)).contains("no `mobillm` header"));
    let newer = with_header(&adapter(), |header| {
        header["network"]["architecture"]["type"] = json!("ladder");
    });
    assert!(problem(read_adapter(&newer)).contains("unknown variant `ladder`"));
    let unknown = with_header(&adapter(), |header| header["network"]["dropout"] = json!(0.1));
    assert!(problem(read_adapter(&unknown)).contains("unknown field `dropout`"));
}

#[test]
fn a_header_that_does_not_fit_the_tensors_is_refused() {
    let claims = |field: &str, value: Value| {
        problem(read_adapter(&with_header(&adapter(), |header| {
            header["network"][field] = value.clone();
        })))
    };
    assert!(claims("taps", json!([2])).contains("11 tensors; expected 7"));
    assert!(claims("taps", json!([2, 6])).contains("tensor `layer.6.norm.gain` not found"));
    assert!(claims("taps", json!([])).contains("no layer is tapped"));
    assert!(claims("hidden", json!(4)).contains("F32 [8]; expected F32 [4]"));
    assert!(claims("hidden", json!(u64::MAX)).contains("too large"));
    let huge = json!({"classification": {"classes": u64::MAX}});
    assert!(claims("objective", huge).contains("too large"));
    let rank = json!({"type": "parallel-adapter", "rank": 5000});
    assert!(claims("architecture", rank).contains("5000 is out of range"));
}

#[test]
fn wrong_types_and_numbers_are_refused() {
    let integers = edited(&adapter(), |file| file["head.bias"]["dtype"] = json!("I32"));
    assert!(problem(read_adapter(&integers)).contains("head.bias is I32 [3]; expected F32 [3]"));
    let mut weights = blueprint().initial(1);
    weights[1][5] = f32::NAN;
    let bytes = write_adapter(&blueprint(), &weights).unwrap();
    assert!(problem(read_adapter(&bytes)).contains("layer.2.norm.bias holds NaN at 5"));
}

#[test]
fn wrong_weights_are_not_written() {
    let mut weights = blueprint().initial(1);
    weights[0].pop();
    assert!(write_adapter(&blueprint(), &weights).is_err());
    weights.remove(0);
    assert!(write_adapter(&blueprint(), &weights).is_err());
}

#[test]
fn every_truncation_and_every_tail_is_refused() {
    let whole = checkpoint();
    for length in 0..whole.len() {
        assert!(read_checkpoint(&whole[..length], &blueprint(), &training()).is_err(), "{length}");
    }
    let tail = [&whole[..], b"x"].concat();
    assert!(problem(read_checkpoint(&tail, &blueprint(), &training())).contains("copy it again"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(read_adapter(&bytes).is_err());
    }

    #[test]
    fn a_flipped_byte_is_refused_or_reads_as_a_whole_adapter(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = adapter();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok((blueprint, weights)) = read_adapter(&bytes) {
            let rewritten = write_adapter(&blueprint, &weights).unwrap();
            prop_assert_eq!(read_adapter(&rewritten).unwrap(), (blueprint, weights));
        }
    }
}
