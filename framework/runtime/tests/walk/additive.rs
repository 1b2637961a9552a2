//! What the side network adds to the device's own prediction.

use mobillm::assembly::Assembly;
use mobillm::device::own::prior;
use mobillm::device::{Evaluation, HeldOut};
use mobillm::pipeline::prepare;
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::sample::SampleId;
use mobillm_task::Scores;

use crate::setup::{Notes, Setup};

const ADDITIVE: &str =
    "server.side_network={type=\"candle\", architecture={type=\"additive-adapter\", rank=8}}";
const DIFFERENCE: &str = "device.privacy={type=\"prediction-difference\"}";
const LABELS_AND_OWN: &str = "device.privacy={type=\"labels\", own_prediction=true}";
const HEAD: &str = "device.backbone.own_outputs=2";

/// The scores of the device alone, and with a side network that has not been trained.
fn at_step_0(setup: &Setup, sets: &[&str]) -> (Scores, Scores) {
    let loaded = setup.load(sets);
    let (config, watch) = (&loaded.config, Notes::default());
    let (assembly, prepared) = prepare(&loaded, &setup.environment, &watch.watch()).unwrap();
    let own = assembly.own(prior(&assembly.objective, &prepared.train.truths));
    let mut path = assembly.tap_path(config, &setup.environment, own).unwrap();
    let evaluation = Evaluation {
        quantizer: assembly.quantizer.clone(),
        policy: config.device.privacy.build(&assembly.objective),
        task: config.task.clone(),
    };
    let names: Vec<SampleId> = (0..prepared.held_out.tokens.len() as u64).map(SampleId).collect();
    let (rows, size) = (&prepared.held_out, config.device.micro_batch());
    let folder = tempfile::tempdir().unwrap();
    let mut held_out =
        HeldOut::forward(folder.path(), &mut path, evaluation, rows, &names, size, &watch.watch())
            .unwrap();
    let network = config.server.side_network.build(&assembly.side_network(1)).unwrap();
    (held_out.evaluate_untrained().unwrap(), held_out.evaluate(&*network).unwrap())
}

#[test]
fn step_0_is_the_devices_own_prediction_exactly() {
    let (plain, headed) = (Setup::new(), Setup::of(&TinyBert::with_head(2)));
    for policy in [DIFFERENCE, LABELS_AND_OWN] {
        let (own, start) = at_step_0(&headed, &[ADDITIVE, policy, HEAD]);
        assert_eq!(own, start, "with a head, {policy}");
        // A head that says something: it is not the prior's answer.
        let (prior, start) = at_step_0(&plain, &[ADDITIVE, policy]);
        assert_eq!(prior, start, "without a head, {policy}");
        assert_ne!(own, prior);
        let set = "device.own_prediction=\"prior\"";
        assert_eq!(at_step_0(&headed, &[ADDITIVE, policy, HEAD, set]).1, prior);
    }
}

#[test]
fn additive_pipelines_learn_and_predict_from_their_folder() {
    for (out, policy) in [("difference", DIFFERENCE), ("labels", LABELS_AND_OWN)] {
        for head in [None, Some(HEAD)] {
            let setup = match head {
                None => Setup::new(),
                Some(_) => Setup::of(&TinyBert::with_head(2)),
            };
            let out = format!("{out}-{}", head.is_some());
            let sets: Vec<&str> =
                [ADDITIVE, policy, "training.epochs=8"].into_iter().chain(head).collect();
            let summary = setup.run(&sets, &out).unwrap();
            assert!(summary.eval.after > summary.eval.before.max(0.6), "{out}: {summary:?}");
            let run = setup.path(&out);
            let mut trained = mobillm::trained::Trained::open(&run, &setup.environment).unwrap();
            let watch = Notes::default();
            let scores = trained.evaluate(&setup.path("toy.tsv"), &watch.watch()).unwrap();
            assert!(scores.main().1 > 0.8, "{out}: {scores:?}");
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused_with_what_to_do() {
    let (plain, headed) = (Setup::new(), Setup::of(&TinyBert::with_head(3)));
    let refused =
        |setup: &Setup, sets: &[&str]| match Assembly::new(&setup.load(sets), &setup.environment) {
            Ok(_) => panic!("{sets:?} is accepted"),
            Err(error) => error.to_string(),
        };
    let error = refused(&plain, &[DIFFERENCE]);
    assert!(error.contains("server.side_network.architecture"), "{error}");
    assert!(error.contains("additive-adapter"), "{error}");
    let error = refused(&plain, &[ADDITIVE]);
    assert!(error.contains("prediction-difference"), "{error}");
    let error = refused(&headed, &[]);
    assert!(error.contains("head has 3 outputs, the task 2"), "{error}");
    assert!(error.contains("device.own_prediction"), "{error}");
}
