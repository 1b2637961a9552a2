//! The six traits of mobillm and the vocabulary they speak.
//!
//! Fine-tuning with a frozen backbone on the device and a small side network on the server is a
//! walk in one direction. Each room of the walk is a trait, and each trait lives in a module of its
//! own with the values that cross its door:
//!
//! ```text
//! device   tokens -> Backbone --Tap--> Selector --Selected--> PrivacyPolicy --Cleared--> Quantizer
//! link     frames over a Transport
//! server   payloads -> Quantizer -> SideNetwork
//! ```
//!
//! * [`backbone`]: forward passes of the frozen model; each layer's hidden state is handed out as a
//!   [`backbone::Tap`] as soon as it is computed.
//! * [`selector`]: which layers and tokens go on. Before it tensors are padded
//!   `[batch, tokens, hidden]`, after it ragged `[rows, hidden]` ([`activations`]).
//! * [`privacy`]: what the server may see. [`privacy::release`] is the only way to a
//!   [`privacy::Cleared`], and a quantizer encodes nothing else.
//! * [`quantizer`]: rows to bytes and back, each row on its own.
//! * [`transport`]: frames between two ends, the one asynchronous trait.
//! * [`side_network`]: what is trained, and what the device later predicts with.
//!
//! Every trait has a *config twin* (`QuantizerConfig` for `Quantizer`): plain serde data with a
//! pure `check` and a `build`. [`registry::Registry`] knows which twins exist. What an implementation owes beyond its
//! types are *laws*, which each trait lists; the crate `mobillm-testkit` holds yours to them by one line.
//!
//! This crate does no I/O, starts no runtime and names no native library.
//!
//! # Example
//!
//! A policy that lets activations through, and a released tap:
//!
//! ```
//! use mobillm_core::activations::{Layout, Selected};
//! use mobillm_core::privacy::{AnswerScale, PolicyInfo, PrivacyPolicy, Purpose, ReleaseContext, release};
//!
//! struct Open;
//! impl PrivacyPolicy for Open {
//!     fn info(&self) -> PolicyInfo {
//!         PolicyInfo { supervision: None, answers: AnswerScale::Raw, guarantee: "none".into() }
//!     }
//! }
//!
//! let layout = Layout::from_counts([2, 1]);
//! let selected = Selected::new(3, layout, 4, vec![0.5; 12])?;
//! let context = ReleaseContext { samples: &[], purpose: Purpose::Train };
//! let cleared = release(&mut Open, &context, selected)?;
//! assert_eq!(cleared.rows().dim(), (3, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod activations;
pub mod backbone;
pub mod diagnostic;
pub mod fingerprint;
pub mod privacy;
pub mod quantizer;
pub mod registry;
pub mod sample;
pub mod selector;
pub mod side_network;
mod supervision;
pub mod transport;

/// An error from beyond this crate, kept as the source of one of ours.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
