//! Refusals of links and side networks as they cross: JSON, because a host looks at their numbers.

use mobillm_core::side_network::SideNetworkError;
use mobillm_core::transport::TransportError;
use serde::{Deserialize, Serialize};

/// What of a [`TransportError`] crosses as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum LinkRefused {
    /// [`TransportError::Address`], whose action the call says.
    Address { address: String, problem: String },
    /// [`TransportError::TooLarge`].
    TooLarge { bytes: u64, limit: u64 },
    /// [`TransportError::Cut`].
    Cut { expected: u64, got: u64 },
}

impl LinkRefused {
    /// What of `error` crosses as JSON.
    #[cfg(feature = "transport")]
    pub(crate) fn of(error: &TransportError) -> Option<Self> {
        match error {
            TransportError::Address { address, problem, .. } => {
                Some(Self::Address { address: address.clone(), problem: problem.clone() })
            }
            &TransportError::TooLarge { bytes, limit } => Some(Self::TooLarge { bytes, limit }),
            &TransportError::Cut { expected, got } => Some(Self::Cut { expected, got }),
            _ => None,
        }
    }

    /// The error of somebody who wanted to do `action`.
    pub(crate) fn error(self, action: &'static str) -> TransportError {
        match self {
            Self::Address { address, problem } => {
                TransportError::Address { action, address, problem }
            }
            Self::TooLarge { bytes, limit } => TransportError::TooLarge { bytes, limit },
            Self::Cut { expected, got } => TransportError::Cut { expected, got },
        }
    }
}

/// [`SideNetworkError::Diverged`] as JSON. A loss that is not finite has no JSON number: it is text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Diverged {
    step: u64,
    loss: String,
}

impl Diverged {
    pub(crate) fn new(step: u64, loss: f32) -> Self {
        Self { step, loss: loss.to_string() }
    }
}

impl From<Diverged> for SideNetworkError {
    fn from(Diverged { step, loss }: Diverged) -> Self {
        Self::Diverged { step, loss: loss.parse().unwrap_or(f32::NAN) }
    }
}
