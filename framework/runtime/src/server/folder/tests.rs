//! Which runs a server goes on with, and what it still reads.
use super::*;
use crate::run::file::read_json;
use crate::run::named;
use mobillm_core::privacy::SupervisionKind;
use mobillm_wire::handshake::Work;

#[test]
fn a_state_of_version_1_is_still_read() {
    let state: State =
        serde_json::from_str(include_str!("../../../fixtures/server-v1.json")).unwrap();
    assert_eq!((state.format, state.next_step), (1, 12));
}

#[test]
fn a_state_of_version_2_is_still_read() {
    let state: State =
        serde_json::from_str(include_str!("../../../fixtures/server-v2.json")).unwrap();
    assert_eq!((state.samples, state.steps_per_epoch), (3627, 227));
    assert_eq!(state.side_network.supervision, SupervisionKind::Difference);
}

#[test]
fn a_state_of_version_3_is_read() {
    let state: State =
        serde_json::from_str(include_str!("../../../fixtures/server-v3.json")).unwrap();
    assert_eq!((state.format, state.next_step), (3, 12));
    assert_eq!(named(&state.plugins), "acme-codes 0.1.0, file 5f70bf18");
}

#[test]
fn a_state_of_a_later_version_is_refused_whatever_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(STATE), r#"{ "format": 4, "runs": [] }"#).unwrap();
    let error = ServerFolder::open(folder.path()).err().unwrap().to_string();
    let said =
        "server.json has format 4; this release reads 1 to 3: use the release that wrote it, or";
    assert!(error.contains(said), "{error}");
}

#[test]
fn a_run_goes_on_only_with_the_same_plugins() {
    let path = tempfile::tempdir().unwrap();
    let state = |version: u32| match version {
        2 => include_str!("../../../fixtures/server-v2.json"),
        _ => include_str!("../../../fixtures/server-v3.json"),
    };
    let begun = |version: u32| {
        fs::write(path.path().join(STATE), state(version)).unwrap();
        fs::write(path.path().join("checkpoint-12.safetensors"), "x").unwrap();
        ServerFolder::open(path.path()).unwrap()
    };
    let hello = |folder: &ServerFolder| {
        let RunShape { run, pipeline, side_network, samples, .. } = folder.shape().unwrap();
        let work = Work { samples, ..Work::default() };
        Hello::new(run, pipeline, side_network, work)
    };
    let plugins = serde_json::from_str::<State>(state(3)).unwrap().plugins;
    let rebuilt = Manifest { sha256: Some(Fingerprint::of(b"rebuilt")), ..plugins[0].clone() };
    let mut folder = begun(3);
    let hello = hello(&folder);
    folder.enter(&hello, &plugins).unwrap();
    for others in [&[][..], &[rebuilt], &[plugins[0].clone(), plugins[0].clone()]] {
        let error = folder.enter(&hello, others).unwrap_err().to_string();
        let said = format!(
            "the folder {} holds a run that was begun with another set of plugins (acme-codes 0.1.0, file \
             5f70bf18; now it is {}); put it back",
            path.path().display(),
            named(others)
        );
        assert!(error.contains(&said), "{said:?} is not in {error:?}");
    }
    drop(folder);
    // What was written before there were plugins was begun with none, and is written as it is now.
    let mut folder = begun(2);
    folder.enter(&hello, &[]).unwrap();
    let error = folder.enter(&hello, &plugins).unwrap_err().to_string();
    assert!(error.contains("another set of plugins (none; now it is acme-codes "), "{error}");
    folder.save_entry().unwrap();
    let state: State = read_json(&path.path().join(STATE)).unwrap();
    assert_eq!(state.format, FORMAT);
}

#[test]
fn a_checkpoint_that_no_state_names_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["checkpoint-3.safetensors", "notes.txt"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    ServerFolder::open(folder.path()).unwrap();
    assert!(!folder.path().join("checkpoint-3.safetensors").exists());
    assert!(folder.path().join("notes.txt").exists());
}
