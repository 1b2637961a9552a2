//! Backbones behind the door.

use std::cell::Cell;

use mobillm_core::BoxError;
use mobillm_core::backbone::{
    Backbone, BackboneConfig, BackboneContext, BackboneError, BackboneInfo, ForwardContext,
    NativeLibraries, OwnPrediction, Tap, TapSink, TokenBatch, Tokens,
};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use ndarray::{Array2, Array3, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{batch, info, loaded, native, panic};

/// The fake of four layers, but for one thing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MischiefConfig {
    what: String,
}

impl Plugin for MischiefConfig {
    const SLOT: Slot = Slot::Backbone;
    const TAG: &'static str = "test.mischief";
}

#[typetag::serde(name = "test.mischief")]
impl BackboneConfig for MischiefConfig {
    fn check(&self, _: &BackboneInfo) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, context: &BackboneContext) -> Result<Box<dyn Backbone>, BackboneError> {
        if self.what == "no bundle" {
            let problem = format!("is not there; {} taps", context.taps.len());
            return Err(BackboneError::Bundle { path: context.bundle.clone(), problem });
        }
        let fake = native::<Box<dyn BackboneConfig>>("fake", &fake()).build(context)?;
        let mut info = fake.info().clone();
        match &*self.what {
            "few layers" => info.layers = 1,
            "no width" => info.hidden = 0,
            "no outputs" => info.own_outputs = Some(0),
            "no own" | "own unasked" => info.own_outputs = None,
            _ => (),
        }
        Ok(Box::new(Mischief { what: self.what.clone(), fake, info }))
    }
}

struct Mischief {
    what: String,
    fake: Box<dyn Backbone>,
    info: BackboneInfo,
}

thread_local! {
    /// Where the hidden state of the last tap was, on the other side.
    static SEEN: Cell<usize> = const { Cell::new(0) };
}

impl Backbone for Mischief {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn taps(&self) -> &[usize] {
        self.fake.taps()
    }

    fn forward(
        &mut self,
        batch: &TokenBatch,
        context: &ForwardContext,
        sink: &mut dyn TapSink,
    ) -> Result<OwnPrediction, BackboneError> {
        let what = &*self.what;
        let mut odd = |tap: Tap<'_>| -> Result<(), BoxError> {
            SEEN.set(tap.hidden.as_ptr().addr());
            match what {
                "backwards" => sink.tap(Tap { layer: 4 - tap.layer, ..tap }),
                "twice" => sink.tap(tap).and_then(|()| sink.tap(tap)),
                "last one lost" if tap.layer == 3 => Ok(()),
                "narrow" => sink.tap(Tap { hidden: tap.hidden.slice(s![.., .., 1..]), ..tap }),
                "short" => sink.tap(Tap { lengths: &[1, 1, 1], ..tap }),
                "fewer" => sink.tap(Tap { lengths: &[1], ..tap }),
                "deaf" => {
                    let _ = sink.tap(tap);
                    Ok(())
                }
                "panic" => panic("from forward"),
                _ => sink.tap(tap),
            }
        };
        let own = self.fake.forward(batch, context, &mut odd)?;
        match what {
            "one more" => {
                let hidden = Array3::zeros((batch.samples(), batch.ids().ncols(), 6));
                let tap = Tap { layer: 4, hidden: hidden.view(), lengths: batch.lengths() };
                sink.tap(tap).map_err(|source| BackboneError::Sink { layer: 4, source })?;
            }
            "engine" => {
                let source = "is out of order".into();
                return Err(BackboneError::Engine { engine: "test", source });
            }
            _ => (),
        }
        Ok(match what {
            "own lost" | "no own" => None,
            "own narrow" => Some(Array2::zeros((batch.samples(), 1))),
            _ => own,
        })
    }
}

/// Options of a fake with a head of its own.
fn fake() -> Value {
    json!({ "layers": 4, "hidden": 6, "own_outputs": 2, "pooling": "last-token" })
}

