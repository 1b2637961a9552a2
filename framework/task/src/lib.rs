//! Data sets, columns, splits, schedules and metrics of a fine-tuning task.

pub mod config;
