//! Privacy policies behind the door.

use std::cell::Cell;

use mobillm_core::activations::{Layout, Selected, SelectedMut};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    AnswerScale, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, Purpose,
    ReleaseContext, Supervision, SupervisionKind, release, release_supervision,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::{Objective, SampleId, Truth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{loaded, native, panic};

/// Tells the difference and adds a sample's name to its rows, but for one thing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MischiefConfig {
    what: String,
}

impl Plugin for MischiefConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "test.mischief";
}

#[typetag::serde(name = "test.mischief")]
impl PrivacyPolicyConfig for MischiefConfig {
    fn check(&self, objective: &Objective) -> Vec<Diagnostic> {
        match &*self.what {
            "finding" => vec![Diagnostic::new("what", format!("not for {objective:?}"))],
            _ => Vec::new(),
        }
    }

    fn build(&self, _: &Objective) -> Box<dyn PrivacyPolicy> {
        match &*self.what {
            "panic in build" => panic("from build"),
            _ => Box::new(Mischief(self.what.clone())),
        }
    }
}

struct Mischief(String);

thread_local! {
    /// Where the last rows were, on the other side, and what they were for.
    static SEEN: Cell<Option<(usize, Purpose)>> = const { Cell::new(None) };
}

impl PrivacyPolicy for Mischief {
    fn info(&self) -> PolicyInfo {
        match &*self.0 {
            "panic in info" => panic("from info"),
            _ => PolicyInfo {
                supervision: Some(SupervisionKind::Difference),
                answers: AnswerScale::Raw,
                guarantee: "none".into(),
            },
        }
    }

    fn activations(
        &mut self,
        context: &ReleaseContext<'_>,
        selected: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        match &*self.0 {
            "refuse" => {
                let problem = format!("not layer {}", selected.layer());
                return Err(PolicyError::Refused { policy: "test.mischief", problem });
            }
            "not finite" => selected.values_mut().fill(f32::NAN),
            "panic" => panic("from activations"),
            _ => (),
        }
        SEEN.set(Some((selected.values_mut().as_ptr().addr(), context.purpose)));
        let layout = selected.layout();
        let mut rows = selected.rows_mut();
        for (sample, name) in context.samples.iter().enumerate() {
            for row in layout.range(sample) {
                rows.row_mut(row).map_inplace(|value| *value += name.0 as f32);
            }
        }
        Ok(())
    }

    fn supervise(
        &mut self,
        _: SampleId,
        _: Truth,
        own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        match &*self.0 {
            "nothing" => Ok(None),
            "too much" => Ok(Some(Supervision::Difference(vec![0.0; own.len() + 1]))),
            "another kind" => Ok(Some(Supervision::Label(1))),
            "panic" => panic("from supervise"),
            _ => Ok(Some(Supervision::Difference(own.to_vec()))),
        }
    }

    fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        match &*self.0 {
            "panic" => panic("from combine"),
            "refuse" => {
                let problem = "no answer today".to_owned();
                return Err(PolicyError::Refused { policy: "mischief", problem });
            }
            _ => side.copy_from_slice(own),
        }
        Ok(())
    }
}

const CLASSES: Objective = Objective::Classification { classes: 3 };
const NAME: &str = "privacy policy `test.mischief` of mobillm-plugin 0.1.0";

fn mischief(what: &str) -> Box<dyn PrivacyPolicy> {
    let config: Box<dyn PrivacyPolicyConfig> = loaded("test.mischief", &json!({ "what": what }));
    config.build(&CLASSES)
}

/// Samples of 2, 0 and 1 rows, `[3, 2]`.
fn selected() -> Selected {
    let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    Selected::new(4, Layout::from_counts([2, 0, 1]), 2, values).unwrap()
}

const SAMPLES: &[SampleId] = &[SampleId(10), SampleId(20), SampleId(30)];
const CONTEXT: ReleaseContext<'static> =
    ReleaseContext { samples: SAMPLES, purpose: Purpose::Train };

#[test]
fn ours_say_the_same_on_either_side() {
    let truths = [Truth::Class(0), Truth::Class(2), Truth::Value(0.3), Truth::Class(9)];
    let owns: [&[f32]; 4] = [&[0.1, -2.5, 1e-20], &[3e38, 3.1e38, -1.0], &[0.25], &[f32::NAN; 3]];
    for (tag, options) in [
        ("labels", json!({})),
        ("labels", json!({ "own_prediction": true })),
        ("prediction-difference", json!({})),
        ("prediction-difference", json!({ "clip": 0.125 })),
    ] {
        for objective in [CLASSES, Objective::Regression] {
            let here: Box<dyn PrivacyPolicyConfig> = native(tag, &options);
            let there: Box<dyn PrivacyPolicyConfig> = loaded(tag, &options);
            assert_eq!(here.check(&objective), there.check(&objective));
            let (mut here, mut there) = (here.build(&objective), there.build(&objective));
            assert_eq!(here.info(), there.info());
            for own in owns {
                for truth in truths {
                    let of = |policy: &mut dyn PrivacyPolicy| {
                        policy.supervise(SampleId(3), truth, own).map_err(|error| error.to_string())
                    };
                    assert_eq!(of(&mut *here), of(&mut *there), "{tag}, {truth:?}, {own:?}");
                }
                let answer = |policy: &dyn PrivacyPolicy| {
                    let mut side = vec![0.7; own.len()];
                    let combined =
                        policy.combine(own, &mut side).map_err(|error| error.to_string());
                    combined.map(|()| side.into_iter().map(f32::to_bits).collect::<Vec<_>>())
                };
                assert_eq!(answer(&*here), answer(&*there), "{tag}, {own:?}");
            }
        }
    }
}

