//! What both ends must agree on before the first activation.

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::side_network::SideNetworkContext;
use serde::{Deserialize, Serialize};

use crate::VERSION;

/// Says that this is mobillm, whatever else a port may be asked.
pub const MAGIC: &str = "mobillm";

/// A run's public name: stable over resume, and not its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId(pub String);

/// The device's first frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: String,
    /// [`VERSION`].
    pub version: u16,
    /// The run that this session serves.
    pub run: RunId,
    /// What both configs must have in common: labels, selector, policy, quantizer, side network, training,
    /// whether samples are kept.
    pub pipeline: Fingerprint,
    /// What the side network is built from.
    pub side_network: SideNetworkContext,
    /// Samples to train on.
    pub samples: u64,
    /// Selected tokens of all of them: with the quantizer's row bytes, what a store must have room for.
    pub rows: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps whose acknowledgement the device already has.
    pub steps_received: u64,
    /// Epochs whose adapter the device already has.
    pub epochs_received: u32,
}

/// How much there is to train on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Samples to train on.
    pub samples: u64,
    /// Selected tokens of all of them.
    pub rows: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
}

impl Hello {
    /// The hello, in this version, of a device that has received nothing yet.
    pub fn new(
        run: RunId,
        pipeline: Fingerprint,
        side_network: SideNetworkContext,
        work: Work,
    ) -> Self {
        let Work { samples, rows, steps_per_epoch } = work;
        Self {
            magic: MAGIC.to_owned(),
            version: VERSION,
            run,
            pipeline,
            side_network,
            samples,
            rows,
            steps_per_epoch,
            steps_received: 0,
            epochs_received: 0,
        }
    }

    /// Whether a server with pipeline `ours` can serve this device.
    ///
    /// # Errors
    /// What does not fit, and what to do.
    pub fn check(&self, ours: Fingerprint) -> Result<(), Refusal> {
        if self.magic != MAGIC {
            return Err(Refusal::new(format!("expected a mobillm device, got {:?}", self.magic)));
        }
        if self.pipeline != ours {
            return Err(Refusal::new(format!(
                "the device's pipeline is {}, the server's {}; selector, privacy, quantizer, side \
                 network, whether there is a store, training and labels must be the same in both \
                 configs",
                self.pipeline.short(),
                ours.short()
            )));
        }
        let taps = &self.side_network.taps;
        let limits = taps.len() <= 1024 && (1..=1 << 16).contains(&self.side_network.hidden);
        let steps = 1..=self.samples;
        if taps.is_empty() || !limits || !steps.contains(&self.steps_per_epoch) {
            return Err(Refusal::new(
                "a device needs 1 to 1024 taps of width 1 to 65536, at least one step, and a sample \
                 for each"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// The server's consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// [`VERSION`].
    pub version: u16,
    /// The first step that is not trained yet.
    pub next_step: u64,
    /// Steps of the first epoch whose samples the server has in its store; 0 if it has none.
    pub stored_steps: u64,
}

/// The server's refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// What does not fit, and what to do.
    pub reason: String,
}

impl Refusal {
    /// A refusal because of `reason`.
    pub fn new(reason: String) -> Self {
        Self { reason }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server refuses: {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use mobillm_core::backbone::Pooling;
    use mobillm_core::privacy::SupervisionKind;
    use mobillm_core::sample::Objective;
    use mobillm_core::side_network::Optimizer;

    use super::*;
    use crate::frame::Frame;

    fn hello() -> Hello {
        let side_network = SideNetworkContext {
            taps: vec![1, 2],
            hidden: 8,
            pooling: Pooling::Mean,
            objective: Objective::Classification { classes: 2 },
            supervision: SupervisionKind::Truth,
            optimizer: Optimizer::default(),
            steps: 10,
            seed: 0,
            bundle: Fingerprint::of(b"bundle"),
        };
        let work = Work { samples: 40, rows: 90, steps_per_epoch: 5 };
        Hello::new(RunId("r".into()), Fingerprint::of(b"pipeline"), side_network, work)
    }

    #[test]
    fn a_hello_crosses_the_wire() {
        let frame = Frame::Hello(Box::new(hello()));
        assert_eq!(Frame::parse(frame.encode()).unwrap(), frame);
    }

    #[test]
    fn another_version_is_told_so_whatever_else_it_says() {
        let mut bytes = vec![1];
        bytes.extend_from_slice(br#"{"magic":"mobillm","version":1,"run":"r"}"#);
        let error = Frame::parse(bytes.into()).unwrap_err().to_string();
        assert!(error.contains("speaks wire version 1, this one 2; use the same"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_to_do() {
        let ours = Fingerprint::of(b"pipeline");
        assert_eq!(hello().check(ours), Ok(()));
        let refused = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            hello.check(ours).unwrap_err().reason
        };
        assert!(refused(|hello| hello.magic = "GET".into()).contains("expected a mobillm device"));
        assert!(refused(|hello| hello.pipeline = Fingerprint::of(b"x")).contains("both configs"));
        assert!(refused(|hello| hello.side_network.taps.clear()).contains("1 to 1024 taps"));
        assert!(refused(|hello| hello.side_network.hidden = 1 << 20).contains("65536"));
        assert!(refused(|hello| hello.steps_per_epoch = 0).contains("at least one step"));
        assert!(refused(|hello| hello.samples = 4).contains("a sample for each"));
    }
}
