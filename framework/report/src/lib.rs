//! Variants compared on the same work.
//!
//! ```text
//! Summary of each run --> Comparison::new --> Figures   every variant over its seeds
//!                             |                  |-- table()   for the terminal
//!                             |                  '-- html()    one self-contained file
//!                             '--> write(folder): compare.json, report.html
//! ```
//!
//! * [`Comparison`]: what was run, with which configs, and what came of it.
//! * [`Figures`]: mean and spread over the seeds, differences paired by seed, and what it took to
//!   reach the [`Target`]. A function of the runs: compare.json holds them for whoever reads it
//!   without this crate; [`Comparison::read`] computes them anew.
//! * One variant with one seed is a comparison too: the report of a single run. A spread or a
//!   difference that one run does not have is not shown.
//! * [`Unit`]: figures as they are read at a glance.
//!
//! # Example
//!
//! ```
//! use mobillm_report::Comparison;
//!
//! let comparison = Comparison::read("fixtures/compare-v1.json".as_ref())?;
//! let [mobillm, pae] = &comparison.figures.variants[..] else { panic!("two variants") };
//! let (all, once) = (mobillm.bytes_up.unwrap(), pae.bytes_up.unwrap());
//! assert!(once.mean < all.mean / 10.0);
//! println!("{}", comparison.table());
//! assert!(comparison.html().starts_with("<!DOCTYPE html>"));
//! # Ok::<(), mobillm_report::ReportError>(())
//! ```
#![forbid(unsafe_code)]

mod comparison;
mod config_difference;
mod error;
mod evaluation;
mod figures;
mod html;
mod machine;
mod plot;
mod rows;
mod statistic;
mod table;
mod unit;

pub use comparison::{Comparison, FORMAT, Outcome, SeedRun, Target, Variant};
pub use error::ReportError;
pub use figures::{Excluded, Figures, VariantFigures};
pub use machine::Machine;
pub use statistic::Statistic;
pub use unit::Unit;
