//! `mobillm inspect` and `mobillm check` where nothing is wrong, and configs where something is.

use crate::setup::Setup;

#[test]
fn inspect_shows_what_a_config_amounts_to() {
    let setup = Setup::new();
    let all = setup.succeeds(&["inspect", "toy.toml"]);
    for words in
        ["schema = 1", "model     bert, 3 layers of 16", "leaves the device", "guarantee: "]
    {
        assert!(all.contains(words), "{words:?} is not in:\n{all}");
    }
    let json = setup.json(&["inspect", "toy.toml", "--json"]);
    assert_eq!(json["config"]["device"]["quantizer"]["type"], "nf4", "a default is filled in");
    assert_eq!(json["assembly"]["model"]["hidden"], 16);
    for part in ["config", "assembly", "egress"] {
        let text = setup.succeeds(&["inspect", "toy.toml", "--part", part]);
        assert!(!text.is_empty() && all.contains(&text), "{part} is not a part of all");
        assert!(setup.json(&["inspect", "toy.toml", "--part", part, "--json"]).is_object());
    }
    let set = ["--set", "device.quantizer={type=\"int8\"}"];
    let other = setup.json(&[&["inspect", "toy.toml", "--json"], &set[..]].concat());
    assert_eq!(other["config"]["device"]["quantizer"]["type"], "int8");
    assert_ne!(other["assembly"]["pipeline"], json["assembly"]["pipeline"]);
}

#[test]
fn what_inspect_says_is_the_same_on_every_machine() {
    let inspect =
        |setup: &Setup, format: &str| setup.succeeds(&["inspect", "toy.toml", "--format", format]);
    // In another folder, and called from a third one.
    let (setup, other) = (Setup::new(), Setup::new());
    for format in ["text", "json"] {
        let said = inspect(&setup, format);
        assert_eq!(inspect(&other, format), said);
        let config = setup.path("toy.toml");
        let config = config.to_str().unwrap();
        assert_eq!(other.succeeds(&["inspect", config, "--format", format]), said);
        for path in [setup.path(""), other.path("")] {
            assert!(
                !said.contains(path.to_str().unwrap()),
                "a path of this machine is in:\n{said}"
            );
        }
    }
    let json = inspect(&setup, "json");
    assert_eq!(setup.succeeds(&["inspect", "toy.toml", "--json"]), json);
    insta::assert_snapshot!("inspect_text", inspect(&setup, "text"));
    insta::assert_snapshot!("inspect_json", json);
}

#[test]
fn what_inspect_prints_is_a_config_again() {
    let setup = Setup::new();
    let config = setup.succeeds(&["inspect", "toy.toml", "--part", "config"]);
    setup.write("resolved.toml", &config);
    assert_eq!(setup.succeeds(&["inspect", "resolved.toml", "--part", "config"]), config);
}

#[test]
fn check_describes_the_data() {
    let setup = Setup::new();
    let text = setup.succeeds(&["check", "toy.toml"]);
    for words in ["training  48 rows: ", "held out  12 rows: ", "sad ", "tokens: mean "] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    assert!(text.ends_with("toy.toml: no mistakes\n"), "{text}");
    let json = setup.json(&["check", "toy.toml", "--json"]);
    assert_eq!(json["data"]["train_file"]["rows"], 60);
    assert!(json["train_tokens"]["longest"].as_u64() > Some(3));
    assert!(!setup.path("runs").exists(), "check writes nothing");
}

#[test]
fn the_schema_and_the_reference_are_printed() {
    let setup = Setup::new();
    let schema = setup.json(&["schema"]);
    assert_eq!(schema["properties"]["device"]["$ref"], "#/$defs/DeviceConfig");
    assert_eq!(setup.json(&["schema", "--json"]), schema);
    let reference = setup.succeeds(&["schema", "--reference"]);
    assert!(
        reference.starts_with("# Options\n") && reference.contains("\n### `nf4`\n"),
        "{reference}"
    );
    let components = setup.json(&["schema", "--reference", "--json"]);
    let nf4 = components.as_array().unwrap().iter().find(|component| component["tag"] == "nf4");
    assert_eq!(nf4.unwrap()["options"][0]["key"], "block");
    // A config's mistakes do not keep an editor from completing it.
    setup.write("wrong.toml", "schema = 1\n[device]\nquantizer = 3\n");
    assert_eq!(setup.json(&["schema", "wrong.toml"]), schema);
}

#[test]
fn every_mistake_of_a_config_is_told_with_its_place() {
    let setup = Setup::new();
    let config = std::fs::read_to_string(setup.path("toy.toml")).unwrap();
    let wrong = config.replace("micro_batch = 5", "micro_batch = 0").replace("epochs", "epoch");
    setup.write("wrong.toml", &wrong);
    let line = |words: &str| wrong.lines().position(|line| line.starts_with(words)).unwrap() + 1;
    let batch = format!("wrong.toml:{}", line("micro_batch"));
    let epoch = format!("wrong.toml:{}", line("epoch"));
    for command in ["check", "inspect", "run", "device", "server"] {
        let error = setup.fails(2, &[command, "wrong.toml"]);
        for words in [&*batch, &*epoch, "device.micro_batch", "`epochs`"] {
            assert!(error.contains(words), "{command}: {words:?} is not in:\n{error}");
        }
    }
    assert!(!setup.path("runs").exists(), "nothing was begun");
}

#[test]
fn a_mistake_hides_nothing_that_the_model_and_the_data_show() {
    let setup = Setup::new();
    let told = |command: &[&str]| {
        let block = "device.quantizer={type=\"nf4\", block=48}";
        let sets = ["device.micro_batch=0", "task.train=nowhere.tsv", block];
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let line: Vec<&str> = command.iter().copied().chain(["toy.toml"]).chain(sets).collect();
        setup.fails(2, &line)
    };
    for command in [&["check"][..], &["run"], &["device"], &["compare", "--out", "runs"]] {
        let error = told(command);
        for words in ["device.micro_batch: got `0`", "nowhere.tsv: ", "blocks of 48 values"] {
            assert!(error.contains(words), "{command:?}: {words:?} is not in:\n{error}");
        }
    }
    // A server needs neither.
    let error = told(&["server"]);
    assert!(error.ends_with("1 mistake in toy.toml\n"), "{error}");
}

#[test]
fn files_that_extend_each_other_in_a_circle_are_refused() {
    let setup = Setup::new();
    setup.write("a.toml", "schema = 1\nextends = \"b.toml\"\n");
    setup.write("b.toml", "schema = 1\nextends = \"a.toml\"\n");
    let error = setup.fails(2, &["check", "a.toml"]);
    assert!(error.contains("a.toml") && error.contains("b.toml"), "{error}");
    assert!(error.contains("extends"), "{error}");
}

#[test]
fn a_config_that_is_not_there_is_told_by_name() {
    let setup = Setup::new();
    let error = setup.fails(2, &["run", "nowhere.toml"]);
    assert!(error.contains("nowhere.toml"), "{error}");
    let error = setup.fails(2, &["check", "toy.toml", "--set", "device.bundle=\"pull:nothing\""]);
    assert!(error.contains("`pull:nothing` is not on this machine; run `mobillm pull"), "{error}");
    let error = setup.fails(2, &["check", "toy.toml", "--set", "device.bundel=\"x\""]);
    assert!(error.contains("`bundle`"), "did you mean: {error}");
}

#[test]
fn a_command_line_that_is_none_is_refused() {
    let setup = Setup::new();
    for arguments in [&[][..], &["trian"], &["run"], &["run", "toy.toml", "--sett", "a=1"]] {
        assert_eq!(setup.output(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
