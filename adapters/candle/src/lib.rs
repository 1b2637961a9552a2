//! Side networks in candle: pure Rust, the default of server and device
