//! An answer is a finite number or an error that says of which text or row and what to do.

use std::cell::Cell;
use std::fs;
use std::path::Path;

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

/// The policy `labels`, one of whose answers is as it is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OddConfig {
    answers: Answers,
    /// Answers before that one.
    after: usize,
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
        Box::new(Odd { config: *self, answered: Cell::new(0) })
    }
}

struct Odd {
    config: OddConfig,
    answered: Cell<usize>,
}

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
        let answered = self.answered.replace(self.answered.get() + 1);
        match self.config.answers {
            _ if answered != self.config.after => {}
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

fn odd(answers: &str, after: usize) -> String {
    format!("device.privacy={{type=\"odd\", answers=\"{answers}\", after={after}}}")
}

/// Texts that go forward in another order, the shortest first, and in two micro-batches.
const TEXTS: [&str; 6] = [
    "the good tap gets out early",
    "bad",
    "a good tap gets",
    "bad layer",
    "the bad tap gets out",
    "a bad tap",
];

/// Their indices in that order.
const ORDER: [usize; 6] = [1, 3, 5, 2, 4, 0];

/// A file of them, each on its line behind the header.
fn write_rows(path: &Path) {
    let mood = |text: &str| if text.contains("good") { "happy" } else { "sad" };
    let rows = TEXTS.map(|text| format!("{text}\t{}\n", mood(text))).concat();
    fs::write(path, format!("text\tmood\n{rows}")).unwrap();
}

/// What is said when the run `run` answers [`TEXTS`], and when it scores `file`.
fn errors(setup: &Setup, file: &Path) -> [String; 2] {
    let open = || Trained::open(&setup.path("run"), &setup.environment).unwrap();
    let answered = open().answer(&TEXTS.map(|text| (text, None)));
    let watch = Watch { observer: &Unobserved, stop: Stop::default() };
    let scored = open().evaluate(file, &watch);
    let is_of_an_answer = |error: RunError| {
        assert!(matches!(error, RunError::Answer { .. }), "{error}");
        error.to_string()
    };
    [is_of_an_answer(answered.unwrap_err()), is_of_an_answer(scored.unwrap_err())]
}

const ODD: [(&str, &str); 2] = [
    ("refused", "policy odd: it is not the day for it"),
    ("infinite", "output 1 is inf once the policy of `device.privacy` has combined it"),
];

#[test]
fn a_policy_that_cannot_combine_ends_predict_and_eval() {
    let setup = setup();
    let sound = odd("sound", 0);
    setup.run(&[&sound, "training.epochs=1"], "run").unwrap();
    let config = setup.path("run/config.toml");
    let written = fs::read_to_string(&config).unwrap();
    let rows = setup.path("rows.tsv");
    write_rows(&rows);
    for (answers, expected) in ODD {
        for (after, at) in ORDER.into_iter().enumerate() {
            let told = written.replace("\"sound\"", &format!("\"{answers}\""));
            let told = told.replace("after = 0", &format!("after = {after}"));
            fs::write(&config, told).unwrap();
            let [text, row] = errors(&setup, &rows);
            let said = format!("text {}: {expected}", at + 1);
            assert!(text.starts_with(&said), "{said:?} does not begin {text:?}");
            let said = format!("{}:{}: {expected}", rows.display(), at + 2);
            assert!(row.starts_with(&said), "{said:?} does not begin {row:?}");
        }
    }
}

#[test]
fn a_policy_that_cannot_combine_ends_the_run_that_evaluates_with_it() {
    let setup = setup();
    let rows = setup.path("rows.tsv");
    write_rows(&rows);
    for (answers, expected) in ODD {
        for after in [1, 4] {
            let held_out = format!("task.held_out={rows:?}");
            let sets = [&*odd(answers, after), &held_out];
            let out = format!("{answers}-{after}");
            let error = setup.run(&sets, &out).unwrap_err().to_string();
            let said = format!("{}:{}: {expected}", rows.display(), ORDER[after] + 2);
            assert!(error.starts_with(&said), "{said:?} does not begin {error:?}");
        }
    }
    // Rows that are held out of the data itself have their places in there.
    let error = setup.run(&[&odd("refused", 0)], "share").unwrap_err().to_string();
    let place = error.strip_prefix(&format!("{}:", setup.path("toy.tsv").display())).unwrap();
    let (line, said) = place.split_once(": ").unwrap();
    assert!((2..=61).contains(&line.parse().unwrap()) && said == ODD[0].1, "{error}");
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
    let rows = setup.path("rows.tsv");
    write_rows(&rows);
    let row = format!("{}:{}", rows.display(), ORDER[0] + 2);
    for (asked, error) in ["text 2", &row].into_iter().zip(errors(&setup, &rows)) {
        let said = format!("{asked}: output 0 of the side network is ");
        assert!(error.starts_with(&said), "{said:?} does not begin {error:?}");
        assert!(error.contains("lower `training.optimizer.learning_rate`"), "{error}");
    }
}
