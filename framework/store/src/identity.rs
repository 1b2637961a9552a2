//! What a store and whoever opens it must have in common.

use mobillm_core::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};

/// What a store must have in common with whoever opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The run whose samples they are.
    pub run: String,
    /// The backbone's bundle.
    pub bundle: Fingerprint,
    /// Everything else that decides what a sample's bytes are.
    pub pipeline: Fingerprint,
    /// How rows are encoded, in words.
    pub quantizer: String,
    /// The tapped layers.
    pub taps: Vec<usize>,
    /// Values of a row.
    pub hidden: usize,
}

impl Identity {
    /// Each part in which the store, whose identity this is, differs from `ours`.
    pub(crate) fn differences(&self, ours: &Self) -> Vec<String> {
        self.parts()
            .into_iter()
            .zip(ours.parts())
            .filter(|((_, written), (_, ours))| written != ours)
            .map(|((name, written), (_, ours))| format!("{name} {written}, this run has {ours}"))
            .collect()
    }

    fn parts(&self) -> [(&'static str, String); 6] {
        [
            ("run", self.run.clone()),
            ("bundle", self.bundle.to_string()),
            ("pipeline", self.pipeline.to_string()),
            ("quantizer", self.quantizer.clone()),
            ("taps", format!("{:?}", self.taps)),
            ("hidden size", self.hidden.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_that_differs_is_named() {
        let ours = Identity {
            run: "a".into(),
            bundle: Fingerprint([1; 32]),
            pipeline: Fingerprint([2; 32]),
            quantizer: "int8".into(),
            taps: vec![3, 6],
            hidden: 8,
        };
        assert_eq!(ours.differences(&ours), Vec::<String>::new());
        let written = Identity { quantizer: "nf4/64".into(), taps: vec![6], ..ours.clone() };
        let differences = ["quantizer nf4/64, this run has int8", "taps [6], this run has [3, 6]"];
        assert_eq!(written.differences(&ours), differences);
        for other in [
            Identity { run: "b".into(), ..ours.clone() },
            Identity { bundle: Fingerprint([3; 32]), ..ours.clone() },
            Identity { pipeline: Fingerprint([3; 32]), ..ours.clone() },
            Identity { hidden: 9, ..ours.clone() },
        ] {
            assert_eq!(other.differences(&ours).len(), 1);
        }
    }
}
