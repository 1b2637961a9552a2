//! Components of a library, whose door is linked into this program: the same configs and the same results as with the
//! components themselves linked in.

use std::fs;

use mobillm::assembly::Assembly;
use mobillm::config::{Config, ConfigErrors, Loaded};
use mobillm_core::registry::{Registry, Slot};
use mobillm_plugin::Library;
use mobillm_quantizers::{Fp16Config, Int8Config, Nf4Config};
use mobillm_selectors::{AllConfig, EveryNthLayerConfig, LossTokensConfig};
use mobillm_testkit::fakes::FakeBackboneConfig;

use crate::setup::Setup;

mobillm_plugin::export! {
    selectors: [AllConfig, LossTokensConfig, EveryNthLayerConfig],
    quantizers: [Nf4Config, Int8Config, Fp16Config],
}

fn library() -> &'static Library {
    // SAFETY: the door is of `export!`.
    unsafe { Library::linked("walk", mobillm_plugin) }.unwrap()
}

/// As [`crate::setup::registry`] has it, but for the selectors and quantizers, which are those of a library.
fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register::<FakeBackboneConfig>("testkit").unwrap();
    mobillm_privacy::register(&mut registry).unwrap();
    mobillm_transport_in_memory::register(&mut registry).unwrap();
    mobillm_transport_tcp::register(&mut registry).unwrap();
    mobillm_adapter_candle::register(&mut registry).unwrap();
    library().register(&mut registry).unwrap();
    registry
}

/// A set-up with everything linked in, and then with selectors and quantizers of the library.
fn both<T>(work: impl Fn(&Setup) -> T) -> [T; 2] {
    let linked = Setup::new();
    let mut loaded = Setup::new();
    loaded.environment.registry = registry();
    [work(&linked), work(&loaded)]
}

fn load(setup: &Setup, sets: &[&str]) -> Result<Loaded, ConfigErrors> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let registry = &setup.environment.registry;
    Config::from_toml(&setup.config_text(), setup.folder.path(), &sets, registry)
}

#[test]
fn linked_or_loaded_a_run_gives_the_same_adapter() {
    let sets = ["training.epochs=2", "device.quantizer={type=\"int8\", block=32}"];
    let [linked, loaded] = both(|setup| {
        setup.run(&sets, "run").unwrap();
        (setup.adapter("run"), fs::read_to_string(setup.path("run/state.json")).unwrap())
    });
    assert_eq!(linked.0, loaded.0);
    assert!(linked.1.contains("\"plugins\": []"), "{}", linked.1);
    assert!(loaded.1.contains("\"name\": \"mobillm\""), "{}", loaded.1);
}

#[test]
fn linked_or_loaded_a_config_comes_to_the_same() {
    for quantizer in
        ["{type=\"nf4\"}", "{double_quantization=true, type=\"int8\"}", "{type=\"fp16\"}"]
    {
        let set = format!("device.quantizer={quantizer}");
        let [linked, loaded] = both(|setup| {
            let loaded = load(setup, &[&set]).unwrap();
            let assembly = Assembly::new(&loaded, &setup.environment).unwrap();
            (loaded.to_toml().to_owned(), assembly.pipeline, assembly.egress().fields.len())
        });
        assert_eq!(linked, loaded);
    }
}

#[test]
fn a_component_within_a_component_may_come_from_either_side() {
    // Both of the library, whose own serde finds the inner one; options are in the order of declaration.
    let nested =
        "device.selector={tokens={embedding=true, type=\"all\"}, n=2, type=\"every-nth-layer\"}";
    let [linked, loaded] = both(|setup| {
        let loaded = load(setup, &[nested]).unwrap();
        let assembly = Assembly::new(&loaded, &setup.environment).unwrap();
        (loaded.to_toml().to_owned(), assembly.pipeline, assembly.taps)
    });
    assert_eq!(linked, loaded);
    assert_eq!(linked.2, [1, 3]);
    // The outer one linked in, the inner one of the library.
    let mut setup = Setup::new();
    let mut mixed = Registry::new();
    mixed.register::<EveryNthLayerConfig>("test").unwrap();
    for entry in registry().entries().filter(|entry| entry.tag != "every-nth-layer") {
        mixed.insert(entry.clone()).unwrap();
    }
    setup.environment.registry = mixed;
    let outside = load(&setup, &[nested]).unwrap();
    assert_eq!(outside.to_toml(), linked.0);
    let assembly = Assembly::new(&outside, &setup.environment).unwrap();
    assert_eq!((assembly.pipeline, assembly.taps), (linked.1, linked.2));
    let wrong =
        "device.selector={type=\"every-nth-layer\", n=2, tokens={type=\"all\", embeding=true}}";
    let [linked, loaded] = both(|setup| load(setup, &[wrong]).unwrap_err().to_string());
    assert_eq!(linked, loaded);
    assert!(linked.contains("device.selector.tokens.embeding: unknown key"), "{linked}");
}

