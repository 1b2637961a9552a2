//! An answer is a finite number or an error that says of which sample and what to do.

use std::fs;

use mobillm::progress::{Unobserved, Watch};
use mobillm::trained::Trained;
use mobillm::{RunError, Stop};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{
    AnswerScale, PolicyError, PolicyInfo, PrivacyPolicy, PrivacyPolicyConfig, Supervision,
    SupervisionKind,
};
use mobillm_core::registry::{Plugin, Slot};
use mobillm_core::sample::{Objective, SampleId, Truth};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setup::Setup;

/// The policy `labels`, whose answers are as it is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OddConfig {
    answers: Answers,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Answers {
    Sound,
    Refused,
    Infinite,
}

impl Plugin for OddConfig {
    const SLOT: Slot = Slot::PrivacyPolicy;
    const TAG: &'static str = "odd";
}

#[typetag::serde(name = "odd")]
impl PrivacyPolicyConfig for OddConfig {
    fn check(&self, _: &Objective) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self, _: &Objective) -> Box<dyn PrivacyPolicy> {
        Box::new(Odd(self.answers))
    }
}

struct Odd(Answers);

impl PrivacyPolicy for Odd {
    fn info(&self) -> PolicyInfo {
        let supervision = Some(SupervisionKind::Truth);
        PolicyInfo { supervision, answers: AnswerScale::Raw, guarantee: "none".into() }
    }

    fn supervise(
        &mut self,
        _: SampleId,
        truth: Truth,
        _: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        Ok(match truth {
            Truth::Class(class) => Some(Supervision::Label(class)),
            Truth::Value(value) => Some(Supervision::Value(value)),
        })
    }

    fn combine(&self, _: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        match self.0 {
            Answers::Sound => {}
            Answers::Infinite => side[1] = f32::INFINITY,
            Answers::Refused => {
                let problem = "it is not the day for it".to_owned();
                return Err(PolicyError::Refused { policy: "odd", problem });
            }
        }
        Ok(())
    }
}

fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.environment.registry.register::<OddConfig>("test").unwrap();
    setup
}

fn odd(answers: &str) -> String {
    format!("device.privacy={{type=\"odd\", answers=\"{answers}\"}}")
}

/// What is said when the run `run` answers two texts, and when it is scored.
fn errors(setup: &Setup) -> [String; 2] {
    let mut trained = Trained::open(&setup.path("run"), &setup.environment).unwrap();
    let answered = trained.answer(&[("the good tap", None), ("bad layer out", None)]);
    let watch = Watch { observer: &Unobserved, stop: Stop::default() };
    let scored = trained.evaluate(&setup.path("toy.tsv"), &watch);
    let is_of_an_answer = |error: RunError| {
        assert!(matches!(error, RunError::Answer { .. }), "{error}");
        error.to_string()
    };
    [is_of_an_answer(answered.unwrap_err()), is_of_an_answer(scored.unwrap_err())]
}

#[test]
fn a_policy_that_cannot_combine_ends_predict_and_eval() {
    let setup = setup();
    setup.run(&[&odd("sound")], "run").unwrap();
    let config = setup.path("run/config.toml");
    let written = fs::read_to_string(&config).unwrap();
    for (answers, expected) in [
        ("refused", "policy odd: it is not the day for it"),
        ("infinite", "output 1 is inf once the policy of `device.privacy` has combined it"),
    ] {
        fs::write(&config, written.replace("\"sound\"", &format!("\"{answers}\""))).unwrap();
        for error in errors(&setup) {
            assert!(error.starts_with(&format!("sample 1: {expected}")), "{error}");
        }
    }
}

#[test]
fn a_policy_that_cannot_combine_ends_the_run_that_evaluates_with_it() {
    let setup = setup();
    for (answers, expected) in [("refused", "not the day for it"), ("infinite", "output 1 is inf")]
    {
        let error = setup.run(&[&odd(answers)], answers).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_side_network_of_no_numbers_gives_no_answer() {
    let setup = setup();
    setup.run(&[], "run").unwrap();
    let path = setup.path("run/adapter.safetensors");
    let mut adapter = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(adapter[..8].try_into().unwrap()) as usize;
    // Finite, but no sum of them is: what holds NaN is not even read.
    adapter[8 + header..].fill(0x7f);
    fs::write(&path, adapter).unwrap();
    for error in errors(&setup) {
        assert!(error.starts_with("sample 1: output 0 of the side network is "), "{error}");
        assert!(error.contains("lower `training.optimizer.learning_rate`"), "{error}");
    }
}
