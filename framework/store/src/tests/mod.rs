//! The laws of the store.

mod crash;
mod damage;
mod full;
mod killed;
mod model;
mod nobody;
mod read_ahead;
pub mod samples;
mod version;
