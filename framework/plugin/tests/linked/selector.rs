//! Selectors behind the door.

use std::cell::Cell;

use mobillm_core::activations::{Layout, Selected};
use mobillm_core::backbone::{BackboneInfo, Tap};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::selector::{Selector, SelectorConfig, SelectorError};
use ndarray::Array3;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{info, loaded, native, panic};

/// Selects the first token of each sample, but for one thing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MischiefConfig {
    what: String,
}

impl Plugin for MischiefConfig {
    const SLOT: Slot = Slot::Selector;
    const TAG: &'static str = "test.mischief";
}

#[typetag::serde(name = "test.mischief")]
impl SelectorConfig for MischiefConfig {
    fn check(&self, info: &BackboneInfo) -> Vec<Diagnostic> {
        match &*self.what {
            "finding" => {
                let message = format!("not for {} layers", info.layers);
                vec![Diagnostic::new("what", message).expected("7").help("take another model")]
            }
            "panic in check" => panic("from check"),
            _ => Vec::new(),
        }
    }

    fn build(&self, _: &BackboneInfo) -> Box<dyn Selector> {
        match &*self.what {
            "panic in build" => panic("from build"),
            _ => Box::new(Mischief(self.what.clone())),
        }
    }
}

struct Mischief(String);

thread_local! {
    /// Where the hidden state of the last tap was, on the other side.
    static SEEN: Cell<usize> = const { Cell::new(0) };
}

impl Selector for Mischief {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        match &*self.0 {
            "no layers" => Vec::new(),
            "descending" => vec![2, 1],
            "beyond" => vec![info.layers + 1],
            "panic in layers" => panic("from layers"),
            "panic for another model" if info.layers != 4 => panic("from layers"),
            _ => vec![2],
        }
    }

    fn rows(&self, tokens: usize) -> usize {
        match &*self.0 {
            "at most" => tokens,
            "panic in rows" => panic("from rows"),
            "count" | "disorder" => tokens.min(2),
            _ => 1,
        }
    }

    fn is_fixed(&self) -> bool {
        self.0 != "at most"
    }

    fn select(&self, tap: &Tap<'_>, _: Vec<f32>) -> Result<Selected, SelectorError> {
        SEEN.set(tap.hidden.as_ptr().addr());
        let mut layout = Layout::empty();
        let width = tap.hidden.dim().2 - usize::from(self.0 == "narrow");
        for &length in tap.lengths {
            match &*self.0 {
                "padding" => layout.push([length as u32]),
                "disorder" => layout.push([1, 0]),
                "error" => {
                    let problem = "is not to my taste".to_owned();
                    return Err(SelectorError::Tap { layer: tap.layer, problem });
                }
                "panic" => panic("from select"),
                _ => layout.push([0]),
            }
        }
        if self.0 == "samples" {
            layout.push([]);
        }
        let values = vec![0.5; layout.rows() * width];
        Ok(Selected::new(tap.layer, layout, width, values)?)
    }
}

/// The samples are of 3 and 5 tokens.
fn hidden() -> Array3<f32> {
    Array3::from_shape_fn((2, 5, 6), |(sample, token, column)| {
        (sample * 100 + token * 10 + column) as f32
    })
}

fn mischief(what: &str) -> Box<dyn SelectorConfig> {
    loaded("test.mischief", &json!({ "what": what }))
}

fn ours() -> [(&'static str, Value); 6] {
    [
        ("all", json!({})),
        ("all", json!({ "embedding": true })),
        ("loss-tokens", json!({})),
        ("every-nth-layer", json!({ "n": 3 })),
        ("every-nth-layer", json!({ "n": 2, "tokens": { "type": "loss-tokens" } })),
        ("chosen-layers", json!({ "layers": [1, 3] })),
    ]
}

#[test]
fn the_laws_hold() {
    for (tag, options) in ours() {
        mobillm_testkit::selector::conformance(&*loaded::<Box<dyn SelectorConfig>>(tag, &options));
    }
}

#[test]
fn it_selects_what_it_selects_when_linked() {
    let hidden = hidden();
    let tap = Tap { layer: 2, hidden: hidden.view(), lengths: &[3, 5] };
    for (tag, options) in ours() {
        let loaded: Box<dyn SelectorConfig> = loaded(tag, &options);
        let native: Box<dyn SelectorConfig> = native(tag, &options);
        assert_eq!(loaded.check(&info()), native.check(&info()), "{tag}");
        let (loaded, native) = (loaded.build(&info()), native.build(&info()));
        for layers in [4, 5] {
            let info = BackboneInfo { layers, ..info() };
            assert_eq!(loaded.layers(&info), native.layers(&info), "{tag}");
        }
        assert_eq!(loaded.is_fixed(), native.is_fixed(), "{tag}");
        assert_eq!([0, 1, 9].map(|n| loaded.rows(n)), [0, 1, 9].map(|n| native.rows(n)), "{tag}");
        let [got, expected] = [loaded, native].map(|s| s.select(&tap, Vec::new()).unwrap());
        assert_eq!(got, expected, "{tag}");
    }
}

#[test]
fn a_tap_crosses_without_a_copy_and_memory_is_used_again() {
    let hidden = hidden();
    let tap = Tap { layer: 2, hidden: hidden.view(), lengths: &[3, 5] };
    let memory = Vec::with_capacity(100);
    let at = memory.as_ptr();
    let selected = mischief("nothing").build(&info()).select(&tap, memory).unwrap();
    assert_eq!(SEEN.get(), hidden.as_ptr().addr());
    let values = selected.into_values();
    assert_eq!(values.as_ptr(), at);
}

#[test]
fn findings_keep_their_parts() {
    let expected = MischiefConfig { what: "finding".into() }.check(&info());
    assert_eq!(mischief("finding").check(&info()), expected);
    let wrong: Box<dyn SelectorConfig> = loaded("test.mischief", &json!({ "which": "one" }));
    let found = wrong.check(&info());
    assert!(found[0].message.contains("the options: unknown field `which`"), "{found:?}");
    let unknown: Box<dyn SelectorConfig> = loaded("acme.none", &json!({}));
    assert!(unknown.check(&info())[0].message.contains("it is not loaded"));
}

#[test]
fn a_config_is_written_as_it_was_read() {
    let config = json!({ "type": "loaded", "tag": "all", "options": { "embedding": true } });
    let read: Box<dyn SelectorConfig> = serde_json::from_value(config.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), config);
}

