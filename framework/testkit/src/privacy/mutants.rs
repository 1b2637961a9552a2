//! The suite passes sound policies and finds each way to break one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mobillm_core::activations::SelectedMut;
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::{PolicyError, PolicyInfo, Supervision};
use mobillm_core::sample::Truth;
use mobillm_privacy::{LabelsConfig, PredictionDifferenceConfig};
use serde::{Deserialize, Serialize};

use super::*;
use crate::law::Verdict;

const CLASSES: Objective = Objective::Classification { classes: 3 };

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Does not say what it guarantees.
    Silent,
    /// Announces another kind of supervision than it releases.
    Liar,
    /// Says that all its answers are probabilities.
    AlwaysProbability,
    /// Scales a row by how many there are in the batch.
    Mates,
    /// Draws its noise anew with every release.
    Redrawn,
    /// Draws its noise anew after a resume.
    Forgetful,
    /// Adds more noise with every prediction.
    Spends,
    /// Releases what is not finite.
    Infinite,
    /// Says nothing of the truth.
    Untold,
    /// Names the next class.
    Beyond,
    /// Tells own prediction less truth.
    Reversed,
    /// Leaves the last number out.
    Short,
    /// Takes any truth.
    Credulous,
    /// Takes any own prediction.
    AnyOwn,
    /// Adds the own prediction once more.
    AddsOwn,
    /// Subtracts what the side network says.
    Subtracts,
    /// Takes the side network's word where it should add.
    Deaf,
    /// Rounds its answers, and gives what is left over to the largest.
    Rounds,
}

/// A sound policy with one thing broken.
struct Broken {
    sound: Box<dyn PrivacyPolicy>,
    fault: Fault,
    noise: f32,
    predictions: f32,
}

impl Broken {
    fn new(sound: Box<dyn PrivacyPolicy>, fault: Fault) -> Self {
        Self { sound, fault, noise: noise(), predictions: 0.0 }
    }
}

fn noise() -> f32 {
    (RandomState::new().hash_one(0) % 1000) as f32
}

impl PrivacyPolicy for Broken {
    fn info(&self) -> PolicyInfo {
        let mut info = self.sound.info();
        match self.fault {
            Fault::Silent => info.guarantee.clear(),
            Fault::Liar => info.supervision = Some(SupervisionKind::TruthAndOwn),
            Fault::AlwaysProbability => info.answers = AnswerScale::Probability,
            _ => {}
        }
        info
    }

    fn activations(
        &mut self,
        context: &ReleaseContext<'_>,
        selected: &mut SelectedMut<'_>,
    ) -> Result<(), PolicyError> {
        let rows = selected.layout().rows() as f32;
        if self.fault == Fault::Spends && context.purpose == Purpose::Predict {
            self.predictions += 1.0;
        }
        match self.fault {
            Fault::Mates => selected.rows_mut().mapv_inplace(|value| value / rows),
            Fault::Redrawn => selected.rows_mut().map_inplace(|value| *value += noise()),
            Fault::Forgetful => selected.rows_mut().map_inplace(|value| *value += self.noise),
            Fault::Spends => selected.rows_mut().mapv_inplace(|value| value + self.predictions),
            Fault::Infinite => selected.rows_mut().fill(f32::INFINITY),
            _ => {}
        }
        Ok(())
    }

    fn supervise(
        &mut self,
        sample: SampleId,
        truth: Truth,
        own: &[f32],
    ) -> Result<Option<Supervision>, PolicyError> {
        let told = match self.sound.supervise(sample, truth, own) {
            Err(_) if self.fault == Fault::Credulous => Some(Supervision::Label(0)),
            Err(_) if self.fault == Fault::AnyOwn => {
                self.sound.supervise(sample, truth, &[0.0; 3])?
            }
            told => told?,
        };
        Ok(match (told, self.fault) {
            (_, Fault::Untold) => None,
            (Some(Supervision::Label(class)), Fault::Beyond) => Some(Supervision::Label(class + 1)),
            (Some(Supervision::Difference(mut values)), Fault::Reversed) => {
                values.iter_mut().for_each(|value| *value = -*value);
                Some(Supervision::Difference(values))
            }
            (Some(Supervision::Difference(mut values)), Fault::Short) => {
                values.pop();
                Some(Supervision::Difference(values))
            }
            (told, _) => told,
        })
    }

