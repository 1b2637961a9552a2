//! The laws of the slot, for every tag and option.

use mobillm_core::quantizer::QuantizerConfig;
use mobillm_quantizers::{Fp4Config, Fp16Config, Int8Config, Nf4Config, NoneConfig};
use mobillm_testkit::quantizer::conformance;

mobillm_testkit::quantizer_conformance!(none, || NoneConfig {}.build());
mobillm_testkit::quantizer_conformance!(fp16, || Fp16Config {}.build());

/// Block sizes, the smallest, the usual and one above the tested rows, and double quantization.
const OPTIONS: [(u16, bool); 4] = [(16, false), (64, false), (64, true), (1024, true)];

#[test]
fn int8_conforms() {
    for (block, double_quantization) in OPTIONS {
        conformance(&|| Int8Config { block, double_quantization }.build());
    }
}

#[test]
fn nf4_conforms() {
    for (block, double_quantization) in OPTIONS {
        conformance(&|| Nf4Config { block, double_quantization }.build());
    }
}

#[test]
fn fp4_conforms() {
    for (block, double_quantization) in OPTIONS {
        conformance(&|| Fp4Config { block, double_quantization }.build());
    }
}
