//! The machine that the figures are from.

use std::{env, fs, thread};

use serde::{Deserialize, Serialize};

/// The machine that the figures are from: seconds mean little without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The cores that this process may use.
    pub cores: usize,
    /// The operating system: "linux".
    pub os: String,
    /// The processor's own name where the system tells it, else its architecture: "x86_64".
    pub cpu: String,
}

impl Machine {
    /// The machine that this runs on.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            os: env::consts::OS.to_owned(),
            cpu: cpu_name(&cpuinfo).unwrap_or(env::consts::ARCH).to_owned(),
        }
    }
}

/// The first processor's name in the text of /proc/cpuinfo; ARM kernels give none.
fn cpu_name(cpuinfo: &str) -> Option<&str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map(|(_, name)| name.trim())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_where_the_system_names_it() {
        let x86 = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Xeon: Platinum\n";
        assert_eq!(cpu_name(x86), Some("Xeon: Platinum"));
        assert_eq!(cpu_name("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        let here = Machine::here();
        assert!(here.cores > 0 && !here.cpu.is_empty(), "{here:?}");
    }
}