/// What selecting says.
fn said(selector: &dyn Selector) -> String {
    let hidden = hidden();
    let tap = Tap { layer: 2, hidden: hidden.view(), lengths: &[3, 5] };
    match selector.select(&tap, Vec::new()) {
        Err(error @ SelectorError::Plugin(_)) => error.to_string(),
        other => panic!("expected an error of the plugin, got {other:?}"),
    }
}

#[test]
fn what_cannot_be_built_is_found_by_check_and_says_why() {
    for (what, problem) in [
        ("panic in check", "check panicked: from check"),
        ("panic in build", "build panicked: from build"),
        ("panic in layers", "layers panicked: from layers"),
        ("panic in rows", "rows panicked"),
        (
            "no layers",
            "layers gave something wrong: the layers [], expected at least one of 0 to 4",
        ),
        ("descending", "the layers [2, 1]"),
        ("beyond", "the layers [5]"),
    ] {
        let config = mischief(what);
        let found = config.check(&info());
        assert_eq!(found.len(), 1, "{what}");
        let name = "selector `test.mischief` of mobillm-plugin";
        assert!(found[0].message.starts_with(name), "{found:?}");
        assert!(found[0].message.contains(problem), "{what}: {found:?}");
        if what != "panic in check" {
            let unbuilt = config.build(&info());
            assert_eq!((unbuilt.layers(&info()), unbuilt.rows(3)), (vec![], 0));
            assert!(said(&*unbuilt).contains(problem), "{what}");
        }
    }
}

#[test]
fn what_breaks_a_law_is_told_with_its_name() {
    for (what, problem) in [
        ("error", "select: layer 2: is not to my taste"),
        ("count", "select gave something wrong: sample 0 has 1 rows, expected 2 as `rows` says"),
        ("padding", "sample 0 has a row of token 3, but 3 tokens"),
        ("disorder", "the positions of sample 0 are not ascending"),
        ("narrow", "rows of 5 values, expected 6"),
        ("samples", "a layout of 3 samples, expected 2"),
    ] {
        let selector = mischief(what).build(&info());
        for _ in 0..2 {
            let said = said(&*selector);
            assert!(said.starts_with("selector `test.mischief` of mobillm-plugin"), "{said}");
            assert!(said.contains(problem), "{what}: {said}");
        }
    }
}

#[test]
fn rows_that_are_not_fixed_may_be_fewer() {
    let hidden = hidden();
    let tap = Tap { layer: 2, hidden: hidden.view(), lengths: &[3, 5] };
    let selector = mischief("at most").build(&info());
    assert!(!selector.is_fixed());
    assert_eq!(selector.select(&tap, Vec::new()).unwrap().rows().dim(), (2, 6));
}

#[test]
fn an_instance_that_panicked_is_not_called_again() {
    let config = mischief("panic");
    let selector = config.build(&info());
    assert!(said(&*selector).contains("select panicked: from select; the instance is not used"));
    assert!(
        said(&*selector)
            .contains("rows was not called, because select panicked before: from select")
    );
    assert_eq!((selector.rows(3), selector.layers(&info())), (0, vec![2]));
    assert!(said(&*config.build(&info())).contains("from select"), "another one is called");

    let selector = mischief("panic for another model").build(&info());
    assert!(selector.layers(&BackboneInfo { layers: 3, ..info() }).is_empty());
}

#[test]
fn a_tap_that_does_not_fit_does_not_cross() {
    let hidden = hidden();
    let selector = mischief("nothing").build(&info());
    for lengths in [&[3][..], &[3, 6]] {
        let tap = Tap { layer: 2, hidden: hidden.view(), lengths };
        let refused = selector.select(&tap, Vec::new());
        assert!(matches!(refused, Err(SelectorError::Tap { layer: 2, .. })), "{refused:?}");
    }
}
