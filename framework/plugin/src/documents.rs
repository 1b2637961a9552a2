//! The JSON of version 1.0 of the ABI: what was written then is read, and is written so to this day.

use mobillm_core::backbone::{BackboneContext, BackboneInfo};
use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::privacy::PolicyInfo;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{SideNetworkContext, StepReport};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, from_str, from_value, json};

use crate::context::{Info, LinkInfo, Task, Training};
use crate::host::{Listed, NetworkInfo};
use crate::refusal::{Diverged, LinkRefused};
use crate::value::ValueRefused;

fn documents() -> Map<String, Value> {
    from_str(include_str!("../tests/abi-1.0/documents.json")).unwrap()
}

/// `value` and every object in it with a member more; an objective has one, which names it.
fn newer(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, member)| (name, newer(member)));
            let mut members: Map<_, _> = members.collect();
            if !members.contains_key("classification") {
                members.insert("newer".to_owned(), json!("yes"));
            }
            Value::Object(members)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(newer).collect()),
        other => other,
    }
}

/// Reads the document `name` as a `T`, and writes it again.
fn round<T: Serialize + DeserializeOwned>(name: &str) {
    let document = documents()[name].clone();
    let read: T = from_value(document.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(json!(read), document, "{name}");
}

/// Reads a newer document of that kind.
fn reads<T: DeserializeOwned>(name: &str) -> T {
    from_value(newer(documents()[name].clone())).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn what_the_host_writes_has_the_names_that_it_had() {
    round::<BackboneInfo>("model");
    round::<BackboneContext>("backbone");
    round::<Objective>("classification");
    round::<Objective>("regression");
    round::<SideNetworkContext>("training");
}

#[test]
fn what_the_kit_writes_has_the_names_that_it_had() {
    round::<BackboneInfo>("model");
    round::<StepReport>("step");
    round::<PolicyInfo>("policy");
    round::<Vec<Diagnostic>>("diagnostics");
    round::<LinkInfo>("transport");
    round::<ValueRefused>("value");
    round::<LinkRefused>("address");
    round::<LinkRefused>("too-large");
    round::<LinkRefused>("cut");
    round::<Diverged>("diverged");
}

#[test]
fn a_plugin_reads_what_a_newer_host_writes() {
    let documents = documents();
    assert_eq!(json!(reads::<Info>("model").0), documents["model"]);
    assert_eq!(json!(reads::<Task>("classification").0), documents["classification"]);
    assert_eq!(json!(reads::<Task>("regression").0), documents["regression"]);
    assert_eq!(json!(reads::<Training>("training").0), documents["training"]);
    assert_eq!(json!(reads::<BackboneContext>("backbone"))["taps"], json!([1, 30]));
    let mut wrong = documents["model"].clone();
    wrong["layers"] = "four".into();
    assert!(from_value::<Info>(wrong).is_err());
}

#[test]
fn the_host_reads_what_a_newer_plugin_writes() {
    assert_eq!(json!(reads::<Info>("model").0), documents()["model"]);
    assert_eq!(reads::<NetworkInfo>("network").into_core().parameters, 1000);
    assert_eq!(reads::<StepReport>("step").step, u64::MAX);
    assert_eq!(reads::<PolicyInfo>("policy").guarantee, "none");
    assert_eq!(reads::<Vec<Diagnostic>>("diagnostics")[0].path, "group");
    assert_eq!(reads::<LinkInfo>("transport").overhead, 8);
    let listed = reads::<Vec<Listed>>("components").into_iter();
    let slots: Vec<_> = listed.filter_map(Listed::known).map(|component| component.slot).collect();
    assert_eq!(slots.len(), 6);
    let unknown = json!({ "slot": "oracle", "tag": "a.o", "schema": {} });
    assert!(from_value::<Listed>(unknown).unwrap().known().is_none());
    for name in ["address", "too-large", "cut"] {
        assert_eq!(json!(reads::<LinkRefused>(name)), documents()[name]);
    }
    assert_eq!(json!(reads::<ValueRefused>("value")), documents()["value"]);
    assert_eq!(json!(reads::<Diverged>("diverged")), documents()["diverged"]);
}
