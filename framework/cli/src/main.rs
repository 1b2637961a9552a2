//! The `mobillm` command.

fn main() {}
