//! Prompts: what a row becomes, what the model's own words answer, what is wrong with them.

use mobillm::assembly::Assembly;
use mobillm::device::RowTokenizer;
use mobillm::pipeline::prepare;
use mobillm::trained::Trained;
use mobillm_bundle::fixture::{TinyBert, TinyDecoder};

use crate::setup::{Notes, Setup};

const PROMPT: &str = "task.prompt={template='the {text} tap:', label_words=[' bad', ' good']}";
const ADDITIVE: [&str; 3] = [
    PROMPT,
    "device.privacy={type='prediction-difference'}",
    "server.side_network.architecture={type='additive-adapter', rank=8}",
];

/// A language model, and rows as in any other setup.
fn setup() -> (Setup, [String; 2]) {
    let setup = Setup::new();
    let decoder = TinyDecoder::default();
    decoder.bundle(&setup.path("decoder")).unwrap();
    let backbone = format!(
        "device.backbone={{type='fake', layers={}, hidden={}, pooling='last-token'}}",
        decoder.layers, decoder.hidden
    );
    let bundle = format!("device.bundle={}", setup.path("decoder").display());
    (setup, [bundle, backbone])
}

fn with<'a>(model: &'a [String; 2], sets: &[&'a str]) -> Vec<&'a str> {
    model.iter().map(String::as_str).chain(sets.iter().copied()).collect()
}

#[test]
fn a_row_stands_in_its_template_and_is_cut_there() {
    let (setup, model) = setup();
    let loaded = setup.load(&with(&model, &[PROMPT]));
    let assembly = Assembly::new(&loaded, &setup.environment).unwrap();
    let task = &loaded.config.task;
    let encode = |text: &str, most: Option<usize>| {
        RowTokenizer::new(&assembly.bundle, task, most).unwrap().encode(text, None).unwrap()
    };
    let plain = assembly.bundle.tokenizer(None).unwrap();
    let whole = encode("good out", None);
    assert_eq!(whole.tokens, plain.encode("the good out tap:", None).unwrap().tokens);
    let short = encode("good out early", Some(whole.tokens.ids.len()));
    assert_eq!((&short.tokens, short.truncated), (&whole.tokens, 1));
}

#[test]
fn the_words_of_the_labels_are_the_own_prediction() {
    let (setup, model) = setup();
    let sets = with(&model, &ADDITIVE);
    let loaded = setup.load(&sets);
    let assembly = Assembly::new(&loaded, &setup.environment).unwrap();
    let tokenizer = assembly.bundle.tokenizer(None).unwrap();
    let words = [" bad", " good"].map(|word| tokenizer.word(word).unwrap());
    assert_eq!(assembly.label_tokens(), words);
    assert_eq!(assembly.info.own_outputs, Some(2));
    let edges = assembly.describe()["edges"].to_string();
    assert!(edges.contains("label words"), "{edges}");

    let summary = setup.run(&sets, "run").unwrap();
    assert!(summary.eval.after > summary.eval.before, "{:?}", summary.eval);
    let mut trained = Trained::open(&setup.path("run"), &setup.environment).unwrap();
    assert_eq!(trained.answer(&[("good", None), ("bad a", None)]).unwrap().len(), 2);

    let swapped = PROMPT.replace("[' bad', ' good']", "[' good', ' bad']");
    let swapped = [&sets[..], &[&swapped, "training.epochs=1"]].concat();
    let before = setup.run(&swapped, "swapped").unwrap().eval.before;
    let sum = before + summary.eval.before;
    assert!((sum - 1.0).abs() < 1e-9, "whoever was right is wrong and the other way round: {sum}");

    let prior = [&sets[..], &["device.own_prediction=prior"]].concat();
    let assembly = Assembly::new(&setup.load(&prior), &setup.environment).unwrap();
    assert!(assembly.label_tokens().is_empty() && assembly.info.own_outputs.is_none());
}

#[test]
fn words_that_a_model_cannot_say_are_refused() {
    let (setup, model) = setup();
    let refused = |sets: &[&str]| {
        Assembly::new(&setup.load(sets), &setup.environment).err().unwrap().to_string()
    };
    let words = |words: &str| {
        let prompt = format!("task.prompt={{template='{{text}}', label_words={words}}}");
        refused(&with(&model, &[&prompt]))
    };
    let error = words("[' bad good', ' out good']");
    assert!(error.contains("task.prompt.label_words[0]: \" bad good\" is 2 tokens"), "{error}");
    assert!(error.contains("task.prompt.label_words[1]"), "all at once: {error}");

    let error = refused(&[PROMPT]);
    assert!(error.contains("task.prompt.label_words: the model"), "{error}");
    assert!(TinyBert::default().head.is_none());
}

#[test]
fn a_template_longer_than_the_model_takes_is_refused() {
    let (setup, model) = setup();
    let prompt = "task.prompt={template='the tap gets out early {text} the tap gets out early'}";
    let loaded = setup.load(&with(&model, &[prompt, "device.max_tokens=4"]));
    let notes = Notes::default();
    let error = prepare(&loaded, &setup.environment, &notes.watch()).err().unwrap();
    assert!(error.to_string().contains("the template of `task.prompt`"), "{error}");
}
