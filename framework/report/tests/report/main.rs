//! Comparisons as users see them: figures, files, pages, tables.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod file;
mod html;
mod laws;
mod samples;
mod table;
