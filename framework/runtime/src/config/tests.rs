use std::path::Path;

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::registry::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod files;
mod parts;
mod plugins;

/// Every component is named, for the defaults are plugins that these tests do not have.
const WHOLE: &str = r#"schema = 1
[task]
name = "sms"
train = "data/sms.tsv"
columns = { text = "text", label = 0 }
labels = ["ham", "spam"]
[device]
bundle = "pull:minilm"
backbone = { type = "test.engine" }
selector = { type = "test.everything" }
privacy = { type = "test.open" }
quantizer = { type = "test.blocks", block = 32 }
predictor = { type = "test.net" }
[link]
transport = { type = "test.wire", address = "a:1" }
[server]
side_network = { type = "test.net" }
"#;

fn load(text: &str, sets: &[&str]) -> Result<Loaded, ConfigErrors> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Config::from_toml(text, Path::new("here"), &sets, &plugins::registry())
}

fn whole(sets: &[&str]) -> Loaded {
    load(WHOLE, sets).unwrap()
}

/// The mistakes without excerpts.
fn lines(errors: ConfigErrors) -> Vec<String> {
    let line = |mistake: &Mistake| format!("{}: {}", mistake.place, mistake.diagnostic);
    errors.mistakes().iter().map(line).collect()
}

fn mistakes(text: &str, sets: &[&str]) -> Vec<String> {
    lines(load(text, sets).unwrap_err())
}

fn at<'a>(loaded: &'a Loaded, pointer: &str) -> &'a Value {
    loaded.resolved().pointer(pointer).unwrap_or(&Value::Null)
}

#[test]
fn defaults_are_filled_in() {
    let loaded = whole(&[]);
    assert_eq!(loaded.config.training.epochs, 4);
    assert_eq!(loaded.config.link.ahead, 32);
    assert_eq!(at(&loaded, "/schema"), 1);
    assert_eq!(at(&loaded, "/device/micro_batch"), 16);
    assert_eq!(
        *at(&loaded, "/device/quantizer"),
        json!({ "type": "test.blocks", "block": 32, "pairs": 2 })
    );
    assert_eq!(at(&loaded, "/link/transport/limits/mtu"), 0);
    assert_eq!(at(&loaded, "/training/optimizer/beta1"), 0.9);
}

#[test]
fn a_resolved_config_is_its_own_resolution() {
    let first = whole(&["device.selector={type='test.every-nth', n=2}", "training.seed=7"]);
    let second = load(first.to_toml(), &[]).unwrap();
    assert_eq!(second.to_toml(), first.to_toml());
    assert!(first.to_toml().starts_with("schema = 1\n"));
}

#[test]
fn files_in_options_start_from_their_config() {
    let text = WHOLE.replace("\"test.engine\"", "\"test.engine\", library = \"lib/x.so\"");
    let loaded = load(&text, &[]).unwrap();
    assert!(format!("{:?}", loaded.config.device.backbone).contains("\"here/lib/x.so\""));
    assert_eq!(at(&loaded, "/device/backbone/library"), "lib/x.so");
    let absolute: Value = toml::from_str(&loaded.to_absolute_toml().unwrap()).unwrap();
    let library = absolute.pointer("/device/backbone/library").and_then(Value::as_str).unwrap();
    assert!(Path::new(library).is_absolute() && library.ends_with("here/lib/x.so"), "{library}");
    let set = load(&text, &["device.backbone.library=x.so"]).unwrap();
    assert!(format!("{:?}", set.config.device.backbone).contains("\"x.so\""));
}

#[test]
fn components_may_stand_in_components() {
    let loaded = whole(&["device.selector.type=test.every-nth", "device.selector.n=3"]);
    assert_eq!(at(&loaded, "/device/selector/tokens/type"), "test.everything");
    let wrong = "device.selector={type='test.every-nth', n=3, tokens={type='test.everythin', x=1}}";
    assert_eq!(
        mistakes(WHOLE, &[wrong]),
        [format!(
            "--set {wrong}: device.selector.tokens.type: this program has no selector \
             `test.everythin`; expected one of `test.every-nth`, `test.everything`; did you mean \
             `test.everything`?"
        )]
    );
    let wrong = "device.selector={type='test.every-nth', n=3, tokens={type='test.every-nth', n=0}}";
    assert_eq!(
        mistakes(WHOLE, &[wrong]),
        [format!(
            "--set {wrong}: device.selector.tokens.n: got `0`; expected a whole number of at least 1"
        )]
    );
}

