//! A frozen backbone in candle, in pure Rust.
