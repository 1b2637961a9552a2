//! What a side network is trained on, as a policy releases it and as it crosses the link.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of supervision a policy sends: one kind for all samples of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SupervisionKind {
    /// The truth itself (MobiLLM): the class, or the scaled target of a regression.
    #[default]
    Truth,
    /// The truth less the device's own prediction (PAE MobiLLM): one number an output.
    Difference,
    /// The class, and the device's own logits to start from: one number, then one an output.
    TruthAndOwn,
}

impl SupervisionKind {
    /// Numbers of 4 bytes that a sample of `outputs` outputs has on the wire.
    pub fn numbers(self, outputs: usize) -> usize {
        match self {
            Self::Truth => 1,
            Self::Difference => outputs,
            Self::TruthAndOwn => 1 + outputs,
        }
    }
}

impl fmt::Display for SupervisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truth => "truth",
            Self::Difference => "difference between truth and own prediction",
            Self::TruthAndOwn => "truth and own prediction",
        })
    }
}

/// What the server trains on, for one sample.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Supervision {
    /// The class.
    Label(u32),
    /// The scaled target of a regression.
    Value(f32),
    /// For each output the truth less the device's own prediction.
    Difference(Vec<f32>),
    /// The class, and the device's own logits, to which the side network's are added.
    LabelAndOwn(u32, Vec<f32>),
}

impl Supervision {
    /// Which kind it is.
    pub fn kind(&self) -> SupervisionKind {
        match self {
            Self::Label(_) | Self::Value(_) => SupervisionKind::Truth,
            Self::Difference(_) => SupervisionKind::Difference,
            Self::LabelAndOwn(..) => SupervisionKind::TruthAndOwn,
        }
    }

    /// Whether it is finite, of this kind, and for `outputs` outputs.
    pub fn fits(&self, kind: SupervisionKind, outputs: usize) -> bool {
        let numbers = match self {
            Self::Label(_) => return kind == SupervisionKind::Truth,
            Self::Value(value) => return kind == SupervisionKind::Truth && value.is_finite(),
            Self::Difference(numbers) | Self::LabelAndOwn(_, numbers) => numbers,
        };
        kind == self.kind()
            && numbers.len() == outputs
            && numbers.iter().all(|number| number.is_finite())
    }

    /// How its bytes are to be read: 0 to 3, in the order of the variants.
    pub fn code(&self) -> u8 {
        match self {
            Self::Label(_) => 0,
            Self::Value(_) => 1,
            Self::Difference(_) => 2,
            Self::LabelAndOwn(..) => 3,
        }
    }

    /// Appends its numbers, 4 bytes each, little-endian. They are written here so that a new kind
    /// cannot be without.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (first, rest): (Option<u32>, &[f32]) = match self {
            Self::Label(label) => (Some(*label), &[]),
            Self::Value(value) => (Some(value.to_bits()), &[]),
            Self::Difference(values) => (None, values),
            Self::LabelAndOwn(label, own) => (Some(*label), own),
        };
        out.extend(first.into_iter().flat_map(u32::to_le_bytes));
        out.extend(rest.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// What [`write`](Self::write) wrote; `None` if `code` is no known one or the numbers are not
    /// as many as it needs.
    pub fn read(code: u8, bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<4>() else { return None };
        let floats =
            |numbers: &[[u8; 4]]| numbers.iter().copied().map(f32::from_le_bytes).collect();
        match (code, numbers) {
            (0, [label]) => Some(Self::Label(u32::from_le_bytes(*label))),
            (1, [value]) => Some(Self::Value(f32::from_le_bytes(*value))),
            (2, [_, ..]) => Some(Self::Difference(floats(numbers))),
            (3, [label, own @ ..]) if !own.is_empty() => {
                Some(Self::LabelAndOwn(u32::from_le_bytes(*label), floats(own)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supervision_is_read_as_it_was_written() {
        let all = [
            Supervision::Label(7),
            Supervision::Value(-0.5),
            Supervision::Difference(vec![0.25, -0.25]),
            Supervision::LabelAndOwn(1, vec![0.5, 2.0]),
        ];
        for (one, numbers) in all.iter().zip([1, 1, 2, 3]) {
            let mut bytes = Vec::new();
            one.write(&mut bytes);
            assert_eq!(bytes.len(), 4 * numbers);
            assert_eq!(one.kind().numbers(2), numbers);
            assert_eq!(Supervision::read(one.code(), &bytes).as_ref(), Some(one));
            assert_eq!(Supervision::read(one.code(), &bytes[1..]), None);
            assert_eq!(Supervision::read(9, &bytes), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_told_apart() {
        let difference = |numbers: &[f32]| Supervision::Difference(numbers.to_vec());
        let fits = |one: Supervision| one.fits(SupervisionKind::Difference, 2);
        assert!(fits(difference(&[0.5, -0.5])));
        assert!(!fits(difference(&[0.5])));
        assert!(!fits(difference(&[0.5, f32::NAN])));
        assert!(!fits(Supervision::Label(1)));
        assert!(!fits(Supervision::LabelAndOwn(1, vec![0.5, 0.5])));
        assert!(Supervision::Label(1).fits(SupervisionKind::Truth, 2));
        assert!(!Supervision::Value(f32::INFINITY).fits(SupervisionKind::Truth, 1));
    }
}
