//! The same network, linked in and loaded.

use mobillm_adapter_libtorch::LibtorchSideNetworkConfig;
use mobillm_core::privacy::SupervisionKind;
use mobillm_core::side_network::SideNetworkConfig;
use mobillm_testkit::side_network::{OBJECTIVES, Toy, train};
use serde_json::{Value, json};

use super::loaded;

fn linked(options: Value) -> Box<dyn SideNetworkConfig> {
    let config: LibtorchSideNetworkConfig = serde_json::from_value(options).unwrap();
    Box::new(config)
}

#[test]
fn it_gives_the_same_adapter_linked_in_or_loaded() {
    for (architecture, supervision) in [
        ("parallel-adapter", SupervisionKind::Truth),
        ("additive-adapter", SupervisionKind::Difference),
    ] {
        let options =
            json!({ "device": "cpu", "threads": 1, "architecture": { "type": architecture } });
        for objective in OBJECTIVES {
            let trained = |config: Box<dyn SideNetworkConfig>| {
                let mut toy = Toy::new((objective, supervision), 10);
                let mut network = config.build(&toy.context).unwrap();
                let losses = train(&mut *network, &mut toy, 10);
                let scores = network.predict(&toy.batch().0).unwrap();
                let (info, adapter) = (network.info().clone(), network.adapter().unwrap());
                (losses, info, adapter, network.checkpoint().unwrap(), scores)
            };
            let (here, there) =
                (trained(linked(options.clone())), trained(loaded(options.clone())));
            assert_eq!((&here.0, &here.1), (&there.0, &there.1), "{architecture}, {objective:?}");
            assert!(here == there, "{architecture}, {objective:?}: adapter, checkpoint and scores");
        }
    }
}
