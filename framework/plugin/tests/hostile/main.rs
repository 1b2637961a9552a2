//! What a plugin does wrong ends as an error that names it, and the process goes on.
//!
//! What no process contains, such as a crash, is for `mobillm plugins check`, which runs a library in a child.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod backbones;
#[path = "../libraries/built.rs"]
mod built;
mod headers;
#[path = "../libraries/mod.rs"]
mod libraries;
mod policies;
mod quantizers;
mod selectors;
mod side_networks;
mod transports;

use built::rust;
use libraries::c;
use mobillm_core::backbone::{BackboneInfo, Pooling};
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::sample::Objective;
use mobillm_plugin::Library;

/// The library in C.
const HOSTILE: &str = "plugins/hostile/c/hostile.c";
const CLASSES: Objective = Objective::Classification { classes: 3 };

fn in_rust() -> String {
    Library::named_by_user(&rust("mobillm_hostile")).unwrap().name.clone()
}

fn in_c() -> String {
    Library::named_by_user(&c(HOSTILE, &[])).unwrap().name.clone()
}

/// Holds that a message names the component, its library and the call, and says `expected`.
#[track_caller]
fn names(message: &str, component: &str, library: &str, call: &str, expected: &str) {
    let start = format!("{component} of {library}: {call}");
    assert!(message.contains(&start), "{message}\nshould name {start}");
    assert!(message.contains(expected), "{message}\nshould say {expected}");
}

fn info() -> BackboneInfo {
    BackboneInfo {
        architecture: "zeros".to_owned(),
        layers: 2,
        hidden: 4,
        max_tokens: 8,
        vocabulary: 10,
        pooling: Pooling::Mean,
        own_outputs: None,
        language_head: false,
        bundle: Fingerprint([0; 32]),
    }
}
