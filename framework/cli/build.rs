//! A binary with libtorch finds it where it was built against, without LD_LIBRARY_PATH.

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_LIBTORCH").is_some()
        && let Ok(libtorch) = env::var("LIBTORCH")
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{libtorch}/lib");
    }
}