fn context(taps: &[usize]) -> BackboneContext {
    BackboneContext {
        bundle: "folder".into(),
        taps: taps.to_vec(),
        label_tokens: Vec::new(),
        libraries: NativeLibraries::default(),
    }
}

type Config = Box<dyn BackboneConfig>;

fn mischief(what: &str) -> Config {
    loaded("test.mischief", &json!({ "what": what }))
}

/// The layers that arrive with their hidden states `[batch, tokens, hidden]`, and the own prediction.
type Passed = (Vec<(usize, Array3<f32>)>, OwnPrediction);

fn pass(backbone: &mut dyn Backbone) -> Result<Passed, BackboneError> {
    let mut taps = Vec::new();
    let mut sink = |tap: Tap<'_>| {
        taps.push((tap.layer, tap.hidden.to_owned()));
        Ok(())
    };
    let own = backbone.forward(&batch(), &ForwardContext::default(), &mut sink)?;
    Ok((taps, own))
}

#[test]
fn the_laws_hold() {
    for own_outputs in [None, Some(3)] {
        let options = json!({
            "layers": 3, "hidden": 8, "own_outputs": own_outputs, "layer_milliseconds": 1
        });
        let build =
            |taps: &[usize]| loaded::<Config>("fake", &options).build(&context(taps)).unwrap();
        mobillm_testkit::backbone::conformance(&build);
    }
}

#[test]
fn it_computes_what_it_computes_when_linked() {
    for (taps, label_tokens) in [(&[0, 2, 4][..], &[][..]), (&[4], &[7, 8, 9]), (&[], &[])] {
        let context = BackboneContext { label_tokens: label_tokens.to_vec(), ..context(taps) };
        let build = |config: Config| config.build(&context).unwrap();
        let mut loaded = build(loaded("fake", &fake()));
        let mut native = build(native("fake", &fake()));
        assert_eq!((loaded.info(), loaded.taps()), (native.info(), native.taps()));
        assert_eq!(pass(&mut *loaded).unwrap(), pass(&mut *native).unwrap());
    }
}

#[test]
fn findings_are_those_of_the_config() {
    for layers in [3, 4] {
        let info = BackboneInfo { layers, ..info() };
        let [loaded, native] = [loaded("fake", &fake()), native("fake", &fake())];
        let of = |config: Config| config.check(&info);
        assert_eq!(of(loaded), of(native));
    }
    let found = loaded::<Config>("fake", &json!({ "layers": "two" })).check(&info());
    assert!(found[0].message.contains("backbone `fake` of mobillm-plugin"), "{found:?}");
    assert!(found[0].message.contains("check: the options: invalid type"), "{found:?}");
}

#[test]
fn a_tap_crosses_without_a_copy() {
    let mut backbone = mischief("nothing").build(&context(&[1, 3])).unwrap();
    let mut arrived = 0;
    let mut sink = |tap: Tap<'_>| {
        assert_eq!(SEEN.get(), tap.hidden.as_ptr().addr());
        arrived += 1;
        Ok(())
    };
    backbone.forward(&batch(), &ForwardContext::default(), &mut sink).unwrap();
    assert_eq!(arrived, 2);
}

/// What the plugin's failure says.
fn said<T>(result: Result<T, BackboneError>) -> String {
    match result.err() {
        Some(error @ BackboneError::Plugin(_)) => error.to_string(),
        other => panic!("expected an error of the plugin, got {other:?}"),
    }
}

#[test]
fn an_info_that_cannot_be_is_not_believed() {
    let of = |what: &str| said(mischief(what).build(&context(&[1, 3])));
    for (what, problem) in [
        ("few layers", "layer 3 is tapped, but the model has layers 0 to 1"),
        ("no width", "`hidden` is 0"),
        ("no outputs", "`own_outputs` is Some(0)"),
    ] {
        let said = of(what);
        assert!(said.starts_with("backbone `test.mischief` of mobillm-plugin"), "{said}");
        assert!(said.contains("info gave something wrong"), "{said}");
        assert!(said.contains(problem), "{what}: {said}");
    }
    let context = BackboneContext { label_tokens: vec![1, 2, 3], ..context(&[1]) };
    let said = said(mischief("no own").build(&context));
    assert!(said.contains("`own_outputs` is None for 3 label tokens"), "{said}");
    assert!(of("no bundle").contains("build failed: bundle folder: is not there; 2 taps"));
}

