//! Reads GGUF, the model files of llama.cpp: metadata, tensors and their quantized blocks.
//!
//! ```text
//! "GGUF", version, number of tensors, number of metadata entries
//! metadata: key, type, value                     hyper-parameters, tokenizer
//! tensors:  name, dimensions, type, offset
//! data:     each tensor at its offset, in blocks of 32 or 256 values
//! ```
//!
//! [`Gguf::parse`] takes the bytes of a file, such as the map of a [`GgufFile`], and checks all of the above before
//! it returns: what a header claims is held against the bytes that are there, and nothing is allocated
//! on its word alone. It copies no weights. A [`TensorInfo`] then reads one tensor at a time, as `f32`
//! or as [`Blocks`], which are the file's own numbers in an order that ONNX Runtime can compute with.
//!
//! Versions 2 and 3 are read, little-endian, with tensors of the types in [`TensorType`]. The crate
//! knows no architecture and no tokenizer: it tells what is in the file.
//!
//! # Example
//!
//! ```
//! use mobillm_gguf::fixture::GgufBuilder;
//! use mobillm_gguf::{Gguf, TensorType};
//!
//! let bytes = GgufBuilder::new()
//!     .metadata("general.architecture", "llama")
//!     .metadata("llama.block_count", 30_u32)
//!     .tensor("output_norm.weight", &[4], TensorType::F16, &[0x00, 0x3c].repeat(4))
//!     .build();
//!
//! let gguf = Gguf::parse(&bytes)?;
//! assert_eq!(gguf.text("general.architecture")?, Some("llama"));
//! assert_eq!(gguf.unsigned("llama.block_count")?, Some(30));
//! let tensor = gguf.tensor("output_norm.weight").ok_or("no such tensor")?;
//! assert_eq!(tensor.read_f32(&bytes)?, [1.0; 4]);
//!
//! let error = Gguf::parse(&bytes[..bytes.len() - 3]).unwrap_err();
//! assert!(error.to_string().contains("output_norm.weight"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod blocks;
mod cursor;
mod error;
mod file;
#[cfg(feature = "fixture")]
pub mod fixture;
mod gguf;
mod metadata;
mod tensor;
mod types;

pub use blocks::Blocks;
pub use error::GgufError;
pub use file::GgufFile;
pub use gguf::Gguf;
pub use metadata::Array;
pub use tensor::TensorInfo;
pub use types::TensorType;
