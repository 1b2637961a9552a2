//! The options of the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the server keeps the samples of a run, so that each crosses the link once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StoreConfig {
    /// Nowhere: the device sends them again in each epoch.
    #[default]
    None,
    /// In memory, as long as the server's process runs.
    Memory {
        /// Most MiB of samples; more are refused.
        #[serde(default = "default_memory_mib")]
        #[schemars(range(min = 1))]
        limit_mib: u64,
    },
    /// In files in the server's folder.
    Disk {
        /// Most MiB of samples; more are refused.
        #[serde(default = "default_disk_mib")]
        #[schemars(range(min = 1))]
        limit_mib: u64,
        /// When what was written is made to survive a crash of the machine. Only then it is
        /// acknowledged to the device, which may then forget it.
        #[serde(default)]
        fsync: Fsync,
    },
}

fn default_memory_mib() -> u64 {
    1024
}

fn default_disk_mib() -> u64 {
    16384
}

impl StoreConfig {
    /// Whether samples are kept at all.
    pub fn caches(&self) -> bool {
        *self != Self::None
    }
}

/// When what was written is made to survive a crash of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fsync {
    /// Whenever the writer has a pause, or 8 MiB are pending.
    #[default]
    Group,
    /// With the samples of each step, before those of the next are taken.
    EachAppend,
    /// When the system sees fit: what is acknowledged survives a crash of the process, not of the
    /// machine. A sample that a crash of the machine damaged is noticed when it is read.
    Never,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = |json| serde_json::from_value::<StoreConfig>(json);
        assert_eq!(config(json!({ "type": "none" })).unwrap(), StoreConfig::default());
        let memory = config(json!({ "type": "memory" })).unwrap();
        assert_eq!(memory, StoreConfig::Memory { limit_mib: 1024 });
        let disk = config(json!({ "type": "disk" })).unwrap();
        assert_eq!(disk, StoreConfig::Disk { limit_mib: 16384, fsync: Fsync::Group });
        let never = config(json!({ "type": "disk", "fsync": "never", "limit_mib": 7 })).unwrap();
        assert_eq!(never, StoreConfig::Disk { limit_mib: 7, fsync: Fsync::Never });
        assert!(disk.caches() && memory.caches() && !StoreConfig::None.caches());
    }

    #[test]
    fn what_is_unknown_is_refused_by_the_schema() {
        let schema = schemars::schema_for!(StoreConfig);
        let validator = jsonschema::validator_for(schema.as_value()).unwrap();
        assert!(validator.is_valid(&json!({ "type": "disk", "fsync": "each-append" })));
        for wrong in [
            json!({ "type": "none", "limit_mib": 1 }),
            json!({ "type": "memory", "fsync": "group" }),
            json!({ "type": "memory", "limit_mib": 0 }),
            json!({ "type": "disk", "fsync": "always" }),
            json!({ "type": "tape" }),
            json!({}),
        ] {
            assert!(!validator.is_valid(&wrong), "{wrong}");
        }
    }
}
