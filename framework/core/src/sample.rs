//! Samples and their names on the wire.
//!
//! A run is durable, a connection is not: a sample must have the same name whenever it is sent, and
//! that name must tell the server nothing. It is a pseudo-random function of the run's key and the
//! row, never a hash of the content, which would let the server test for texts it knows.
//!
//! What it does not hide: the order of an epoch is a function of the seed, which the server has in
//! its config. A server that also has the data file can tell which row a sample is. And within a window
//! samples are sent sorted by length, the shortest first: the order on the wire ranks texts by length.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::privacy::Supervision;

/// The secret of one run, kept on the device: serialized into the run's own folder and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunKey([u8; 32]);

impl RunKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The name of row `row`: the first 8 bytes of HMAC-SHA256(key, row).
    pub fn sample_id(&self, row: u64) -> SampleId {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key");
        mac.update(b"mobillm sample");
        mac.update(&row.to_le_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        SampleId(u64::from_le_bytes(id))
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunKey(secret)")
    }
}

/// A sample's name on the wire: stable over resume, and nothing of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleId(pub u64);

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// All that a server knows of one sample, in the form in which it came.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedSample {
    /// Its name.
    pub id: SampleId,
    /// The token that each row came from.
    pub positions: Vec<u32>,
    /// For each tap the encoded rows, `positions.len()` times the quantizer's row bytes.
    pub taps: Vec<Bytes>,
    /// What to train on.
    pub supervision: Supervision,
}

/// What is true about a sample, as the data says. It stays on the device unless a policy releases it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Truth {
    /// The index of the class, in the order of the config's labels.
    Class(u32),
    /// The scaled target of a regression.
    Value(f32),
}

/// What the side network's output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Objective {
    /// One logit for each of this many classes; trained with cross-entropy.
    Classification {
        /// How many classes there are, at least two.
        classes: usize,
    },
    /// One value; trained with squared error.
    Regression,
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classification { classes } => {
                write!(f, "a classification into {classes} classes")
            }
            Self::Regression => f.write_str("a regression"),
        }
    }
}

impl Objective {
    /// How many numbers the side network puts out for a sample.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classification { classes } => *classes,
            Self::Regression => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_depend_on_the_key() {
        let key = RunKey::new([7; 32]);
        assert_eq!(key.sample_id(3), RunKey::new([7; 32]).sample_id(3));
        assert_ne!(key.sample_id(3), key.sample_id(4));
        assert_ne!(key.sample_id(3), RunKey::new([8; 32]).sample_id(3));
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", RunKey::new([7; 32])), "RunKey(secret)");
    }
}
