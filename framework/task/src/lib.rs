//! Data sets, columns, splits, schedules and metrics of a fine-tuning task.
//!
//! The `[task]` table of a config ([`TaskConfig`]) says which file, which columns and which answers.
//! From there a task goes four ways:
//!
//! * [`dataset::load`] reads JSONL, CSV, TSV or Parquet into [`Row`]s, each text once, splits off the
//!   held-out rows by distinct text, and reports what it found ([`DataReport`]). The same rows are the
//!   same data in every format. What is wrong with a file is one [`DataError`] that names each line or
//!   row.
//! * [`prompt`] puts a row to a language model: a template, and words that stand for the labels.
//! * [`Schedule`] says which rows make which step, and which rows go forward together. It is a pure
//!   function of (seed, rows): a run that was interrupted goes on with the same batches.
//! * [`Scores`] compares outputs with the truth.
//!
//! # Example
//!
//! ```
//! use mobillm_task::{TaskConfig, dataset};
//!
//! let config: TaskConfig = serde_json::from_str(
//!     r#"{
//!         "name": "mood",
//!         "train": "mood.csv",
//!         "columns": { "text": "review", "label": "mood" },
//!         "labels": ["bad", "good"]
//!     }"#,
//! )?;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("mood.csv");
//! std::fs::write(
//!     &path,
//!     "review,mood\n\
//!      What a day!,good\n\
//!      \"Rain, rain\",bad\n\
//!      Sun at last,good\n\
//!      Lost my keys,bad\n\
//!      What a day!,good\n",
//! )?;
//! let data = dataset::load(&config, &path, None)?;
//! assert_eq!((data.train.len(), data.held_out.len()), (3, 1));
//! assert_eq!(data.report.train_file.duplicates, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod config;
mod csv;
pub mod dataset;
mod encoding;
pub mod error;
#[cfg(test)]
mod fixtures;
mod jsonl;
pub mod metrics;
mod parquet;
mod permutation;
pub mod prompt;
pub mod report;
mod row_file;
mod rows;
pub mod schedule;
mod table;

pub use config::TaskConfig;
pub use dataset::{Dataset, RowFile};
pub use error::DataError;
pub use metrics::Scores;
pub use report::DataReport;
pub use rows::Row;
pub use schedule::Schedule;
