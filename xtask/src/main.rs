//! Set-up, quickstart, tests and benchmarks on a fresh machine

fn main() {}
