//! The same network, linked in and loaded as a library.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};

use mobillm_adapter_libtorch::LibtorchSideNetworkConfig;
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_plugin::Library;
use mobillm_testkit::side_network::{OBJECTIVES, Toy, train};
use serde_json::{Value, json};

type Config = Box<dyn SideNetworkConfig>;

fn options(architecture: &str) -> Value {
    json!({ "device": "cpu", "threads": 1, "architecture": { "type": architecture } })
}

fn linked(architecture: &str) -> Config {
    let config: LibtorchSideNetworkConfig = serde_json::from_value(options(architecture)).unwrap();
    Box::new(config)
}

fn loaded(architecture: &str) -> Config {
    let program = std::env::current_exe().unwrap();
    let name = format!("{DLL_PREFIX}mobillm_adapter_libtorch{DLL_SUFFIX}");
    // SAFETY: it is this crate, which cargo built beside its tests.
    unsafe { Library::load(&program.with_file_name(name)) }.unwrap();
    let options = options(architecture);
    let config = json!({ "type": "loaded", "tag": "libtorch", "options": options });
    serde_json::from_value(config).unwrap()
}

#[test]
fn libtorch_gives_the_same_adapter_linked_in_or_loaded() {
    for (architecture, supervision) in [
        ("parallel-adapter", SupervisionKind::Truth),
        ("additive-adapter", SupervisionKind::Difference),
    ] {
        for objective in OBJECTIVES {
            let trained = |config: Config| {
                let mut toy = Toy::new((objective, supervision), 10);
                let mut network = config.build(&toy.context).unwrap();
                let losses = train(&mut *network, &mut toy, 10);
                let scores = network.predict(&toy.batch().0).unwrap();
                let (info, adapter) = (network.info().clone(), network.adapter().unwrap());
                (losses, info, adapter, network.checkpoint().unwrap(), scores)
            };
            let (here, there) = (trained(linked(architecture)), trained(loaded(architecture)));
            assert_eq!((&here.0, &here.1), (&there.0, &there.1), "{architecture}, {objective:?}");
            assert!(here == there, "{architecture}, {objective:?}: adapter, checkpoint and scores");
        }
    }
}
