//! The ONNX format as messages, and the residual stream in a graph that somebody else exported.
//!
//! An exported graph has no names for what adapters need: the hidden state that enters the first
//! layer, and the one behind each. This crate finds them, whoever the exporter was, and makes the graph
//! one of a bundle:
//!
//! ```text
//! model.onnx, external data
//!   | ModelFiles::open        read, if it is whole, known in all its fields, and not too much
//!   | hoist_constants         constants of nodes become weights
//!   | taps, inputs            the residual stream; what token ids, mask, segments are
//!   | dimensions              hidden size, vocabulary, segments
//!   v rewrite                 tap.0 .. tap.n, input_ids, attention_mask, token_type_ids; nothing else
//! the graph of a bundle
//! ```
//!
//! The search ([`taps`]) looks at how values are added, not at what they are called. It knows norms
//! before and behind the sums, attention and feed-forward part one after the other and side by side,
//! operators that ONNX Runtime's optimizer fuses, and quantized weights. Where it is not certain it
//! does not guess: the error lists the graph's sums and norms, and their names can be given instead.
//! Decoders that go on from the keys and values of earlier tokens get none; positions are counted
//! within the graph.
//!
//! Files come from strangers: whatever they claim, no more memory is taken than they have bytes, but
//! for a bounded sum of messages and of numbers that are packed into fewer bytes than they take, and no
//! search takes more than a bounded number of steps.
//!
//! # Example
//!
//! One layer with norms before its parts, as an exporter may write it.
//!
//! ```
//! use mobillm_onnx::messages::{Axis, FLOAT, GraphProto, INT64, NodeProto, TensorProto, ValueInfoProto};
//! use mobillm_onnx::{inputs, rewrite, taps};
//!
//! let weight = |name: &str, dims: &[i64]| TensorProto {
//!     name: name.to_owned(),
//!     dims: dims.to_vec(),
//!     data_type: FLOAT,
//!     ..TensorProto::default()
//! };
//! let sequence = [Axis::Named("batch"), Axis::Named("sequence")];
//! let mut graph = GraphProto {
//!     initializer: vec![weight("table", &[100, 8]), weight("gain", &[8]), weight("map", &[8, 8])],
//!     input: vec![ValueInfoProto::tensor("ids", INT64, &sequence)],
//!     node: vec![
//!         NodeProto::new("Gather", &["table", "ids"], &["embedding"]),
//!         NodeProto::new("LayerNormalization", &["embedding", "gain"], &["a"]),
//!         NodeProto::new("MultiHeadAttention", &["a"], &["b"]),
//!         NodeProto::new("Add", &["embedding", "b"], &["middle"]),
//!         NodeProto::new("LayerNormalization", &["middle", "gain"], &["c"]),
//!         NodeProto::new("MatMul", &["c", "map"], &["d"]),
//!         NodeProto::new("Add", &["middle", "d"], &["last"]),
//!     ],
//!     ..GraphProto::default()
//! };
//! let (points, given) = (taps(&graph, &[])?, inputs(&graph)?);
//! assert_eq!(points.len(), 2);
//! rewrite(&mut graph, &points, &given, 8, None);
//! assert_eq!(graph.input[0].name, "input_ids");
//! assert_eq!(graph.node[0].output, ["tap.0"]);
//! assert_eq!(graph.node[6].output, ["tap.1"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod facts;
mod file;
mod find;
#[cfg(feature = "fixture")]
pub mod fixture;
mod inputs;
pub mod messages;
mod reach;
mod rewrite;
mod stream;
mod tensors;
mod view;
mod wire;

pub use facts::{Dimensions, dimensions};
pub use file::{FileError, ModelFiles};
pub use find::{TapError, check_layers, taps};
pub use inputs::{Input, InputError, Role, check_opset, inputs};
pub use reach::depends_on;
pub use rewrite::{Own, rewrite};
pub use stream::TapPoint;
pub use tensors::{hoist_constants, visit_inner_tensors};
pub use view::GraphError;
pub use wire::DecodeError;