#[test]
fn rows_are_changed_in_place() {
    let mut policy = mischief("");
    let before = selected();
    let at = before.values().as_ptr().addr();
    let cleared = release(&mut *policy, &CONTEXT, before).unwrap();
    assert_eq!(SEEN.get(), Some((at, Purpose::Train)), "the rows cross without a copy");
    let expected = ndarray::arr2(&[[10.0, 11.0], [12.0, 13.0], [34.0, 35.0]]);
    assert_eq!(cleared.rows(), expected);
    let context = ReleaseContext { purpose: Purpose::Predict, ..CONTEXT };
    release(&mut *policy, &context, selected()).unwrap();
    assert_eq!(SEEN.get().unwrap().1, Purpose::Predict);
}

#[test]
fn what_is_refused_says_who_and_why() {
    let error = |policy: &mut dyn PrivacyPolicy, context: &ReleaseContext<'_>| {
        release(policy, context, selected()).unwrap_err()
    };
    let refused = error(&mut *mischief("refuse"), &CONTEXT);
    assert!(matches!(refused, PolicyError::Refused { policy: "test.mischief", .. }));
    assert_eq!(refused.to_string(), "policy test.mischief: not layer 4");
    let not_finite = error(&mut *mischief("not finite"), &CONTEXT);
    assert!(matches!(not_finite, PolicyError::NotFinite { layer: 4, row: 0, .. }));
    let unnamed = ReleaseContext { samples: &SAMPLES[..1], ..CONTEXT };
    let unnamed = error(&mut *mischief(""), &unnamed).to_string();
    assert_eq!(unnamed, "policy test.mischief: 1 names for 3 samples");
}

#[test]
fn supervision_that_does_not_fit_is_not_released() {
    let told = |what: &str| {
        let own = [0.5, -0.5, 0.25];
        release_supervision(&mut *mischief(what), "it", SampleId(1), Truth::Class(1), &own)
    };
    let good = told("").unwrap();
    assert_eq!(good.supervision(), &Supervision::Difference(vec![0.5, -0.5, 0.25]));
    assert!(matches!(told("nothing"), Err(PolicyError::NoSupervision { policy: "it" })));
    assert!(matches!(told("another kind"), Err(PolicyError::Refused { policy: "it", .. })));
    let too_much = told("too much").unwrap_err().to_string();
    let expected = format!("{NAME}: supervise gave something wrong: the supervision has 4 numbers");
    assert!(too_much.starts_with(&expected), "{too_much}");
}

#[test]
fn a_panic_ends_at_the_door() {
    let mut policy = mischief("panic");
    let panicked = policy.activations(&CONTEXT, &mut selected().lend_mut()).unwrap_err();
    let expected = format!("{NAME}: activations panicked: from activations");
    assert!(panicked.to_string().starts_with(&expected), "{panicked}");
    let later = policy.supervise(SampleId(1), Truth::Class(0), &[0.0; 3]).unwrap_err();
    let expected = format!(
        "{NAME}: supervise was not called, because activations panicked before: from activations"
    );
    assert_eq!(later.to_string(), expected);

    let failed = mischief("panic").combine(&[0.5; 3], &mut [0.5; 3]).unwrap_err().to_string();
    assert!(failed.starts_with(&format!("{NAME}: combine panicked: from combine")), "{failed}");
    let refused = mischief("refuse").combine(&[0.5; 3], &mut [0.5; 3]).unwrap_err();
    assert!(
        matches!(&refused, PolicyError::Refused { problem, .. } if problem == "no answer today")
    );
}

#[test]
fn what_cannot_be_built_is_a_finding_and_lets_nothing_out() {
    let config =
        |options: Value| -> Box<dyn PrivacyPolicyConfig> { loaded("test.mischief", &options) };
    let found = config(json!({ "what": "finding" })).check(&CLASSES);
    let expected = format!("not for {CLASSES:?}");
    assert_eq!(found, [Diagnostic::new("what", expected)]);
    for (options, problem) in [
        (json!({ "what": "panic in build" }), "build panicked: from build"),
        (json!({ "what": "panic in info" }), "info panicked: from info"),
        (json!({ "what": 3 }), "the options: invalid type: integer `3`"),
    ] {
        let found = config(options.clone()).check(&CLASSES);
        assert!(found[0].message.contains(problem), "{found:?}");
        let mut policy = config(options).build(&CLASSES);
        let error = release(&mut *policy, &CONTEXT, selected()).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert!(policy.supervise(SampleId(1), Truth::Class(0), &[0.0; 3]).is_err());
        assert!(policy.info().guarantee.contains(problem));
    }
}
