//! A library that is loaded finds libtorch where it was built against, without LD_LIBRARY_PATH.

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,{libtorch}/lib");
    }
}
