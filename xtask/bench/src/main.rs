//! The benchmarks behind cargo xtask bench

fn main() {}
