//! Config twins.

use mobillm_core::diagnostic::Diagnostic;
use mobillm_core::quantizer::{Quantizer, QuantizerConfig};
use mobillm_core::registry::{Plugin, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::{BlockCode, Levels};
use crate::by_row::ByRow;
use crate::codebook::{FP4, NF4};
use crate::float::{HalfCode, PlainCode};
use crate::kernel;

/// f32 as it is: exact, 4 bytes a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoneConfig {}

impl Plugin for NoneConfig {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "none";
}

#[typetag::serde(name = "none")]
impl QuantizerConfig for NoneConfig {
    fn check(&self, _hidden: usize) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        Box::new(ByRow(PlainCode { kernel: kernel::fastest() }))
    }
}

/// Half precision, 2 bytes a value: values beyond 65504 are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fp16Config {}

impl Plugin for Fp16Config {
    const SLOT: Slot = Slot::Quantizer;
    const TAG: &'static str = "fp16";
}

#[typetag::serde(name = "fp16")]
impl QuantizerConfig for Fp16Config {
    fn check(&self, _hidden: usize) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn build(&self) -> Box<dyn Quantizer> {
        Box::new(ByRow(HalfCode { kernel: kernel::fastest() }))
    }
}

/// The block-wise codes have the same options: a serde struct each, so that unknown keys are refused.
macro_rules! block_config {
    ($(#[$doc:meta])* $config:ident, $tag:literal, $name:literal, $levels:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $config {
            /// Values that share a scale: a power of two from 16 to 4096. Smaller is more precise and
            /// costs more bytes.
            #[schemars(range(min = 16, max = 4096))]
            pub block: u16,
            /// Store scales in 8 bits, relative to the row's largest: saves 3 bytes a block, and steps
            /// get up to 1/16 wider.
            pub double_quantization: bool,
        }

        impl Default for $config {
            /// Blocks of 64 with f32 scales, as QLoRA has them.
            fn default() -> Self {
                Self { block: 64, double_quantization: false }
            }
        }

        impl Plugin for $config {
            const SLOT: Slot = Slot::Quantizer;
            const TAG: &'static str = $tag;
        }

        #[typetag::serde(name = $tag)]
        impl QuantizerConfig for $config {
            fn check(&self, _hidden: usize) -> Vec<Diagnostic> {
                check_block(self.block)
            }

            /// A block size that `check` refuses becomes the next one that it accepts.
            fn build(&self) -> Box<dyn Quantizer> {
                Box::new(ByRow(BlockCode {
                    name: *$name,
                    levels: $levels,
                    block: accepted_block(self.block),
                    double_quantization: self.double_quantization,
                    kernel: kernel::fastest(),
                }))
            }
        }
    };
}

block_config! {
    /// 8 bits a value: 255 even steps between a block's extremes.
    Int8Config, "int8", b"int8", Levels::Int8
}

block_config! {
    /// 4 bits a value: NormalFloat4, whose 16 levels suit normally distributed values (QLoRA).
    Nf4Config, "nf4", b"nf4\0", Levels::Nibbles(&NF4)
}

block_config! {
    /// 4 bits a value: E2M1 floating point, whose 15 levels are symmetric around zero.
    Fp4Config, "fp4", b"fp4\0", Levels::Nibbles(&FP4)
}

fn accepted_block(block: u16) -> usize {
    usize::from(block).clamp(16, 4096).next_power_of_two()
}

fn check_block(block: u16) -> Vec<Diagnostic> {
    if usize::from(block) == accepted_block(block) {
        return Vec::new();
    }
    let finding = Diagnostic::new("block", format!("blocks of {block} values are not supported"))
        .expected("a power of two from 16 to 4096")
        .help("64 is a good start");
    vec![finding]
}

#[cfg(test)]
mod tests {
    use mobillm_core::registry::Registry;

    use super::*;

    #[test]
    fn only_powers_of_two_are_accepted() {
        for block in [16, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
            assert_eq!(check_block(block), []);
        }
        for block in [0, 1, 8, 15, 17, 65, 4095, 4097, u16::MAX] {
            assert_eq!(check_block(block)[0].path, "block", "{block}");
            // It still builds something that works, and says in its format what.
            let config = Nf4Config { block, ..Nf4Config::default() };
            assert!((16..=4096).contains(&config.build().format().block));
        }
    }

    #[test]
    fn tags_and_options_come_from_toml_like_maps() {
        let read = |json| serde_json::from_str::<Box<dyn QuantizerConfig>>(json);
        let config = read(r#"{"type": "nf4", "block": 32, "double_quantization": true}"#).unwrap();
        let format = config.build().format();
        assert_eq!((&format.name, format.flags, format.block), (b"nf4\0", 1, 32));
        assert_eq!(read(r#"{"type": "fp16"}"#).unwrap().build().format().name, *b"fp16");
        assert!(read(r#"{"type": "none", "block": 64}"#).is_err());
        let error = read(r#"{"type": "int8", "blocks": 64}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `blocks`"), "{error}");
    }

    #[test]
    fn all_tags_are_registered_with_help() {
        let mut registry = Registry::new();
        crate::register(&mut registry).unwrap();
        let tags: Vec<_> = registry.of(Slot::Quantizer).map(|entry| entry.tag).collect();
        assert_eq!(tags, ["fp16", "fp4", "int8", "nf4", "none"]);
        for entry in registry.entries() {
            assert!(entry.schema.get("description").is_some(), "{}", entry.tag);
        }
        let nf4 = registry.entry(Slot::Quantizer, "nf4").unwrap();
        let block = nf4.schema.pointer("/properties/block").unwrap();
        assert_eq!((&block["minimum"], &block["maximum"]), (&16.into(), &4096.into()));
    }

    #[test]
    fn a_row_takes_the_bytes_that_the_method_counts_on() {
        // RoBERTa-base, one token: 12 layers of 768 values.
        let nf4 = Nf4Config::default();
        assert_eq!(12 * nf4.build().row_bytes(768), 5184);
        assert_eq!(Nf4Config { double_quantization: true, ..nf4 }.build().row_bytes(768), 400);
        assert_eq!(Int8Config::default().build().row_bytes(768), 816);
        assert_eq!(Fp16Config {}.build().row_bytes(768), 1536);
        assert_eq!(NoneConfig {}.build().row_bytes(768), 3072);
    }
}
