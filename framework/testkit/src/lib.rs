//! Conformance suites for the traits of mobillm, and fakes.
//!
//! A suite is a function that takes a way to make the thing and panics with the law that it breaks:
//! call it from a test of the plugin's own crate. One module per trait.

pub mod backbone;
pub mod corpus;
pub mod fakes;
pub mod privacy;
pub mod quantizer;
mod runner;
pub mod selector;
pub mod side_network;
pub mod transport;
