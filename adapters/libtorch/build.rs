//! The library that is loaded finds libtorch without LD_LIBRARY_PATH: in the folder, or link to one, `libtorch` beside
//! itself, or else where it was built against.

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let system = env::var("CARGO_CFG_TARGET_OS");
    let beside = if system.as_deref() == Ok("macos") { "@loader_path" } else { "$ORIGIN" };
    let built_against = env::var("LIBTORCH").ok();
    for folder in [Some(format!("{beside}/libtorch")), built_against].into_iter().flatten() {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,{folder}/lib");
    }
}