#[test]
fn the_assembly_says_what_is_loaded() {
    let [linked, loaded] = both(|setup| {
        let loaded = load(setup, &[]).unwrap();
        let described = Assembly::new(&loaded, &setup.environment).unwrap().describe();
        let components = described["components"].as_array().unwrap().clone();
        (components.into_iter().find(|one| one["slot"] == "quantizer").unwrap(), loaded.libraries())
    });
    assert_eq!((&linked.0["tag"], &linked.0["linkage"]), (&"nf4".into(), &"static".into()));
    assert_eq!((&loaded.0["tag"], &loaded.0["linkage"]), (&"nf4".into(), &"loaded".into()));
    assert_eq!(loaded.0["origin"], format!("mobillm {}", env!("CARGO_PKG_VERSION")));
    // Only what fills a slot here counts, and what is linked in is the program itself.
    assert_eq!(linked.1, []);
    let manifest = &library().manifest;
    assert_eq!((&*manifest.name, &*manifest.abi, manifest.sha256), ("mobillm", "1.0", None));
    assert_eq!(manifest.slots, [Slot::Selector, Slot::Quantizer].into());
}

#[test]
fn libraries_are_told_by_the_place_of_what_comes_from_them() {
    let mut setup = Setup::new();
    setup.environment.registry = registry();
    let inner = "device.selector={type=\"every-nth-layer\", n=2, tokens={type=\"all\"}}";
    let loaded = load(&setup, &[inner]).unwrap();
    let of = |key: &str| loaded.libraries_of(&[key]).len();
    assert_eq!(["device", "device.quantizer", "device.selector"].map(of), [1, 1, 1]);
    assert_eq!(["server", "device.quant", "device.predictor"].map(of), [0, 0, 0]);
    assert_eq!(loaded.libraries_of(&["device.quantizer", "device"]), loaded.libraries());
}

#[test]
fn options_of_a_library_are_checked_as_those_linked_in() {
    let wrong = [
        "device.quantizer={type=\"nf4\", blok=32}",
        "device.quantizer={type=\"nf4\", block=\"32\"}",
        "device.quantizer={type=\"nf4\", block=4097}",
        "device.quantizer={type=\"nf5\"}",
    ];
    for set in wrong {
        let told = both(|setup| {
            let errors = load(setup, &[set]).unwrap_err().to_string();
            // Which others there are is another matter.
            errors.split("; expected one of").next().unwrap().to_owned()
        });
        assert_eq!(told[0], told[1]);
    }
    // What no schema says its own `check` does, on the other side of the door.
    let told = both(|setup| {
        let loaded = load(setup, &["device.quantizer={type=\"nf4\", block=48}"]).unwrap();
        Assembly::new(&loaded, &setup.environment).err().unwrap().to_string()
    });
    assert!(told[0].contains("device.quantizer.block: blocks of 48 values"), "{}", told[0]);
    assert_eq!(told[0], told[1]);
}

#[test]
fn the_name_under_which_serde_knows_them_is_not_for_configs() {
    let [linked, loaded] = both(|setup| {
        let set = "device.quantizer={type=\"loaded\", tag=\"nf4\", options={}}";
        load(setup, &[set]).unwrap_err().to_string()
    });
    for told in [linked, loaded] {
        assert!(told.contains("this program has no quantizer `loaded`"), "{told}");
    }
}