#[test]
fn alternatives_are_told_apart_by_their_tag() {
    let wrong = |shape: &str| {
        let set = format!("server.side_network.shape={shape}");
        mistakes(WHOLE, &[&set]).join("\n").replace(&format!("--set {set}: "), "")
    };
    let at = "server.side_network.shape";
    let cases = [
        ("{layers=0}", "type: missing; expected one of `deep`, `wide`"),
        (
            "{type='deeep', layers=1}",
            "type: got the string \"deeep\"; expected one of `deep`, `wide`; did you mean `deep`?",
        ),
        ("{type='deep', layers=0}", "layers: got `0`; expected a whole number of at least 1"),
        ("{type='wide'}", "width: missing; expected a whole number of at least 0"),
    ];
    for (shape, expected) in cases {
        assert_eq!(wrong(shape), format!("{at}.{expected}"));
    }
}

#[test]
fn what_the_task_finds_wrong_is_placed() {
    let text = WHOLE.replace("\"spam\"]", "\"ham\"]");
    assert_eq!(mistakes(&text, &[]), ["config:6:18: task.labels[1]: `ham` is listed twice"]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r#"schema = 1
[task]
nam = "sms"
kind = "clasification"
train = ""
columns = { text = true, label = "l", extra = 1 }
[device]
bundle = "pull:minilm"
micro_batch = "16"
backbone = { type = "test.engine", threads = { share = 2 } }
selector = { n = 2 }
quantiser = { type = "test.blocks" }
quantizer = { type = "test.blocks", rounding = "near", block = 0 }
privacy = "test.open"
predictor = { type = "test.net", batch = 7 }
[link.transport]
type = "test.wire"
limits.mtu = 10000
[server]
side_network = { type = "test.nte" }
learning_rate = 0.1
"#;
    let expected = [
        "config:2:2: task.name: missing; expected a string",
        "config:3:1: task.nam: unknown key; did you mean `name`?",
        "config:4:8: task.kind: got the string \"clasification\"; expected one of \
         `classification`, `regression`; did you mean `classification`?",
        "config:5:9: task.train: this names nothing; expected a path or `pull:NAME`",
        "config:6:20: task.columns.text: got `true`; expected a string or a whole number of at \
         least 0",
        "config:6:39: task.columns.extra: unknown key; expected one of `text`, `pair`, `label`",
        "config:9:15: device.micro_batch: got the string \"16\"; expected a whole number from 1 to \
         4096",
        "config:10:56: device.backbone.threads.share: got `2`; expected a number from 0.0 to 1.0",
        "config:11:1: device.selector.type: missing; expected one of `test.every-nth`, \
         `test.everything`",
        "config:12:1: device.quantiser: unknown key; did you mean `quantizer`?",
        "config:13:48: device.quantizer.rounding: got the string \"near\"; expected one of \
         `nearest`, `stochastic`; did you mean `nearest`?",
        "config:13:64: device.quantizer.block: got `0`; expected a whole number from 1 to 4096",
        "config:14:11: device.privacy: got the string \"test.open\"; expected a table with a \
         `type`, such as { type = \"labels\" }; write { type = \"test.open\" }",
        "config:15:34: device.predictor.batch: unknown key; did you mean `training.batch`?",
        "config:16:7: link.transport.address: missing; expected a string",
        "config:18:14: link.transport.limits.mtu: got `10000`; expected a whole number from 0 to \
         9000",
        "config:20:25: server.side_network.type: this program has no side network `test.nte`; \
         expected `test.net`; did you mean `test.net`?",
        "config:21:1: server.learning_rate: unknown key; did you mean \
         `training.optimizer.learning_rate`?",
    ];
    let found = mistakes(text, &[]);
    assert_eq!(found, expected, "{found:#?}");
}

#[test]
fn errors_print_with_the_line_and_a_count() {
    let text = WHOLE.replace("block = 32", "blok = 32");
    assert_eq!(
        load(&text, &[]).unwrap_err().to_string(),
        "config:12:37: device.quantizer.blok: unknown key; did you mean `block`?\n    \
         quantizer = { type = \"test.blocks\", blok = 32 }\n                                        \
         ^^^^\n1 mistake in config"
    );
}

#[test]
fn syntax_errors_come_alone_but_all_of_them() {
    let found = mistakes("schema = 1\n[task]\nname = \nx = 01\n", &[]);
    assert!(found.len() >= 2, "{found:#?}");
    assert!(found.iter().all(|line| line.contains(": not TOML: ")), "{found:#?}");
    assert!(found[0].starts_with("config:3:"), "{found:#?}");
}

#[test]
fn values_without_a_json_form_are_refused() {
    let sets = ["training.seed=99999999999999999999", "training.batch=inf", "task.name=2020-01-01"];
    let found = mistakes(WHOLE, &sets);
    assert_eq!(found.len(), 3, "{found:#?}");
    for (found, expected) in found.iter().zip([
        "training.seed: a config holds no whole number below -9223372036854775808 or above \
         9223372036854775807; expected a whole number of at least 0",
        "training.batch: a config holds finite numbers only; expected a whole number from 1 to 65536",
        "task.name: a config holds no date or time; expected a string",
    ]) {
        assert!(found.ends_with(expected), "{found}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_found_wherever_it_stands() {
    let one = |set: &str| {
        let found = mistakes(WHOLE, &[set]);
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].rsplit_once(": ").unwrap().1.to_owned()
    };
    let date = "a config holds no date or time; expected ";
    assert_eq!(
        one("task.columns.text=2020-01-01"),
        format!("{date}a string or a whole number of at least 0")
    );
    assert_eq!(one("task.labels=['a', 2020-01-01]"), format!("{date}a string"));
    assert!(
        one("device.quantizer=2020-01-01").starts_with(&format!("{date}a table with a `type`"))
    );
    // Of a key that nobody knows both is said.
    assert_eq!(mistakes(WHOLE, &["task.day=2020-01-01"]).len(), 2);
    let found = mistakes(&WHOLE.replace("schema = 1", "schema = 2020-01-01"), &[]);
    assert_eq!(found, ["config:1:10: schema: a config holds no date or time; expected 1"]);
}

#[test]
fn what_cannot_be_held_hides_no_other_mistake() {
    let found = mistakes(&WHOLE.replace("schema = 1", ""), &["task.name=inf", "training.epoch=1"]);
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn what_no_schema_says_is_found_with_its_path() {
    let found = mistakes(WHOLE, &["device.quantizer.pairs=3"]);
    assert_eq!(found, ["--set device.quantizer.pairs=3: device.quantizer.pairs: 3 is odd"]);
    let found = mistakes(WHOLE, &["training.epochs=1.0"]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("--set training.epochs=1.0: training.epochs: "), "{found:#?}");
}

#[test]
fn a_schema_is_required_and_known() {
    let found = mistakes(&WHOLE.replace("schema = 1", ""), &[]);
    assert_eq!(found, ["config: schema: missing; expected `schema = 1`"]);
    let found = mistakes(&WHOLE.replace("schema = 1", "schema = 9"), &[]);
    assert_eq!(
        found,
        ["config:1:10: schema: 9 is not a schema that this program knows; expected 1"]
    );
}

#[test]
fn a_missing_default_plugin_is_a_mistake() {
    let text = WHOLE.replace("quantizer =", "#");
    let expected = "config:7:2: device.quantizer.type: this program has no quantizer `nf4`; expected \
                    one of `test.blocks`, `test.plain`; others must be built in (cargo features) or \
                    loaded (`[plugins] load`)";
    assert_eq!(mistakes(&text, &[]), [expected]);
    let empty = Config::from_toml(WHOLE, Path::new(""), &[], &Registry::new()).unwrap_err();
    assert!(lines(empty)[0].contains("expected no backbone, for this program has none"));
}

#[test]
fn sets_override_and_are_named() {
    let loaded = whole(&["training.epochs=9", "task.name = two words", "task.train=pull:sms"]);
    assert_eq!(loaded.config.training.epochs, 9);
    assert_eq!(loaded.config.task.name, " two words");
    assert_eq!(loaded.location("task.train"), Some(Location::Pull("sms".into())));
    assert_eq!(loaded.locate("training.epochs").unwrap().name(), "--set training.epochs=9");
    let found = mistakes(WHOLE, &["epochs=9", "=1", "schema=2", "training"]);
    assert_eq!(
        found,
        [
            "--set epochs=9: epochs: unknown key; did you mean `training.epochs`?",
            "--set =1: =1: a key is empty; expected KEY.PATH=VALUE",
            "--set schema=2: schema: this key can stand in a file only",
            "--set training: training: there is no `=`; expected KEY.PATH=VALUE",
        ]
    );
}

#[test]
fn another_type_drops_the_options_of_the_old_one() {
    assert_eq!(
        *at(&whole(&["device.quantizer.type=test.plain"]), "/device/quantizer"),
        json!({
            "type": "test.plain"
        })
    );
    let loaded = whole(&["device.quantizer.pairs=4", "device.quantizer.type=test.blocks"]);
    assert_eq!(at(&loaded, "/device/quantizer/block"), 32);
    assert_eq!(at(&loaded, "/device/quantizer/pairs"), 4);
}

#[test]
fn later_findings_are_told_in_the_same_form() {
    let loaded = whole(&[]);
    let finding = Diagnostic::new("device.quantizer.block", "32 does not divide 384 rows");
    let unset = Diagnostic::new("device.quantizer.pairs", "too many");
    assert_eq!(
        lines(loaded.errors([unset, finding])),
        [
            "config:12:13: device.quantizer.pairs: too many",
            "config:12:45: device.quantizer.block: 32 does not divide 384 rows",
        ]
    );
}

#[test]
fn the_schema_for_editors_takes_every_file_and_refuses_typos() {
    let validator = jsonschema::validator_for(&schema(&plugins::registry())).unwrap();
    let valid = |text: &str| validator.is_valid(&toml::from_str::<Value>(text).unwrap());
    assert!(valid(WHOLE));
    assert!(valid(whole(&[]).to_toml()));
    // What a base would fill in may be missing.
    assert!(valid("schema = 1\nextends = 'base.toml'\n[device.quantizer]\nblock = 3"));
    assert!(!valid("[task]\nname = 'x'"));
    assert!(!valid("schema = 1\n[device]\nquantiser = {}"));
    assert!(!valid("schema = 1\n[device.quantizer]\ntype = 'test.blocks'\nblok = 3"));
    assert!(!valid("schema = 1\n[device.selector]\ntype = 'test.every-nth'\ntokens.type = 'x'"));
}

#[test]
fn depth_is_no_crash() {
    let keys = vec!["a"; 200_000].join(".");
    for text in [format!("{keys} = 1"), format!("[{keys}]"), format!("b = {{ {keys} = 1 }}")] {
        let found = mistakes(&format!("schema = 1\n{text}"), &[]);
        assert!(found[0].ends_with(": not a config: this key has more than 16 parts"), "{found:?}");
    }
    assert!(mistakes(WHOLE, &[&format!("{keys}=1")])[0].contains("more than 16 parts"));
    // As deep as is read at all: 16 parts in each bracket that the parser takes.
    let keys = vec!["a"; 16].join(".");
    for brackets in [70, 100, 10_000] {
        let text = format!("{}1{}", format!("{{ {keys} = ").repeat(brackets), "}".repeat(brackets));
        assert!(load(&format!("schema = 1\nx = {text}"), &[]).is_err());
        assert!(load(WHOLE, &[&format!("x={text}")]).is_err());
    }
}

proptest! {
    /// A config that anything has happened to is loaded or told about, and nothing panics.
    #[test]
    fn no_text_is_a_panic(start in 0..WHOLE.len(), end in 0..WHOLE.len(), inserted in ".{0,4}") {
        let text = format!("{}{inserted}{}", &WHOLE[..start], &WHOLE[end..]);
        if let Err(errors) = load(&text, &[&inserted, &format!("task.name={inserted}")]) {
            prop_assert!(!errors.mistakes().is_empty());
            prop_assert!(errors.to_string().contains(" in config"));
        }
    }
}
