//! Somebody makes a clearance without a policy.

use mobillm_core::activations::Selected;
use mobillm_core::privacy::{Cleared, ClearedSupervision, Supervision};

fn rows(selected: Selected) -> Cleared {
    Cleared { selected }
}

fn label(label: u32) -> ClearedSupervision {
    ClearedSupervision { supervision: Supervision::Label(label) }
}

fn main() {}