#[test]
fn what_breaks_a_law_is_told_with_its_name() {
    for (what, problem) in [
        ("backwards", "tap 0 is layer 3: expected layer 1"),
        ("twice", "tap 1 is layer 1: expected layer 3"),
        ("one more", "tap 2 is layer 4: expected no more"),
        ("last one lost", "layer 3 did not come"),
        ("narrow", "layer 1: its hidden state is (3, 5, 5), expected (3, 5, 6)"),
        ("short", "its lengths are not those of the batch"),
        ("own lost", "the own prediction did not come"),
        ("own narrow", "the own prediction: it is (3, 1), expected (3, 2)"),
        ("own unasked", "the own prediction: `info` says that there is none"),
    ] {
        let mut backbone = mischief(what).build(&context(&[1, 3])).unwrap();
        for _ in 0..2 {
            let said = said(pass(&mut *backbone));
            let name = "backbone `test.mischief` of mobillm-plugin";
            assert!(said.starts_with(name), "{said}");
            assert!(said.contains("forward gave something wrong"), "{said}");
            assert!(said.contains(problem), "{what}: {said}");
        }
    }
    for (what, problem) in [
        ("engine", "forward failed: test: is out of order"),
        // The kit does not let it cross.
        (
            "fewer",
            "forward failed: layer 1 could not be passed on: expected the lengths of 3 samples",
        ),
    ] {
        let mut backbone = mischief(what).build(&context(&[1, 3])).unwrap();
        let said = said(pass(&mut *backbone));
        assert!(said.contains(problem), "{what}: {said}");
    }
}

#[test]
fn an_instance_that_panicked_is_not_called_again() {
    let config = mischief("panic");
    let mut backbone = config.build(&context(&[1])).unwrap();
    let first = said(pass(&mut *backbone));
    assert!(first.contains("forward panicked: from forward; the instance is not used"), "{first}");
    let second = said(pass(&mut *backbone));
    assert!(second.contains("forward was not called, because forward panicked before"), "{second}");
    let mut another = config.build(&context(&[1])).unwrap();
    assert!(said(pass(&mut *another)).contains("from forward"), "another one is called");
}

#[test]
fn the_sinks_error_is_kept_whatever_the_backbone_makes_of_it() {
    let mut backbone = mischief("deaf").build(&context(&[1, 2, 3])).unwrap();
    let mut layers = Vec::new();
    let mut sink = |tap: Tap<'_>| {
        layers.push(tap.layer);
        if tap.layer == 2 { Err(BoxError::from(std::fmt::Error)) } else { Ok(()) }
    };
    match backbone.forward(&batch(), &ForwardContext::default(), &mut sink) {
        Err(BackboneError::Sink { layer: 2, source }) => assert!(source.is::<std::fmt::Error>()),
        other => panic!("expected the sink's error, got {other:?}"),
    }
    assert_eq!(layers, [1, 2], "nothing is passed on behind it");
}

#[test]
fn a_batch_that_does_not_fit_does_not_cross() {
    let mut backbone = mischief("panic").build(&context(&[1])).unwrap();
    let batch = TokenBatch::new(&[Tokens::default()], 0);
    let refused = backbone.forward(&batch, &ForwardContext::default(), &mut |_: Tap<'_>| Ok(()));
    assert!(matches!(refused, Err(BackboneError::Batch { sample: 0, .. })), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let bundle = std::ffi::OsStr::from_bytes(b"fold\xffer").into();
    let refused = mischief("nothing").build(&BackboneContext { bundle, ..context(&[1]) }).err();
    assert!(matches!(&refused, Some(BackboneError::Bundle { .. })), "{refused:?}");
    assert!(refused.unwrap().to_string().contains("cannot cross to a plugin"));
}
