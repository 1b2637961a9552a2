//! The whole walk with a fake backbone: no native library, no download.

mod bad_input;
mod capture;
mod resume;
mod setup;
mod whole;