    fn combine(&self, own: &[f32], side: &mut [f32]) -> Result<(), PolicyError> {
        match self.fault {
            Fault::Deaf => return Ok(()),
            Fault::Subtracts => side.iter_mut().for_each(|side| *side = -*side),
            Fault::AddsOwn => side.iter_mut().zip(own).for_each(|(side, own)| *side += own),
            _ => {}
        }
        self.sound.combine(own, side)?;
        if self.fault == Fault::Rounds {
            let whole: f32 = side.iter().sum();
            side.iter_mut().for_each(|side| *side = (*side * 1024.0).round() / 1024.0);
            let left_over = whole - side.iter().sum::<f32>();
            if let Some(largest) = side.iter_mut().max_by(|a, b| a.total_cmp(b)) {
                *largest += left_over;
            }
        }
        Ok(())
    }
}

fn all_laws(config: &dyn PrivacyPolicyConfig, objective: Objective, fault: Fault) {
    let build = |objective: &Objective| -> Box<dyn PrivacyPolicy> {
        Box::new(Broken::new(config.build(objective), fault))
    };
    hold_all(&suite(|| vec![objective], build));
}

const LABELS: LabelsConfig = LabelsConfig { own_prediction: false };
const WITH_OWN: LabelsConfig = LabelsConfig { own_prediction: true };

#[test]
fn sound_policies_pass() {
    let difference = PredictionDifferenceConfig::default();
    for objective in [CLASSES, Objective::Regression] {
        all_laws(&LABELS, objective, Fault::Nothing);
        all_laws(&difference, objective, Fault::Nothing);
    }
    all_laws(&WITH_OWN, CLASSES, Fault::Nothing);
}

#[test]
fn each_fault_breaks_its_law() {
    let difference = PredictionDifferenceConfig::default();
    let labels: &dyn PrivacyPolicyConfig = &LABELS;
    let with_own: &dyn PrivacyPolicyConfig = &WITH_OWN;
    let difference: &dyn PrivacyPolicyConfig = &difference;
    for (config, objective, fault, law) in [
        (labels, CLASSES, Fault::Silent, "says what it guarantees"),
        (labels, CLASSES, Fault::Mates, "batch mates"),
        (labels, CLASSES, Fault::Redrawn, "batch mates"),
        (labels, CLASSES, Fault::Forgetful, "a resumed run"),
        (labels, CLASSES, Fault::Spends, "changes no later release"),
        (labels, CLASSES, Fault::Infinite, "released as finite rows"),
        (labels, CLASSES, Fault::Untold, "of the kind"),
        (labels, CLASSES, Fault::Liar, "of the kind"),
        (labels, CLASSES, Fault::Beyond, "fits a task"),
        (labels, CLASSES, Fault::Credulous, "is refused"),
        (labels, CLASSES, Fault::AddsOwn, "word is kept"),
        (labels, Objective::Regression, Fault::AlwaysProbability, "no probabilities"),
        (with_own, CLASSES, Fault::AlwaysProbability, "scale of probabilities"),
        (with_own, CLASSES, Fault::Deaf, "leaves the own ranking"),
        (with_own, CLASSES, Fault::AnyOwn, "own prediction that does not fit"),
        (difference, CLASSES, Fault::AnyOwn, "own prediction that does not fit"),
        (difference, CLASSES, Fault::Short, "fits a task"),
        (difference, CLASSES, Fault::Rounds, "leaves the own ranking"),
        (difference, CLASSES, Fault::Reversed, "gives the truth"),
        (difference, CLASSES, Fault::Subtracts, "gives the truth"),
        (difference, Objective::Regression, Fault::Reversed, "gives the truth"),
        (difference, Objective::Regression, Fault::Subtracts, "gives the truth"),
        (difference, Objective::Regression, Fault::AddsOwn, "leaves the own value"),
    ] {
        let broken = AssertUnwindSafe(|| all_laws(config, objective, fault));
        let Err(panic) = catch_unwind(broken) else { panic!("{fault:?} is not caught") };
        let message = match panic.downcast_ref::<&str>() {
            Some(message) => message,
            None => panic.downcast_ref::<String>().unwrap().as_str(),
        };
        assert!(message.contains(law), "{fault:?}: {law:?} is not in: {message}");
    }
}

#[test]
fn laws_are_held_for_the_tasks_that_a_policy_is_for() {
    #[derive(Debug, Serialize, Deserialize)]
    struct ForNothing;

    #[typetag::serde(name = "for-nothing")]
    impl PrivacyPolicyConfig for ForNothing {
        fn check(&self, _: &Objective) -> Vec<Diagnostic> {
            vec![Diagnostic::new("", "no")]
        }

        fn build(&self, _: &Objective) -> Box<dyn PrivacyPolicy> {
            unreachable!("it is for nothing")
        }
    }

    assert!(matches!(laws(&ForNothing)[0].run(), Verdict::Broken(_)));
    for law in laws(&WITH_OWN) {
        let is_exempt = matches!(law.run(), Verdict::Exempt(_));
        assert_eq!(is_exempt, law.name() == "the_side_network_has_the_word", "{law}");
    }
}
