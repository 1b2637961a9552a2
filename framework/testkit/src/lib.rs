//! Conformance suites for the six traits of mobillm, and fakes: what the author of a plugin tests with.
//!
//! A *law* is what a trait promises beyond its types: that frames arrive in order, that a sample's bytes do not
//! depend on its batch mates, that an error names its place. The pipeline relies on each, and no compiler
//! holds it. A *suite* is the laws of a slot; every law has a mutant in this crate that breaks it, so that a
//! suite that passes means something.
//!
//! # One line in your crate
//!
//! ```
//! use mobillm_quantizers::Nf4Config;
//! # use mobillm_core::quantizer::QuantizerConfig;
//!
//! mobillm_testkit::quantizer_conformance!(nf4, || Nf4Config::default().build());
//! # fn main() {}
//! ```
//!
//! makes a module `nf4` with a test for each law: `nf4::rows_are_encoded_on_their_own`,
//! `nf4::decoding_stays_within_error_bound` and so on. A test that fails says what was expected and shows a
//! small input that breaks the law. What the other slots' suites are given:
//!
//! | Slot | Macro | Given | Laws |
//! |---|---|---|---|
//! | backbone | [`backbone_conformance!`] | a closure from the layers to be tapped to a backbone | [`backbone`] |
//! | selector | [`selector_conformance!`] | a config twin | [`selector`] |
//! | privacy policy | [`privacy_policy_conformance!`] | a config twin | [`privacy`] |
//! | quantizer | [`quantizer_conformance!`] | a closure that makes a quantizer | [`quantizer`] |
//! | transport | [`transport_conformance!`] | a closure that makes a transport, perhaps its limits | [`transport`] |
//! | side network | [`side_network_conformance!`] | a config twin | [`side_network`] |
//!
//! It takes this crate, that of the traits (`mobillm-core`) and yours: no model, no data, no other file.
//!
//! A law that is not for a component of its kind (one that draws its rows anew has none to compare) is not held
//! against it: its test says so and passes.
//!
//! # Without a test harness
//!
//! The laws are data as well: [`suite`] gives those of a component that a config names, loaded ones
//! included, and [`law::Law::run`] says how each fares.
//!
//! ```
//! use mobillm_testkit::{law::Verdict, selector};
//!
//! let config = mobillm_selectors::LossTokensConfig {};
//! let laws = selector::laws(&config);
//! assert!(laws.iter().all(|law| law.run() == Verdict::Kept));
//! ```
//!
//! # What else is here
//!
//! One module per slot, named as in core; [`fakes`] are stand-ins for stages that a test is not about.

pub mod backbone;
#[cfg(feature = "corpus")]
#[doc(hidden)]
pub mod corpus;
pub mod fakes;
pub mod law;
pub mod privacy;
pub mod quantizer;
mod runner;
pub mod selector;
pub mod side_network;
pub mod suite;
pub mod transport;
